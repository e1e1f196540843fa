"""Preconditions of an asset: trailing windows without gaps, and inputs that passed their blocking checks.

Dagster itself stops everything downstream of a failed check in the same run; this covers later runs.
"""

from datetime import date
from typing import Any

import dagster as dg

from twotower_assets.core.days import Days, window
from twotower_assets.core.errors import ExpectedError
from twotower_assets.defs.asset_checks import blocking_check_keys
from twotower_assets.defs.plan import Plan
from twotower_assets.lake.queries import read_query
from twotower_assets.workspace import Workspace

TRAINING_INPUTS = ("impressions", "items", "users", "training_pairs", "exposure_log", "orphan_items")
"""Assets whose failed blocking checks prevent a training."""

RETRIES, SECONDS_BETWEEN = 12, 10
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]

MAX_CHECK_RESULTS = 1000
"""Most results read per check, newest first."""


class IncompleteWindowError(ExpectedError, RuntimeError):
    """Days of the trailing window were never materialized."""


def require_training_inputs(
    context: dg.AssetExecutionContext,
    plan: Plan,
    workspace: Workspace,
    day: date,
    window_days: int,
    *,
    exposures: bool,
) -> None:
    """Check the inputs of a training as of a day: complete windows, rows of the day, no failed blocking check.

    Raises `IncompleteWindowError`, `EmptyDayError` or `FailedInputError`.
    """
    for name in ("training_pairs", "exposure_log") if exposures else ("training_pairs",):
        require_complete_window(context, workspace, plan.naming.key_of(name), Days(day, day), window_days)
    require_rows(workspace, day)
    checks = blocking_check_keys(plan.naming, TRAINING_INPUTS)
    require_passed_checks(context.instance, checks, window(day, window_days))


class EmptyDayError(ExpectedError, RuntimeError):
    """The day as of which a model is to be trained has no rows, or no clicks to evaluate with."""


def require_rows(workspace: Workspace, day: date) -> None:
    """Raise `EmptyDayError` if a model as of this day could not be evaluated, or its file has not come yet.

    A log that has ended may have days without rows: with the hold-out `per_user_last` these need none.
    """
    _, last = workspace.days()
    by_day = workspace.settings.hold_out == "by_day"
    if not by_day and last is not None:
        return
    with workspace.lake.reader() as con:
        ((impressions, clicks),) = con.execute(read_query("windows/rows_and_clicks.sql"), {"day": day}).fetchall()
    if not impressions:
        raise EmptyDayError(
            f"{day} has no rows in the log: its file is late, or nothing was shown. Run features_job for it again when "
            "its file has come, or train as of a day that has rows"
        )
    if by_day and not clicks:
        raise EmptyDayError(
            f"{day} has {impressions:,} rows in the log and no click, so there is nothing to evaluate a model with "
            "(hold-out by_day). Train as of a day with clicks, or set TWOTOWER_HOLD_OUT=per_user_last"
        )


def require_complete_window(
    context: dg.AssetExecutionContext, workspace: Workspace, upstream: dg.AssetKey, days: Days, window_days: int
) -> None:
    """Check that `upstream` was materialized for every day of the windows that end in `days`.

    In a backfill with one run per day, a run may start before the run of an earlier day has written its partition, so
    it is retried while other runs are unfinished. Raises `IncompleteWindowError` otherwise.
    """
    first_partition, _ = workspace.days()
    start = max(first_partition, window(days.first, window_days).first)
    needed = set(Days(start, days.last).every())
    materialized = {date.fromisoformat(key) for key in context.instance.get_materialized_partitions(upstream)}
    missing = sorted(needed - materialized)
    if not missing:
        return
    error = IncompleteWindowError(
        f"{upstream.to_user_string()} was never materialized for {len(missing)} of the {len(needed)} days that the "
        f"trailing window needs; the first is {missing[0]}. Materialize these days, or start the log later with "
        "TWOTOWER_FIRST_DAY"
    )
    if _others_unfinished(context):
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=SECONDS_BETWEEN) from error
    raise error


def _others_unfinished(context: dg.AssetExecutionContext) -> bool:
    unfinished = context.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED), limit=2)
    return any(run.run_id != context.run.run_id for run in unfinished)


class FailedInputError(ExpectedError, RuntimeError):
    """An input failed a blocking check."""


def require_passed_checks(instance: dg.DagsterInstance, checks: list[dg.AssetCheckKey], days: Days) -> None:
    """Raise `FailedInputError` if, for one of the days, the newest result of a blocking check is a failure.

    The result of a table without days applies to all days.
    """
    for key in checks:
        pending = set(days.every())
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=MAX_CHECK_RESULTS):
            evaluation = _evaluation(record)
            if evaluation is None:
                continue
            checked = _days_of(evaluation)
            evaluated = pending if checked is None else {day for day in pending if checked[0] <= day <= checked[1]}
            if evaluated and not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
                raise FailedInputError(
                    f"{key.asset_key.to_user_string()} failed its check '{key.name}' for {min(evaluated)} "
                    f"({evaluation.description}). Repair and materialize it so that the check passes, then train again"
                )
            pending = pending - evaluated
            if not pending:
                break


def _evaluation(record: Any) -> dg.AssetCheckEvaluation | None:
    event = record.event.dagster_event if record.event else None
    found = event.event_specific_data if event else None
    return found if isinstance(found, dg.AssetCheckEvaluation) else None


def _days_of(evaluation: dg.AssetCheckEvaluation) -> tuple[date, date] | None:
    if "first_day" not in evaluation.metadata:
        return None
    first, last = (str(evaluation.metadata[name].value) for name in ("first_day", "last_day"))
    return date.fromisoformat(first), date.fromisoformat(last)

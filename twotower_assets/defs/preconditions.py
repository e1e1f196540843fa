"""What must hold before an asset is made: trailing windows without holes, and inputs that passed their blocking checks.

Dagster itself stops what is downstream of a failed check in the same run; this covers the runs that come later.
"""

from datetime import date
from typing import Any

import dagster as dg

from twotower_assets.core.days import Days, window
from twotower_assets.core.errors import ExpectedError
from twotower_assets.defs.asset_checks import blocking_check_keys
from twotower_assets.defs.plan import Plan
from twotower_assets.workspace import Workspace

TRAINING_INPUTS = ("impressions", "items", "users", "training_pairs", "exposure_log")
"""Assets whose blocking checks keep a model from being trained."""

RETRIES, SECONDS_BETWEEN = 12, 10
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]

REMEMBERED = 1000
"""Results looked through per check, newest first."""


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
    """Check what a training as of a day reads: whole windows, and no day that failed a blocking check.

    Raises `IncompleteWindowError` or `RefusedInputError`.
    """
    for name in ("training_pairs", "exposure_log") if exposures else ("training_pairs",):
        require_whole_window(context, workspace, plan.naming.key_of(name), Days(day, day), window_days)
    checks = blocking_check_keys(plan.naming, TRAINING_INPUTS)
    refuse_failed_inputs(context.instance, checks, window(day, window_days))


def require_whole_window(
    context: dg.AssetExecutionContext, workspace: Workspace, upstream: dg.AssetKey, days: Days, window_days: int
) -> None:
    """Check that `upstream` was materialized for every day that windows ending in `days` look back to.

    In a backfill of one run per day, a run may come to its window before the run of an earlier day has written its
    part; while other runs are unfinished it is tried again later. Raises `IncompleteWindowError` otherwise.
    """
    first_partition, _ = workspace.days()
    begin = max(first_partition, window(days.first, window_days).first)
    wanted = set(Days(begin, days.last).every())
    there = {date.fromisoformat(key) for key in context.instance.get_materialized_partitions(upstream)}
    missing = sorted(wanted - there)
    if not missing:
        return
    error = IncompleteWindowError(
        f"{upstream.to_user_string()} was never materialized for {len(missing)} of the {len(wanted)} days that the "
        f"trailing window needs, {missing[0]} the first of them. Materialize these days, or let the log start later "
        "with TWOTOWER_FIRST_DAY"
    )
    if _others_unfinished(context):
        raise dg.RetryRequested(max_retries=RETRIES, seconds_to_wait=SECONDS_BETWEEN) from error
    raise error


def _others_unfinished(context: dg.AssetExecutionContext) -> bool:
    unfinished = context.instance.get_runs(dg.RunsFilter(statuses=UNFINISHED), limit=2)
    return any(run.run_id != context.run.run_id for run in unfinished)


class RefusedInputError(ExpectedError, RuntimeError):
    """An input failed a blocking check."""


def refuse_failed_inputs(instance: dg.DagsterInstance, checks: list[dg.AssetCheckKey], days: Days) -> None:
    """Raise `RefusedInputError` where, for one of the days, the newest result of a blocking check is a failure.

    The result of a table without days counts for all of them.
    """
    for key in checks:
        unjudged = set(days.every())
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=REMEMBERED):
            evaluation = _evaluation(record)
            if evaluation is None:
                continue
            looked_at = _days_of(evaluation)
            judged = unjudged if looked_at is None else {day for day in unjudged if looked_at[0] <= day <= looked_at[1]}
            if judged and not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
                raise RefusedInputError(
                    f"{key.asset_key.to_user_string()} failed its check '{key.name}' for {min(judged)} "
                    f"({evaluation.description}). Repair and materialize it, so that the check passes, then train again"
                )
            unjudged = unjudged - judged
            if not unjudged:
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

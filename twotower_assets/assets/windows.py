"""Trailing windows are whole or not at all: every day since the first partition must have been materialized.

Which days a window spans is in `partitions`; what is computed over it is SQL.
"""

from datetime import date, timedelta

import dagster as dg

from twotower_assets.partitions import Days

RETRIES, SECONDS_BETWEEN = 12, 10
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


class IncompleteWindowError(RuntimeError):
    """Days of the trailing window were never materialized."""


def require_whole_window(
    context: dg.AssetExecutionContext, upstream: dg.AssetKey, days: Days, window_days: int, first_partition: date
) -> None:
    """Check that `upstream` was materialized for every day that windows ending in `days` look back to.

    In a backfill of one run a day, a run may come to its window before the run of an earlier day has written its part;
    while other runs are unfinished it is tried again later. Raises `IncompleteWindowError` otherwise.
    """
    begin = max(first_partition, days.first - timedelta(days=window_days - 1))
    wanted = {begin + timedelta(days=offset) for offset in range((days.last - begin).days + 1)}
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

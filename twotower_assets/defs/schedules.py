"""The daily schedule. What a run materializes is defined by its job."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg

from twotower_assets.defs.naming import Naming
from twotower_assets.defs.partitions import Partitions
from twotower_assets.settings import Settings

MOST_CAUGHT_UP = 30
"""Missed days are asked for up to so many; more are a backfill."""


def daily_schedule(settings: Settings, naming: Naming, partitions: Partitions, everything: Any) -> Any:
    """Run `everything_job` for every UTC day that has ended, once a day at `schedule_hour` in `time_zone`.

    Dagster ignores a day that the schedule has asked for before.
    """

    @dg.schedule(
        name=naming.definition_name("daily_schedule"),
        job=everything,
        cron_schedule=f"0 {settings.schedule_hour} * * *",
        execution_timezone=settings.time_zone,
        description=f"Every day at {settings.schedule_hour}:00 {settings.time_zone}, for every UTC day that has ended "
        "since, and for days that were missed since the last one that was materialized.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest] | dg.SkipReason:
        moment = context.scheduled_execution_time
        with dg.partition_loading_context(effective_dt=moment):
            keys = list(partitions.get_partition_keys())
        done = context.instance.get_materialized_partitions(naming.key_of("impressions"))
        due = days_due(keys, done, tick_before(moment, ZoneInfo(settings.time_zone), settings.schedule_hour))
        if not due:
            return dg.SkipReason("No daily partition has ended yet.")
        return [dg.RunRequest(run_key=key, partition_key=key) for key in due]

    return schedule


def days_due(keys: Sequence[str], done: Collection[str], since: datetime) -> list[str]:
    """The days to ask for at a tick: the last one, those that ended since the tick before, and those that were missed.

    Where clocks are set back, two UTC days may end between two ticks, and where they are set forward none. Missed days
    are those after the last one that was materialized.

    Args:
        keys: The days that have ended, in order.
        done: Those that were materialized.
        since: The tick before, or somewhat earlier: a day that was asked for before is ignored.
    """
    last_done = max(done, default=None)
    due = [key for key in keys[-MOST_CAUGHT_UP:] if end_of(key) > since or (last_done is not None and key > last_done)]
    return due or list(keys[-1:])


def tick_before(moment: datetime, zone: ZoneInfo, hour: int) -> datetime:
    """When a daily schedule ticked before, an hour earlier at most: an hour that clocks leave out is another's."""
    yesterday = moment.astimezone(zone).date() - timedelta(days=1)
    return datetime.combine(yesterday, time(hour), zone).astimezone(UTC) - timedelta(hours=1)


def end_of(key: str) -> datetime:
    """When a UTC day ends."""
    return datetime.combine(date.fromisoformat(key), time.min, UTC) + timedelta(days=1)

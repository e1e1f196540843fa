"""The daily partitions, how assets look back over a trailing window, and which days a run covers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from twotower_assets.core.days import Days
from twotower_assets.core.errors import ExpectedError
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.settings import Settings

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
"""Tags that make one run of a range of partitions. Dagster documents them, and exports no name for them."""


class PartitionError(ExpectedError, LookupError):
    """A run names no day, or several where one is wanted."""


MOST_LISTED = 100_000
"""Days times days of their windows that are listed for each asset that looks back; the code location loads some seconds
longer with as many."""

Partitions = dg.DailyPartitionsDefinition | dg.StaticPartitionsDefinition


def daily_partitions(first_day: date, last_day: date | None, window_days: int) -> Partitions:
    """One partition per UTC day, from `first_day` to `last_day`, or growing with the calendar where that is None.

    The days of a log that has ended are listed one by one: of partitions in time the UI of Dagster 1.13 plots the last
    days before today, whatever their end is. Then each day also lists those of its trailing window, and where that is
    `MOST_LISTED` in all the partitions are in time, and plots empty.
    """
    if last_day and last_day < datetime.now(UTC).date():
        days = Days(first_day, last_day).every()
        if len(days) * min(len(days), window_days) <= MOST_LISTED:
            return dg.StaticPartitionsDefinition([day.isoformat() for day in days])
    end = last_day + timedelta(days=1) if last_day else None
    return dg.DailyPartitionsDefinition(
        start_date=first_day.isoformat(), end_date=end.isoformat() if end else None, timezone="UTC"
    )


def recipe_partitions(settings: Settings) -> dg.StaticPartitionsDefinition:
    """One partition per recipe: the shipped ones, then those of the user's file. Raises `RecipeError`."""
    return dg.StaticPartitionsDefinition(list(load_recipes(settings.recipes_file)))


def trailing_window(partitions: Partitions, window_days: int) -> dg.PartitionMapping:
    """A partition depends on the upstream partitions of its own day and the `window_days − 1` days before it."""
    if isinstance(partitions, dg.StaticPartitionsDefinition):
        keys = partitions.get_partition_keys()
        return dg.StaticPartitionMapping(
            {key: keys[place : place + window_days] for place, key in enumerate(keys)}  # those that look back to it
        )
    return dg.TimeWindowPartitionMapping(
        start_offset=-(window_days - 1), end_offset=0, allow_nonexistent_upstream_partitions=True
    )


def range_tags(first: date, last: date) -> dict[str, str]:
    """Tags of a run over the partitions of a range of days, both included."""
    return {RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()}


def day_of(context: dg.AssetExecutionContext) -> date:
    """The day of a run of one partition. Raises `PartitionError` for a range: a model is trained as of one day."""
    days = days_of(context)
    if days.first != days.last:
        raise PartitionError(
            f"a model is trained as of one day, and the run names {days.first} to {days.last}; run each day by itself"
        )
    return days.first


def days_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Days:
    """The days that a run materializes or checks: one, or a range. Raises `PartitionError` for a run of none."""
    if not (context.has_partition_key or context.has_partition_key_range):
        raise PartitionError("the run names no daily partition; choose one, or a range")
    keys = context.partition_key_range
    return Days(date.fromisoformat(keys.start), date.fromisoformat(keys.end))

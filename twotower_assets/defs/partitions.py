"""Daily partitions, trailing-window dependencies, and the days that a run covers."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import dagster as dg

from twotower_assets.core.days import Days
from twotower_assets.core.errors import ExpectedError
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.settings import Settings

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
"""Tags of a single run over a range of partitions. Dagster documents them but exports no constants."""


class PartitionError(ExpectedError, LookupError):
    """A run has no daily partition, or several where exactly one is required."""


MAX_LISTED_DEPENDENCIES = 100_000
"""Most pairs of a day and a day of its window that are listed per asset; this many add some seconds to the load time of
the code location."""

Partitions = dg.DailyPartitionsDefinition | dg.StaticPartitionsDefinition


def daily_partitions(first_day: date, last_day: date | None, window_days: int) -> Partitions:
    """One partition per UTC day from `first_day` to `last_day`; if that is None, a partition is added every day.

    The days of a log that has ended are static partitions: for time-window partitions the UI of Dagster 1.13 always
    plots the last days before today. With static partitions each day lists the days of its trailing window. If that
    would exceed `MAX_LISTED_DEPENDENCIES`, partitions are time windows, and the plots are empty.
    """
    if last_day and last_day < datetime.now(UTC).date():
        days = Days(first_day, last_day).every()
        if len(days) * min(len(days), window_days) <= MAX_LISTED_DEPENDENCIES:
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
            {key: keys[i : i + window_days] for i, key in enumerate(keys)}  # the days whose windows include it
        )
    return dg.TimeWindowPartitionMapping(
        start_offset=-(window_days - 1), end_offset=0, allow_nonexistent_upstream_partitions=True
    )


def range_tags(first: date, last: date) -> dict[str, str]:
    """Tags of a run over the partitions from `first` to `last`, both included."""
    return {RANGE_START_TAG: first.isoformat(), RANGE_END_TAG: last.isoformat()}


def day_of(context: dg.AssetExecutionContext) -> date:
    """The day of a run of one partition. Raises `PartitionError` for a range: a model is trained as of one day."""
    days = days_of(context)
    if days.first != days.last:
        raise PartitionError(
            f"a model is trained as of one day, but the run covers {days.first} to {days.last}; run each day separately"
        )
    return days.first


def days_of(context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Days:
    """The days that a run materializes or checks: one, or a range. Raises `PartitionError` if there are none."""
    if not (context.has_partition_key or context.has_partition_key_range):
        raise PartitionError("the run has no daily partition; choose one, or a range")
    keys = context.partition_key_range
    return Days(date.fromisoformat(keys.start), date.fromisoformat(keys.end))

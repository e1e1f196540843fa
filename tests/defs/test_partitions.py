from datetime import UTC, date, datetime
from typing import Any

import dagster as dg
import pytest

from twotower_assets.core.days import Days
from twotower_assets.defs.partitions import daily_partitions, days_of, trailing_window

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

WEEK = daily_partitions(date(2024, 1, 1), date(2024, 1, 7))


def upstream_days(window_days: int, day: str) -> list[str]:
    """The partitions that a partition with a trailing window depends on."""
    found = trailing_window(window_days).get_upstream_mapped_partitions_result_for_partitions(
        WEEK.subset_with_partition_keys([day]), WEEK, WEEK
    )
    return sorted(found.partitions_subset.get_partition_keys())


def seen_days(**run: Any) -> Days:
    """What `days_of` gives inside a run."""
    seen: list[Days] = []

    @dg.asset(partitions_def=WEEK, backfill_policy=dg.BackfillPolicy.single_run())
    def daily(context: dg.AssetExecutionContext) -> None:
        seen.append(days_of(context))

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([daily], instance=instance, **run).success
    (days,) = seen
    return days


def test_a_closed_log_has_one_partition_a_day_both_ends_included() -> None:
    assert WEEK.get_partition_keys() == [f"2024-01-0{day}" for day in range(1, 8)]


def test_an_open_log_grows_with_the_calendar_and_today_is_no_partition_yet() -> None:
    open_log = daily_partitions(date(2024, 1, 1), None)
    keys = open_log.get_partition_keys(current_time=datetime(2024, 1, 4, 12, tzinfo=UTC))
    assert keys == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_partitions_are_utc_days() -> None:
    window = WEEK.time_window_for_partition_key("2024-01-03")
    assert window.start == datetime(2024, 1, 3, tzinfo=UTC)
    assert window.end == datetime(2024, 1, 4, tzinfo=UTC)


def test_a_window_holds_its_own_day_and_the_days_before_and_no_later_one() -> None:
    assert upstream_days(3, "2024-01-05") == ["2024-01-03", "2024-01-04", "2024-01-05"]
    assert upstream_days(1, "2024-01-05") == ["2024-01-05"]


def test_a_window_that_reaches_before_the_first_partition_is_cut_there() -> None:
    assert upstream_days(30, "2024-01-02") == ["2024-01-01", "2024-01-02"]


def test_a_run_of_one_partition_covers_that_day() -> None:
    assert seen_days(partition_key="2024-01-03") == Days(date(2024, 1, 3), date(2024, 1, 3))


def test_a_run_over_a_range_covers_it_with_both_ends() -> None:
    tags = {
        "dagster/asset_partition_range_start": "2024-01-02",
        "dagster/asset_partition_range_end": "2024-01-05",
    }
    assert seen_days(tags=tags) == Days(date(2024, 1, 2), date(2024, 1, 5))


def test_a_run_of_no_partition_is_told_to_choose_one() -> None:
    seen: list[str] = []

    @dg.asset
    def whole(context: dg.AssetExecutionContext) -> None:
        with pytest.raises(LookupError, match="choose one"):
            days_of(context)
        seen.append("refused")

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([whole], instance=instance).success
    assert seen == ["refused"]

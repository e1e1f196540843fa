from datetime import UTC, date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.partitions.context import PartitionLoadingContext
from dagster._core.definitions.partitions.snap import PartitionsSnap
from dagster._core.definitions.temporal_context import TemporalContext

from twotower_assets.core.days import Days
from twotower_assets.defs.partitions import Partitions, daily_partitions, days_of, trailing_window

pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

WEEK = daily_partitions(date(2024, 1, 1), date(2024, 1, 7), 3)
LONG = daily_partitions(date(2000, 1, 1), date(2009, 12, 31), 3650)
OPEN = daily_partitions(date(2024, 1, 1), None, 3)
CLOSED_AND_OPEN = pytest.mark.parametrize("partitions", [WEEK, OPEN], ids=["closed", "open"])


def upstream_days(partitions: Partitions, window_days: int, day: str) -> list[str]:
    """The partitions that a partition with a trailing window depends on."""
    found = trailing_window(partitions, window_days).get_upstream_mapped_partitions_result_for_partitions(
        partitions.subset_with_partition_keys([day]), partitions, partitions
    )
    return sorted(found.partitions_subset.get_partition_keys())


def as_the_webserver_knows_it(partitions: Partitions) -> Any:
    """What the webserver makes of partitions that the code location sent."""
    return dg.deserialize_value(dg.serialize_value(PartitionsSnap.from_def(partitions))).get_partitions_definition()


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
    keys = OPEN.get_partition_keys(current_time=datetime(2024, 1, 4, 12, tzinfo=UTC))
    assert keys == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_partitions_are_utc_days() -> None:
    assert isinstance(OPEN, dg.DailyPartitionsDefinition)
    window = OPEN.time_window_for_partition_key("2024-01-03")
    assert window.start == datetime(2024, 1, 3, tzinfo=UTC)
    assert window.end == datetime(2024, 1, 4, tzinfo=UTC)


@CLOSED_AND_OPEN
def test_a_window_holds_its_own_day_and_the_days_before_and_no_later_one(partitions: Partitions) -> None:
    assert upstream_days(partitions, 3, "2024-01-05") == ["2024-01-03", "2024-01-04", "2024-01-05"]
    assert upstream_days(partitions, 1, "2024-01-05") == ["2024-01-05"]


@CLOSED_AND_OPEN
def test_a_window_that_reaches_before_the_first_partition_is_cut_there(partitions: Partitions) -> None:
    assert upstream_days(partitions, 30, "2024-01-02") == ["2024-01-01", "2024-01-02"]


@CLOSED_AND_OPEN
def test_the_days_that_look_back_to_a_day_are_its_own_and_those_after_it(partitions: Partitions) -> None:
    found = trailing_window(partitions, 3).get_downstream_partitions_for_partitions(
        partitions.subset_with_partition_keys(["2024-01-02"]), partitions, partitions
    )
    assert sorted(found.get_partition_keys()) == ["2024-01-02", "2024-01-03", "2024-01-04"]


def test_plots_of_a_closed_log_show_its_last_days() -> None:
    now = TemporalContext(effective_dt=datetime.now(UTC), last_event_id=None)
    context = PartitionLoadingContext(temporal_context=now, dynamic_partitions_store=None)
    shown = as_the_webserver_knows_it(WEEK).get_paginated_partition_keys(context, limit=3, ascending=False)
    assert list(shown.results) == ["2024-01-07", "2024-01-06", "2024-01-05"]


def test_a_long_closed_log_with_a_long_window_has_partitions_in_time() -> None:
    assert isinstance(LONG, dg.DailyPartitionsDefinition)
    assert (LONG.get_first_partition_key(), LONG.get_last_partition_key()) == ("2000-01-01", "2009-12-31")


def test_a_log_that_will_end_has_the_days_that_have_ended() -> None:
    today = datetime.now(UTC).date()
    days = daily_partitions(today - timedelta(days=2), today + timedelta(days=2), 3).get_partition_keys()
    assert days[0] == str(today - timedelta(days=2))
    assert str(today + timedelta(days=1)) not in days


def test_a_run_of_one_partition_covers_that_day() -> None:
    assert seen_days(partition_key="2024-01-03") == Days(date(2024, 1, 3), date(2024, 1, 3))


def test_a_run_over_a_range_covers_it_with_both_ends() -> None:
    tags = {
        "dagster/asset_partition_range_start": "2024-01-02",
        "dagster/asset_partition_range_end": "2024-01-05",
    }
    assert seen_days(tags=tags) == Days(date(2024, 1, 2), date(2024, 1, 5))


def test_a_run_without_a_partition_fails_with_a_message() -> None:
    seen: list[str] = []

    @dg.asset
    def whole(context: dg.AssetExecutionContext) -> None:
        with pytest.raises(LookupError, match="choose one"):
            days_of(context)
        seen.append("refused")

    with dg.DagsterInstance.ephemeral() as instance:
        assert dg.materialize([whole], instance=instance).success
    assert seen == ["refused"]

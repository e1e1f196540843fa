"""Which days a failed check keeps a training from."""

from __future__ import annotations

from datetime import date

import dagster as dg
import pytest

from twotower_assets.core.days import Days
from twotower_assets.defs.preconditions import FailedInputError, require_passed_checks

CHECK = dg.AssetCheckKey(dg.AssetKey(["features", "training_pairs"]), "history_is_past")
DAYS = Days(date(2024, 1, 2), date(2024, 1, 4))


@pytest.fixture
def instance() -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def record(instance: dg.DagsterInstance, passed: bool, first: int | None, last: int | None = None) -> None:
    """Record a result of the check, for some days of January or for a table without days."""
    days = {"first_day": f"2024-01-{first:02}", "last_day": f"2024-01-{last or first:02}"} if first else {}
    instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=CHECK.asset_key,
            check_name=CHECK.name,
            passed=passed,
            metadata={name: dg.MetadataValue.text(value) for name, value in days.items()},
        )
    )


def test_a_pass_on_a_later_day_does_not_hide_a_failure_within_the_window(instance: dg.DagsterInstance) -> None:
    record(instance, False, 3)
    record(instance, True, 4)
    with pytest.raises(FailedInputError, match="for 2024-01-03"):
        require_passed_checks(instance, [CHECK], DAYS)


def test_a_repaired_day_is_accepted(instance: dg.DagsterInstance) -> None:
    record(instance, False, 2, 4)
    record(instance, True, 3, 4)
    record(instance, True, 2)
    require_passed_checks(instance, [CHECK], DAYS)


def test_a_failure_outside_the_window_keeps_nobody_from_training(instance: dg.DagsterInstance) -> None:
    record(instance, False, 1)
    require_passed_checks(instance, [CHECK], DAYS)


def test_of_a_table_without_days_the_newest_result_counts(instance: dg.DagsterInstance) -> None:
    record(instance, False, None)
    with pytest.raises(FailedInputError, match="history_is_past"):
        require_passed_checks(instance, [CHECK], DAYS)
    record(instance, True, None)
    require_passed_checks(instance, [CHECK], DAYS)


def test_an_input_that_was_never_checked_is_accepted(instance: dg.DagsterInstance) -> None:
    require_passed_checks(instance, [CHECK], DAYS)

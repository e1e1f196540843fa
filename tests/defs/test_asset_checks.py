"""The checks as Dagster runs them: on the days of the run, with what was observed, wanted and an example."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from twotower_assets.checks.outcome import Outcome
from twotower_assets.defs.asset_checks import CHECKED_TABLES, blocking_check_keys, sample_of, table_checks
from twotower_assets.defs.naming import Naming, key_of
from twotower_assets.defs.partitions import daily_partitions
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.resources import WorkspaceResource
from twotower_assets.lake.lake import Lake

GateResults = dict[str, dg.AssetCheckEvaluation]
RunChecks = Callable[..., GateResults]
EVERY_CHECK = dg.AssetSelection.checks_for_assets(key_of("item_frequency"))


@pytest.fixture
def resource(lake: Lake, tmp_path: Path) -> WorkspaceResource:
    """A home on a lake whose first day is sound; on the second, an item is repeated and a share is off."""
    row = "SELECT $day::DATE, $item, 1, 1, 1, 1, $q, $q, 1, $q, 'head'"
    with lake.writer() as con:
        for day, item, q in (("2024-01-01", "a", 1.0), ("2024-01-02", "a", 0.7), ("2024-01-02", "a", 0.7)):
            con.execute(f"INSERT INTO lake.item_frequency {row}", {"day": day, "item": item, "q": q})
    days = {"first_day": "2024-01-01", "last_day": "2024-01-02"}
    return WorkspaceResource(home=str(tmp_path), settings={"dataset": "tiny", "window_days": 3, "threads": 1, **days})


@pytest.fixture
def run_checks(resource: WorkspaceResource) -> RunChecks:
    """Run the checks of `item_frequency` on some days; gives each by its name."""
    workspace = resource.workspace
    plan = Plan(Naming(), daily_partitions(*workspace.days(), workspace.settings.window_days), workspace)
    definitions = dg.Definitions(
        assets=[dg.AssetSpec(key_of("item_frequency"))],
        asset_checks=[
            check
            for check in table_checks(plan)
            if {key.asset_key for key in check.check_keys} == {key_of("item_frequency")}
        ],
        resources={"workspace": resource},
    )

    def run(selection: dg.AssetSelection = EVERY_CHECK, **tags: str) -> GateResults:
        chosen = dg.Definitions.merge(definitions, dg.Definitions(jobs=[dg.define_asset_job("checks", selection)]))
        result = chosen.resolve_job_def("checks").execute_in_process(
            tags={f"dagster/{name}": value for name, value in tags.items()}, raise_on_error=False
        )
        return {found.check_name: found for found in result.get_asset_check_evaluations()}

    return run


def failed(found: GateResults) -> set[str]:
    return {name for name, result in found.items() if not result.passed}


def test_the_day_of_the_run_is_checked_and_no_other(run_checks: RunChecks) -> None:
    first, second = run_checks(partition="2024-01-01"), run_checks(partition="2024-01-02")
    assert len(first) == len(second) > 5
    assert failed(first) == set()
    assert failed(second) == {"rows_are_unique", "q_sums_to_one"}


def test_a_result_shows_observation_threshold_and_an_example(run_checks: RunChecks) -> None:
    found = run_checks(asset_partition_range_start="2024-01-01", asset_partition_range_end="2024-01-02")
    metadata = {name: value.value for name, value in found["q_sums_to_one"].metadata.items()}
    assert metadata["observed"] == "furthest sum from 1: 1.4"
    assert "1e-6" in str(metadata["threshold"])
    assert [record.data for record in found["q_sums_to_one"].metadata["sample"].records] == [
        {"found": "2024-01-02: 1.4 and 1.4"}
    ]
    assert found["q_sums_to_one"].severity == dg.AssetCheckSeverity.ERROR


def test_an_offending_row_is_shown_by_its_identifying_columns(run_checks: RunChecks) -> None:
    found = run_checks(partition="2024-01-02")["rows_are_unique"]
    assert [record.data for record in found.metadata["sample"].records] == [{"day": "2024-01-02", "item_id": "a"}] * 2


def test_a_check_that_holds_has_no_sample(run_checks: RunChecks) -> None:
    assert {found.metadata["sample"].value for found in run_checks(partition="2024-01-01").values()} == {"none"}


def test_a_long_value_of_a_sample_is_cut() -> None:
    (record,) = sample_of(Outcome(False, "observed", "wanted", rows=[{"user_id": "u" * 1000, "q": "7"}])).records
    assert (len(record.data["user_id"]), record.data["q"]) == (80, "7")


def test_checks_that_are_run_by_themselves_look_at_every_day(run_checks: RunChecks) -> None:
    assert failed(run_checks()) == {"rows_are_unique", "q_sums_to_one"}


@pytest.mark.parametrize("name", ["q_sums_to_one", "rows_are_unique"])
def test_one_check_can_be_run_without_the_others_of_its_asset(run_checks: RunChecks, name: str) -> None:
    found = run_checks(dg.AssetSelection.checks(dg.AssetCheckKey(key_of("item_frequency"), name)))
    assert failed(found) == set(found) == {name}


def test_the_blocking_checks_of_an_asset_are_its_errors_and_its_gates() -> None:
    keys = {key.name for key in blocking_check_keys(Naming(), ["training_pairs"])}
    assert {"history_is_past", "rows_are_unique", "weight_is_in_range"} <= keys
    assert "has_rows" not in keys


def test_every_table_that_others_are_made_from_is_checked() -> None:
    assert {"impressions", "items", "users", "exposure_log", "training_pairs", "item_embeddings"} <= set(CHECKED_TABLES)

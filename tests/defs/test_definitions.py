"""What Dagster loads: keys, jobs, the schedule, overrides, and that loading is silent."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import dagster as dg
import duckdb
import pytest
from shared_folder import HANGS_AFTER_SECONDS

from twotower_assets.core.folders import CHECKOUT
from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.naming import Naming, key_of
from twotower_assets.defs.resources import WorkspaceResource
from twotower_assets.defs.schedules import days_due, tick_before
from twotower_assets.settings import Settings

KEYS = """
features/category_map features/exposure_log features/item_frequency features/item_frequency_daily
features/orphan_items features/training_pairs recipes/negative_sampling_comparison recipes/negative_sampling_runs
reports/popularity_bias_report serving/ann_index serving/champion serving/embedding_drift serving/item_embeddings
serving/user_embeddings sources/impressions sources/items sources/rejected_impressions sources/users
training/tower_checkpoint training/training_curves
"""
Build = Callable[..., dg.Definitions]


@pytest.fixture
def build(tmp_path: Path) -> Build:
    def with_settings(**changes: Any) -> dg.Definitions:
        days = {"first_day": date(2024, 1, 1), "last_day": None, **changes}
        return build_definitions(Settings(home=tmp_path, dataset="parquet", **days))

    return with_settings


def keys_of(definitions: dg.Definitions, job: str) -> set[str]:
    asset_layer = definitions.resolve_job_def(job).asset_layer
    return {key.to_user_string() for key in asset_layer.executable_asset_keys}


def test_the_assets_are_these(build: Build) -> None:
    found = sorted(key.to_user_string() for key in build().resolve_asset_graph().get_all_asset_keys())
    assert found == KEYS.split()


def test_the_jobs_hold_their_groups_and_the_checks_of_these(build: Build) -> None:
    definitions = build()
    features = {key for key in KEYS.split() if key.startswith(("sources/", "features/"))}
    recipes = {key for key in KEYS.split() if key.startswith("recipes/")}
    assert keys_of(definitions, "features_job") == features
    assert keys_of(definitions, "training_job") == set(KEYS.split()) - features - recipes
    assert keys_of(definitions, "everything_job") == set(KEYS.split()) - recipes
    assert keys_of(definitions, "recipes_job") == {"recipes/negative_sampling_runs"}
    assert keys_of(definitions, "comparison_job") == {"recipes/negative_sampling_comparison"}
    checks = definitions.resolve_job_def("features_job").asset_layer.asset_graph.asset_check_keys
    assert {key.asset_key.path[0] for key in checks} == {"sources", "features"}


def write_catalogue(folder: Path) -> Path:
    """Raw files with one item and one impression."""
    folder.mkdir()
    log = "SELECT 'ann' AS user_id, 'a' AS item_id, TIMESTAMP '2024-01-01 10:00' AS shown_at, true AS clicked"
    for file, query in (("impressions", log), ("items", "SELECT 'a' AS item_id")):
        duckdb.sql(f"COPY ({query}) TO '{folder / file}.parquet'")
    return folder


def test_assets_and_checks_work_on_the_home_of_the_resource_that_replaces_ours(build: Build, tmp_path: Path) -> None:
    other = WorkspaceResource(
        home=str(tmp_path / "other"),
        settings={"dataset": "parquet", "source_path": str(write_catalogue(tmp_path / "raw")), "threads": 1},
    )
    definitions = build_definitions(
        Settings(home=tmp_path / "declared", dataset="parquet", first_day=date(2024, 1, 1)),
        resources={"workspace": other},
    )
    job = dg.define_asset_job("one", dg.AssetSelection.assets(key_of("items")))
    chosen = dg.Definitions.merge(definitions, dg.Definitions(jobs=[job]))
    result = chosen.resolve_job_def("one").execute_in_process()
    assert result.get_asset_check_evaluations()
    with other.workspace.lake.reader() as con:
        assert con.execute("SELECT item_id FROM items").fetchall() == [("a",)]
    assert not (tmp_path / "declared").exists()


def test_the_resource_opens_the_home_with_every_setting_that_was_set(tmp_path: Path) -> None:
    chosen = Settings(
        home=tmp_path, dataset="parquet", first_day=date(2024, 1, 1), source_path=tmp_path / "raw", half_life_days=3
    )
    assert WorkspaceResource.from_settings(chosen).workspace.settings == chosen


def test_partitions_and_checks_can_be_replaced_and_the_schedule_omitted(build: Build, tmp_path: Path) -> None:
    days = dg.DailyPartitionsDefinition("2023-05-01", end_date="2023-05-04")
    chosen = build_definitions(
        Settings(home=tmp_path, dataset="parquet", first_day=date(2024, 1, 1)),
        partitions=days,
        checks=[],
        schedule=False,
    )
    graph = chosen.resolve_asset_graph()
    assert graph.get(key_of("impressions")).partitions_def == days
    assert not graph.asset_check_keys
    assert not chosen.schedules


def test_every_job_runs_its_steps_in_one_process_and_the_code_location_chooses_nothing(build: Build) -> None:
    definitions = build()
    assert definitions.executor is None
    names = [job.name for job in definitions.jobs or []]
    assert len(names) == 6
    assert {definitions.resolve_job_def(name).executor_def.name for name in names} == {"in_process"}


def test_every_key_of_a_prefixed_graph_has_the_prefix_and_it_stands_beside_another(
    build: Build, tmp_path: Path
) -> None:
    naming = Naming(("shop",), {"features": "shop_features", "promotion": "shop_live"})
    prefixed = build_definitions(
        Settings(home=tmp_path / "shop", dataset="parquet", first_day=date(2024, 1, 1)), naming=naming
    )
    graph = prefixed.resolve_asset_graph()
    assert {key.path[0] for key in graph.get_all_asset_keys()} == {"shop"}
    assert {key.asset_key.path[0] for key in graph.asset_check_keys} == {"shop"}
    specs = {spec.key.path[-1]: spec for spec in prefixed.resolve_all_asset_specs()}
    for spec in specs.values():
        assert {dep.asset_key.path[0] for dep in spec.deps} <= {"shop"}
        lineage = spec.metadata.get("dagster/column_lineage")
        sources = [each for deps in lineage.deps_by_column.values() for each in deps] if lineage else []
        assert {each.asset_key.path[0] for each in sources} <= {"shop"}
    assert specs["training_pairs"].metadata["dagster/column_lineage"].deps_by_column
    groups = {name: specs[name].group_name for name in ("training_pairs", "champion", "ann_index")}
    assert groups == {"training_pairs": "shop_features", "champion": "shop_live", "ann_index": "serving"}
    both = dg.Definitions.merge(build(), prefixed)
    dg.Definitions.validate_loadable(both)
    assert set(both.resources or {}) == {"workspace", "shop_workspace"}
    assert keys_of(both, "features_job") == keys_of(build(), "features_job")
    assert keys_of(both, "shop_training_job") == {f"shop/{key}" for key in keys_of(build(), "training_job")}
    assert {each.name for each in both.schedules or []} == {"daily_schedule", "shop_daily_schedule"}


def tick(definitions: dg.Definitions, moment: datetime, done: Sequence[str] = ()) -> Any:
    """What the schedule does at a moment, where some days were materialized."""
    with ExitStack() as stack:
        instance = stack.enter_context(dg.instance_for_test())
        for day in done:
            instance.report_runless_asset_event(
                dg.AssetMaterialization(dg.AssetKey(["sources", "impressions"]), partition=day)
            )
        repository = definitions.get_repository_def()
        context = stack.enter_context(
            dg.build_schedule_context(instance=instance, scheduled_execution_time=moment, repository_def=repository)
        )
        return definitions.resolve_schedule_def("daily_schedule").evaluate_tick(context)


@pytest.mark.parametrize(
    ("time_zone", "moment", "day"),
    [
        ("UTC", datetime(2024, 1, 5, 3, tzinfo=UTC), "2024-01-04"),
        ("Asia/Tokyo", datetime(2024, 1, 4, 18, tzinfo=UTC), "2024-01-03"),
        ("America/Los_Angeles", datetime(2024, 1, 5, 11, tzinfo=UTC), "2024-01-04"),
    ],
)
def test_the_schedule_asks_for_the_utc_day_that_ended_last(
    build: Build, time_zone: str, moment: datetime, day: str
) -> None:
    definitions = build(time_zone=time_zone)
    assert definitions.resolve_schedule_def("daily_schedule").execution_timezone == time_zone
    (request,) = tick(definitions, moment).run_requests or []
    assert request.partition_key == day


def test_nights_that_were_missed_are_caught_up_in_order(build: Build) -> None:
    found = tick(build(), datetime(2024, 1, 9, 3, tzinfo=UTC), done=["2024-01-03", "2024-01-04"])
    assert [one.partition_key for one in found.run_requests] == [f"2024-01-0{day}" for day in (5, 6, 7, 8)]
    assert [one.run_key for one in found.run_requests] == [one.partition_key for one in found.run_requests]


DAYS = [datetime(2023, 1, 1) + timedelta(days=day) for day in range(800)]
KEYS_OF_DAYS = [str(day.date()) for day in DAYS]


def test_every_day_is_asked_for_once_in_every_time_zone_at_every_hour() -> None:
    """Where clocks are set, and days before and after; a day that was asked for before is ignored, by its run key."""
    zones = available_timezones() - {"localtime", "Factory"}
    offsets = {zone: tuple(day.replace(tzinfo=ZoneInfo(zone)).utcoffset() for day in DAYS) for zone in zones}
    one_of_each = {found: zone for zone, found in offsets.items()}
    assert len(one_of_each) > 40
    two_at_once = 0
    for found, zone in one_of_each.items():
        changes = [index for index in range(10, 780) if found[index] != found[index + 1]]
        for change, hour in itertools.product([20, *changes], range(24)):
            asked: list[str] = []
            for index in range(change - 4, change + 6):
                moment = DAYS[index].replace(hour=hour, tzinfo=ZoneInfo(zone)).astimezone(UTC)
                ended = (moment.date() - DAYS[0].date()).days
                due = days_due(KEYS_OF_DAYS[:ended], (), tick_before(moment, ZoneInfo(zone), hour))
                two_at_once += len(due) == 2 and not set(due) & set(asked)
                asked += [key for key in due if key not in asked]
            first = KEYS_OF_DAYS.index(asked[0])
            assert asked == KEYS_OF_DAYS[first : first + len(asked)], (zone, hour)
            assert asked[-1] == KEYS_OF_DAYS[ended - 1], (zone, hour)
    assert two_at_once > 0


def test_the_schedule_waits_for_the_first_day_to_end(build: Build) -> None:
    found = tick(build(first_day=date(2024, 1, 5)), datetime(2024, 1, 5, 3, tzinfo=UTC))
    assert not found.run_requests
    assert "No daily partition has ended yet" in str(found.skip_message)


@pytest.mark.parametrize(
    "command",
    [
        ["-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"],
        ["-m", "dagster_dg_cli.cli", "check", "defs"],
    ],
)
@pytest.mark.slow
def test_loading_from_a_terminal_succeeds_without_a_warning_of_ours(tmp_path: Path, command: list[str]) -> None:
    state = {"TWOTOWER_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")}
    (tmp_path / "dagster").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TWOTOWER_")}
    result = subprocess.run(
        [sys.executable, *command],
        cwd=CHECKOUT,
        env={**environment, **state},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_SECONDS,
    )
    output = result.stdout + result.stderr
    assert result.returncode == 0, output
    assert not [line for line in output.splitlines() if "Warning" in line and "Supersession" not in line], output

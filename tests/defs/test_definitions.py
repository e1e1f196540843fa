"""What Dagster loads: keys, jobs, the schedule, overrides, and that loading is silent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from twotower_assets.defs.build import build_definitions
from twotower_assets.settings import PROJECT_ROOT, Settings
from twotower_assets.workspace import open_workspace

KEYS = """
features/category_map features/exposure_log features/item_frequency features/item_frequency_daily
features/training_pairs recipes/negative_sampling_comparison recipes/negative_sampling_runs
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


def test_a_resource_can_be_replaced(build: Build, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path, dataset="parquet", first_day=date(2024, 1, 1))
    other = replace(open_workspace(settings), settings=settings.model_copy(update={"window_days": 3}))
    assert build_definitions(settings, resources={"workspace": other}).resources["workspace"] is other


def tick(definitions: dg.Definitions, moment: datetime) -> Any:
    """What the schedule does at a moment."""
    context = dg.build_schedule_context(
        scheduled_execution_time=moment, repository_def=definitions.get_repository_def()
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
def test_loading_from_a_terminal_succeeds_without_a_warning_of_ours(tmp_path: Path, command: list[str]) -> None:
    state = {"TWOTOWER_HOME": str(tmp_path), "DAGSTER_HOME": str(tmp_path / "dagster")}
    (tmp_path / "dagster").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TWOTOWER_")}
    result = subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT_ROOT,
        env={**environment, **state},
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    assert not [line for line in said.splitlines() if "Warning" in line and "Supersession" not in line], said

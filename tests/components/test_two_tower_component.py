"""The graph in a code location of somebody else: beside a foreign asset, and twice, under two prefixes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import duckdb
import pytest
import yaml
from shared_folder import HANGS_AFTER_SECONDS

from twotower_assets.core.folders import CHECKOUT
from twotower_assets.defs.naming import GROUPS

COMPONENT = "twotower_assets.components.TwoTowerComponent"
PROJECT = """
[project]
name = "shop"
version = "0.1.0"

[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "shop"

[tool.dg.cli]
suppress_warnings = ["project_and_activated_venv_mismatch"]

[tool.dg.cli.telemetry]
enabled = false
"""
DEFINITIONS = """
from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
"""
FOREIGN = """
import dagster as dg


@dg.asset(deps=[dg.AssetKey(["films", "features", "item_frequency"])], group_name="features")
def weekly_charts() -> None:
    \"\"\"An asset of another team that reads one of our tables, in a group named like one of ours.\"\"\"
"""
RUN = """
import sys
import dagster as dg
from shop.definitions import defs
definitions = defs()
for job, key in (("films_features_job", "2024-01-01"), ("books_features_job", "2024-01-01")):
    result = definitions.resolve_job_def(job).execute_in_process(partition_key=key)
    made = sorted(event.asset_key.to_user_string() for event in result.get_asset_materialization_events())
    checked = {check.asset_key.path[0] for check in result.get_asset_check_evaluations()}
    print(job, *made, *checked)
"""
FEATURES = sorted(f"{group}/{name}" for group in ("sources", "features") for name in GROUPS[group])


def entry_points(folder: Path) -> Path:
    """What installing the package leaves of its entry points, for Pythons that run with `folder` on their path."""
    declared = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["entry-points"]
    installed = folder / "twotower_assets_entry_points-0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: twotower-assets-entry-points\nVersion: 0\n")
    lines = [
        line
        for group, points in declared.items()
        for line in (f"[{group}]", *(f"{name} = {module}" for name, module in points.items()))
    ]
    (installed / "entry_points.txt").write_text("\n".join(lines))
    return folder


def write_log(folder: Path) -> str:
    """Raw files of a data set of two days."""
    folder.mkdir()
    shown = "(VALUES (TIMESTAMP '2024-01-01 10:00'), (TIMESTAMP '2024-01-02 10:00')) AS shown (shown_at)"
    log = f"SELECT 'ann' AS user_id, 'a' AS item_id, shown_at, true AS clicked FROM {shown}"
    for file, query in (("impressions", log), ("items", "SELECT 'a' AS item_id")):
        duckdb.sql(f"COPY ({query}) TO '{folder / file}.parquet'")
    return str(folder)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dg project with a foreign asset and the component twice, on two homes."""
    root = tmp_path_factory.mktemp("project")
    (root / "pyproject.toml").write_text(PROJECT)
    defs = root / "src" / "shop" / "defs"
    defs.mkdir(parents=True)
    for folder in (defs, defs.parent):
        (folder / "__init__.py").write_text("")
    (defs.parent / "definitions.py").write_text(DEFINITIONS)
    (defs / "charts.py").write_text(FOREIGN)
    settings = {"source_path": write_log(root / "raw"), "last_day": "2024-01-02", "window_days": 2, "threads": 1}
    shared = {"dataset": "parquet", "settings": {**settings, "first_day": "2024-01-01"}}
    groups = {"features": "book_features", "promotion": "book_promotion"}
    for name, more in (
        ("films", {"schedule_hour": 5, "time_zone": "Europe/Berlin"}),
        ("books", {"group_names": groups, "schedule": False}),
    ):
        (defs / name).mkdir()
        attributes = {"home": f".twotower/{name}", "key_prefix": [name], **shared, **more}
        (defs / name / "defs.yaml").write_text(yaml.safe_dump({"type": COMPONENT, "attributes": attributes}))
    return root


def in_project(project: Path, *command: str) -> str:
    """What a Python command prints that succeeds in the project, where this package is installed."""
    installed = project.parent / f"{project.name}-installed"
    if not installed.exists():
        entry_points(installed)
    path = [str(project / "src"), str(installed), str(CHECKOUT), os.environ.get("PYTHONPATH", "")]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TWOTOWER_", "DAGSTER_"))}
    done = subprocess.run(
        [sys.executable, *command],
        cwd=project,
        env={**inherited, "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=HANGS_AFTER_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def dg_command(project: Path, *arguments: str) -> str:
    return in_project(project, "-m", "dagster_dg_cli.cli", *arguments)


@pytest.fixture(scope="module")
def listed(project: Path) -> dict[str, list[dict[str, Any]]]:
    """The output of `dg list defs`."""
    found: dict[str, list[dict[str, Any]]] = json.loads(dg_command(project, "list", "defs", "--json"))
    return found


def test_the_component_is_listed(project: Path) -> None:
    listed = json.loads(dg_command(project, "list", "components", "--json"))["items"]
    components = {entry["key"]: entry for entry in listed}
    assert "Two-tower retrieval on one data set" in components[COMPONENT]["summary"]


def test_a_code_location_with_a_foreign_asset_and_two_graphs_loads(project: Path) -> None:
    assert "All definitions loaded successfully" in dg_command(project, "check", "defs")


def test_the_foreign_asset_follows_ours_and_every_key_of_ours_has_its_prefix(
    listed: dict[str, list[dict[str, Any]]],
) -> None:
    assets = {entry["asset_key"]: entry for entry in listed["assets"]}
    assert assets["weekly_charts"]["dependency_keys"] == ["films/features/item_frequency"]
    ours = [key for key in assets if key != "weekly_charts"]
    assert {key.split("/")[0] for key in ours} == {"films", "books"}
    for key in ours:
        assert {dep.split("/")[0] for dep in assets[key]["dependency_keys"]} <= {key.split("/")[0]}


def test_groups_are_shown_under_the_names_that_they_are_given(listed: dict[str, list[dict[str, Any]]]) -> None:
    groups = {entry["asset_key"]: entry["group_name"] for entry in listed["assets"]}
    assert groups["books/features/training_pairs"] == "book_features"
    assert groups["books/serving/champion"] == "book_promotion"
    assert groups["films/features/training_pairs"] == "features"


def test_jobs_and_schedules_have_the_prefix_and_a_schedule_can_be_omitted(
    listed: dict[str, list[dict[str, Any]]],
) -> None:
    jobs = {entry["name"] for entry in listed["jobs"]}
    assert {"films_everything_job", "books_everything_job", "films_training_job"} <= jobs
    assert {entry["name"]: entry["cron_schedule"] for entry in listed["schedules"]} == {
        "films_daily_schedule": "0 5 * * *"
    }


def test_each_graph_runs_on_its_own_home_and_takes_no_foreign_asset_along(project: Path) -> None:
    films, books = in_project(project, "-c", RUN).splitlines()[-2:]
    assert films.split() == ["films_features_job", *(f"films/{key}" for key in FEATURES), "films"]
    assert books.split() == ["books_features_job", *(f"books/{key}" for key in FEATURES), "books"]
    assert {home.name for home in (project / ".twotower").iterdir()} == {"films", "books"}


def test_scaffolding_writes_a_file_with_a_prefix_and_a_home_of_its_own(project: Path, tmp_path: Path) -> None:
    root = tmp_path / "project"
    (root / "src" / "shop" / "defs").mkdir(parents=True)
    for name in ("pyproject.toml", "src/shop/__init__.py", "src/shop/definitions.py", "src/shop/defs/__init__.py"):
        (root / name).write_text((project / name).read_text())
    dg_command(root, "scaffold", "defs", COMPONENT, "music", "--dataset", "parquet")
    written = yaml.safe_load((root / "src" / "shop" / "defs" / "music" / "defs.yaml").read_text())
    assert written["type"] == COMPONENT
    assert written["attributes"] == {
        "home": ".twotower/music",
        "dataset": "parquet",
        "key_prefix": ["music"],
        "schedule": True,
    }


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"settings": {"window_day": 3}}, "unknown setting TWOTOWER_WINDOW_DAY .* did you mean TWOTOWER_WINDOW_DAYS"),
        ({"group_names": {"trainings": "models"}}, "unknown group 'trainings' in group_names"),
    ],
)
def test_a_wrong_attribute_is_refused_with_the_reason(tmp_path: Path, attributes: dict[str, Any], words: str) -> None:
    import dagster as dg

    from twotower_assets.components import TwoTowerComponent

    component = TwoTowerComponent(home=str(tmp_path), dataset="parquet", **attributes)
    with pytest.raises(ValueError, match=words):
        component.build_defs(dg.ComponentTree.for_test().load_context)

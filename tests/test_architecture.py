from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import twotower_assets
from twotower_assets.lake.tables import TABLES

PACKAGE = Path(twotower_assets.__file__).parent
MAY_IMPORT = {
    "lake": set(),
    "two_tower": set(),
    "retrieval": set(),
    "evaluation": set(),
    "reporting": {"evaluation"},
}
HEAVY = ("torch", "faiss", "great_expectations")
LONGEST_FILE = 400
LOADING = """
import json, sys, time
start = time.perf_counter()
import dagster
middle = time.perf_counter()
from twotower_assets.definitions import build_definitions
from twotower_assets.settings import Settings
from pathlib import Path
build_definitions(Settings(home=Path(sys.argv[1]), dataset="movielens"))
end = time.perf_counter()
print(json.dumps({"seconds": (end - middle), "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""

STEPS = """
import sys
from datetime import date
from pathlib import Path
import dagster as dg, duckdb
from twotower_assets.assets.declaration import key_of
from twotower_assets.definitions import build_definitions
from twotower_assets.settings import Settings
home, checked, names = Path(sys.argv[1]), sys.argv[2] == "checked", sys.argv[3:]
log = "SELECT 'ann' AS user_id, 'a' AS item_id, TIMESTAMP '2024-01-01 10:00' AS shown_at, true AS clicked"
for file, query in (("impressions", log), ("items", "SELECT 'a' AS item_id")):
    duckdb.sql(f"COPY ({query}) TO '{home / file}.parquet'")
selection = dg.AssetSelection.assets(*(key_of(name) for name in names))
job = dg.define_asset_job("steps", selection if checked else selection.without_checks())
day = date(2024, 1, 1)
platform = Settings(home=home, dataset="parquet", source_path=home, first_day=day, last_day=day, threads=1)
definitions = dg.Definitions.merge(build_definitions(platform), dg.Definitions(jobs=[job]))
result = definitions.resolve_job_def("steps").execute_in_process(partition_key=str(day))
made = {event.asset_key.path[-1] for event in result.get_asset_materialization_events()}
assert made == set(names), made
assert bool(result.get_asset_check_evaluations()) == checked
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""
SOURCES = ("impressions", "rejected_impressions", "items", "users")
FEATURES = ("item_frequency_daily", "item_frequency", "exposure_log", "category_map", "training_pairs")
DRAWN, TRAINED, CHECKED = {"vl_convert"}, {"torch", "faiss"}, {"great_expectations"}
AT_A_TERMINAL = """
import contextlib, sys
from twotower_assets.cli import app
with contextlib.suppress(SystemExit):
    app(["--help"])
print(*sorted({name.split(".")[0] for name in sys.modules}))
"""


def imported(file: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it, with full names."""
    package = ["twotower_assets", *file.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_no_dagster_and_no_room_that_it_must_not_know(room: str) -> None:
    for file in sorted((PACKAGE / room).rglob("*.py")):
        for module in imported(file):
            parts = module.split(".")
            assert parts[0] not in ("dagster", "dagster_shared"), f"{file.name} imports {module}"
            if parts[0] == "twotower_assets" and len(parts) > 1:
                assert parts[1] in {room, *MAY_IMPORT[room]}, f"{file.name} imports {module}"


def test_the_code_location_loads_fast_and_without_the_heavy_libraries(tmp_path: Path) -> None:
    best = float("inf")
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", LOADING, str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert not set(HEAVY) & set(found["modules"])
        best = min(best, found["seconds"])
        if best < 2:
            break
    assert best < 2


def modules_after(program: str, *arguments: str) -> set[str]:
    """The packages that a process has imported when `program` ends."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_a_run_of_sources_and_features_imports_nothing_to_train_draw_or_check_with(tmp_path: Path) -> None:
    found = modules_after(STEPS, str(tmp_path), "unchecked", *SOURCES, *FEATURES)
    assert "duckdb" in found
    assert not found & {*TRAINED, *CHECKED, *DRAWN, "altair", "scipy"}


def test_checking_sources_imports_nothing_to_train_or_draw_with(tmp_path: Path) -> None:
    found = modules_after(STEPS, str(tmp_path), "checked", *SOURCES)
    assert found >= CHECKED
    assert not found & {*TRAINED, *DRAWN}


def test_the_help_of_the_command_line_imports_neither_dagster_nor_duckdb() -> None:
    found = modules_after(AT_A_TERMINAL)
    assert "typer" in found
    assert not found & {"dagster", "duckdb", "numpy", "pandas", "pydantic", *HEAVY}


def test_every_column_is_derived_from_a_column_that_exists() -> None:
    for table in TABLES.values():
        for column in table.columns:
            for origin in column.derived_from:
                name, _, of_column = origin.partition(".")
                assert of_column in TABLES[name].column_names, f"{table.name}.{column.name} derives from {origin}"


def test_the_grain_of_every_table_names_its_columns() -> None:
    for table in TABLES.values():
        assert set(table.grain) <= set(table.column_names), table.name


def test_no_file_is_longer_than_a_room_should_be() -> None:
    declarations = PACKAGE / "lake" / "tables.py"
    long = {
        str(file.relative_to(PACKAGE)): lines
        for file in PACKAGE.rglob("*.py")
        if file != declarations and (lines := len(file.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert long == {}

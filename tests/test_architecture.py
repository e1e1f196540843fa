from __future__ import annotations

import ast
import io
import json
import re
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

import twotower_assets
from twotower_assets.core.buckets import BUCKETS
from twotower_assets.lake.queries import read_query
from twotower_assets.lake.tables import TABLES

PACKAGE = Path(twotower_assets.__file__).parent
ROOMS = (
    "core",
    "settings",
    "recipes",
    "lake",
    "datasets",
    "two_tower",
    "retrieval",
    "evaluation",
    "reporting",
    "checks",
    "testing",
    "workspace",
    "experiments",
    "serving",
    "api",
    "defs",
    "components",
    "definitions",
    "event_storage",
    "cli",
)
"""From the ground up: a file imports its own room and those before it."""
MIDDLE = ("recipes", "lake", "datasets", "two_tower", "retrieval", "evaluation", "reporting", "checks")
KNOWN_TO_THE_MIDDLE = {
    "datasets": {"lake"},
    "two_tower": {"recipes"},
    "reporting": {"evaluation"},
    "checks": {"lake"},
}
"""The rooms of the middle do not know each other, except for these; what joins them is `experiments`."""
TOWER_ROOMS = ("kernels", "data", "sampling", "towers", "loss", "optim", "training", "checkpoint")
"""The order within `two_tower`."""
MAY_USE_PRIVATE_PARTS = (("defs", "event_storage"), ("defs", "run_origin"))
"""Modules that import private parts of Dagster; their docstrings say which, why, and what is lost without."""

MAY_IMPORT_DAGSTER = ("defs", "components", "definitions")
HEAVY = ("torch", "faiss", "great_expectations")
LONGEST_FILE = 400
NAMED_FILE = re.compile(r"[\w./*-]*[\w*]\.(?:py|sql|yaml)\b(?!>)")
WRITTEN_INTO_A_HOME = {"dagster.yaml"}
GROUP = "a group of tables: what is declared of them under `lake/tables/`, what makes them under `defs/assets/`"
ONE_MEANING = {
    **dict.fromkeys(("sources", "features", "training", "serving", "reports", "recipes"), GROUP),
    "documentation": "the page of docs/ that is written from what the room declares",
    "errors": "the exceptions of the room",
    "event_storage": "the name that homes made before have in their dagster.yaml",
    "lake": "the room, its main module, and the commands that ask it",
}
"""Names that modules of several rooms have, each with the one meaning that it has in all of them."""
LOADING = """
import json, sys, time
start = time.process_time()
import dagster
middle = time.process_time()
from twotower_assets.defs.build import build_definitions
from twotower_assets.settings import Settings
from pathlib import Path
build_definitions(Settings(home=Path(sys.argv[1]), dataset="movielens"))
end = time.process_time()
share = (end - middle) / (middle - start)
print(json.dumps({"share": share, "modules": sorted({name.split(".")[0] for name in sys.modules})}))
"""

STEPS = """
import sys
from datetime import date
from pathlib import Path
import dagster as dg, duckdb
from twotower_assets.defs.naming import key_of
from twotower_assets.defs.build import build_definitions
from twotower_assets.settings import Settings
home, checked, names = Path(sys.argv[1]), sys.argv[2] == "checked", sys.argv[3:]
log = "SELECT 'ann' AS user_id, 'a' AS item_id, TIMESTAMP '2024-01-01 10:00' AS shown_at, true AS clicked"
for file, query in (("impressions", log), ("items", "SELECT 'a' AS item_id")):
    duckdb.sql(f"COPY ({query}) TO '{home / file}.parquet'")
selection = dg.AssetSelection.assets(*(key_of(name) for name in names))
job = dg.define_asset_job("steps", selection if checked else selection.without_checks())
day = date(2024, 1, 1)
settings = Settings(home=home, dataset="parquet", source_path=home, first_day=day, last_day=day, threads=1)
definitions = dg.Definitions.merge(build_definitions(settings), dg.Definitions(jobs=[job]))
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


def room_of(parts: tuple[str, ...]) -> str:
    """The room of a module, given by its names below the package."""
    return parts[0]


FILES = sorted(file for file in PACKAGE.rglob("*.py") if file != PACKAGE / "__init__.py")


def modules_of(file: Path) -> tuple[str, ...]:
    """The names of a file's module below the package."""
    return file.relative_to(PACKAGE).with_suffix("").parts


def imported_here(file: Path) -> set[tuple[str, ...]]:
    """The modules of this package that a file imports, by their names below it."""
    return {tuple(parts[1:]) for name in imported(file) if (parts := name.split("."))[0] == "twotower_assets"} - {()}


def test_every_file_is_in_a_room_of_the_list() -> None:
    assert {room_of(modules_of(file)) for file in FILES} <= set(ROOMS)


def test_dagster_is_imported_where_definitions_are_and_nowhere_else() -> None:
    importing = {
        room_of(modules_of(file))
        for file in FILES
        if any(name.split(".")[0] in ("dagster", "dagster_shared") for name in imported(file))
    }
    assert importing <= set(MAY_IMPORT_DAGSTER)


def test_private_parts_of_dagster_are_used_in_the_modules_that_say_why_and_nowhere_else() -> None:
    using = {file for file in FILES if any(private(name) for name in imported(file))}
    assert {modules_of(file) for file in using} <= set(MAY_USE_PRIVATE_PARTS)
    for file in using:
        docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        assert re.search(r"Without (it|this module)", docstring), f"{file} does not say what is lost without it"


def private(module: str) -> bool:
    """Whether a module is a part of Dagster that its makers may change in any release."""
    package, *parts = module.split(".")
    return package == "dagster_shared" or (package == "dagster" and any(part.startswith("_") for part in parts))


def test_no_file_imports_a_room_above_its_own() -> None:
    for file in FILES:
        own = room_of(modules_of(file))
        for module in imported_here(file):
            other = room_of(module)
            assert ROOMS.index(other) <= ROOMS.index(own), f"{file} imports {'.'.join(module)}"
            if own in MIDDLE and other in MIDDLE:
                assert other in {own, *KNOWN_TO_THE_MIDDLE.get(own, ())}, f"{file} imports {'.'.join(module)}"


def test_no_part_of_the_two_towers_imports_one_above_its_own() -> None:
    for file in sorted((PACKAGE / "two_tower").rglob("*.py")):
        own = modules_of(file)[1]
        for module in imported_here(file):
            if module[0] == "two_tower" and len(module) > 1 and own != "__init__":
                assert TOWER_ROOMS.index(module[1]) <= TOWER_ROOMS.index(own), f"{file} imports {'.'.join(module)}"


@pytest.mark.slow
def test_the_code_location_loads_fast_and_without_the_heavy_libraries(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LOADING, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert not set(HEAVY) & set(found["modules"])
    assert found["share"] < 2, "of the processor's time that importing Dagster takes"


def modules_after(program: str, *arguments: str) -> set[str]:
    """The packages that a process has imported when `program` ends."""
    done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.slow
def test_a_run_of_sources_and_features_imports_nothing_to_train_draw_or_check_with(tmp_path: Path) -> None:
    found = modules_after(STEPS, str(tmp_path), "unchecked", *SOURCES, *FEATURES)
    assert "duckdb" in found
    assert not found & {*TRAINED, *CHECKED, *DRAWN, "altair", "scipy"}


@pytest.mark.slow
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
    long = {
        str(file.relative_to(PACKAGE)): lines
        for file in PACKAGE.rglob("*.py")
        if (lines := len(file.read_text(encoding="utf-8").splitlines())) > LONGEST_FILE
    }
    assert long == {}


def prose(file: Path) -> Iterator[str]:
    """The docstrings and comments of a file."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        mark = "--" if file.suffix == ".sql" else "#"
        yield from (line[line.index(mark) :] for line in text.splitlines() if mark in line)
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def test_every_file_that_is_named_exists() -> None:
    root = PACKAGE.parent
    folders = (PACKAGE, root / "sql", root / "tests", root / "benchmarks")
    files = (*root.glob("*.*"), *(file for folder in folders for file in folder.rglob("*.*")))
    there = [f"/{file.relative_to(root)}" for file in files]
    checked = [
        file for folder in folders[:2] for file in folder.rglob("*.*") if file.suffix in (".py", ".sql", ".yaml")
    ]
    missing = {
        f"{file.relative_to(root)} names {name}"
        for file in checked
        for text in prose(file)
        for name in NAMED_FILE.findall(text)
        if name not in WRITTEN_INTO_A_HOME and not any(fnmatch(path, f"*/{name}") for path in there)
    }
    assert missing == set()


def test_modules_of_one_name_have_one_meaning() -> None:
    rooms = defaultdict(set)
    for file in FILES:
        *folders, stem = modules_of(file)
        for name in {*folders, stem} - {"__init__"}:
            rooms[name].add(room_of(modules_of(file)))
    assert {name for name, found in rooms.items() if len(found) > 1} <= set(ONE_MEANING)


def test_sql_that_cannot_be_given_buckets_names_them_in_their_order() -> None:
    assert str(list(BUCKETS)) in read_query("analysts/exposure_by_bucket.sql")

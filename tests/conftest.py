"""Lakes, tables and hand-made rows that the tests of several rooms share."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

# Other processes of a test run want the cores too. Libraries read these when they are loaded.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import duckdb  # noqa: E402
import hypothesis  # noqa: E402
import pytest  # noqa: E402
from every_pair import every_pair  # noqa: E402
from fork_server import ForkServer  # noqa: E402

from twotower_assets.lake.lake import Lake  # noqa: E402
from twotower_assets.lake.queries import bound, read_query  # noqa: E402
from twotower_assets.lake.tables import TABLES, Table  # noqa: E402

TESTS = Path(__file__).parent
KUAIRAND = Path(__file__).resolve().parents[2] / "shared" / "data" / "kuairand_pure_slice"

hypothesis.settings.register_profile("always", max_examples=100, derandomize=True, database=None)
hypothesis.settings.register_profile("fuzz", max_examples=1000, print_blob=True)
hypothesis.settings.load_profile("always")

Row = dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full-product", action="store_true", help="run every case of tests marked `every_pair`")


SLOW_FOLDERS = ("cli", "components", "distribution", "end_to_end", "reporting", "ui")
SLOW_FILES = (
    "checks/test_expectations.py",
    "defs/test_asset_checks.py",
    "defs/test_definitions.py",
    "defs/test_event_storage.py",
    "defs/test_failures.py",
    "evaluation/test_ranking.py",
    "lake/test_commits.py",
    "lake/test_instances.py",
    "lake/test_interruptions.py",
    "lake/test_lake.py",
    "lake/test_spill.py",
    "lake/test_views.py",
    "serving/test_report_server.py",
    "sql/test_any_data.py",
    "test_fork_server.py",
    "test_workspace.py",
    "two_tower/kernels/test_threads.py",
    "two_tower/loss/test_simulated_market.py",
    "two_tower/test_suite.py",
    "two_tower/training/test_loop.py",
)
SERVERS = ("distribution", "ui", "reporting/test_accessibility.py", "end_to_end/test_analysts_during_a_backfill.py")
"""What `make test-servers` runs."""
SLOW = (*SLOW_FOLDERS, *SLOW_FILES)
"""Where tests train through the whole graph, run jobs, install, draw, drive a browser, or take long by their number."""
SLOW_FIXTURES = {"built", "trained", "changeable", "demo"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what is slow, and begin with what takes long, so that no process is left with it at the end.

    The first page builds the demo, while other processes have other slow tests to do than to wait for it.
    """
    sizes = Counter(group_of(item.nodeid) for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        group, of_demo = group_of(item.nodeid), "demo" in getattr(item, "fixturenames", ())
        if item.get_closest_marker("slow") is None:
            return 3, -sizes[group]
        return 0 if group == "README.md" else 2 if of_demo else 1, 0

    for item in items:
        fixtures = set(getattr(item, "fixturenames", ()))
        if item.path.relative_to(TESTS).as_posix().startswith(SLOW) or fixtures & SLOW_FIXTURES:
            item.add_marker(pytest.mark.slow)
        if item.path.relative_to(TESTS).as_posix().startswith(SERVERS):
            item.add_marker(pytest.mark.servers)
        if "demo" in fixtures:
            item.add_marker(pytest.mark.pages)
    items.sort(key=place)


def group_of(test: str) -> str:
    """What one process runs, since its tests share what fixtures build: the blocks of a page, or a file."""
    page = re.search(r"::test_a_block_does_what_the_page_shows\[(?:docs/)?(.+\.md):\d+\]$", test)
    return page[1] if page else test.partition("::")[0]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a process whole groups, also with a pytest whose ids the `loadgroup` of xdist does not know."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    return Groups(config, log)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Parametrize what is marked `every_pair(names, cases)` with some of the cases, or with all of them."""
    for mark in metafunc.definition.iter_markers("every_pair"):
        names, cases = mark.args
        kept = cases if metafunc.config.getoption("full_product") else every_pair(cases)
        metafunc.parametrize(names, kept, ids=lambda value: "+".join(value) if isinstance(value, tuple) else None)


@pytest.fixture(scope="session")
def one_thread() -> Iterator[None]:
    """Tiny batches gain nothing from threads, and lose a hundredfold where other processes want the cores."""
    from twotower_assets.two_tower.kernels.threads import computing_threads

    with computing_threads(1):
        yield


@pytest.fixture(scope="session")
def commands() -> Iterator[ForkServer]:
    """Processes for commands of pages and of analysts, which have imported already.

    What libraries read when they are imported is as the pages want it: one thread, and a terminal without colours.
    """
    read_by_imports = {
        "OMP_NUM_THREADS": "1",
        "NUMBA_NUM_THREADS": "1",
        "COLUMNS": "120",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    with ForkServer({**os.environ, **read_by_imports}) as server:
        yield server


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 4 MiB; skips where it cannot be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root and the right to mount")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.fixture
def jan() -> Callable[[int], date]:
    """A day of January 2024."""
    return lambda day: date(2024, 1, day)


@pytest.fixture(scope="session")
def lake_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an empty lake of the data set `tiny`, to be copied."""
    folder = tmp_path_factory.mktemp("template") / "lake"
    with Lake(folder, "tiny", threads=1).writer():
        pass
    return folder


@pytest.fixture
def lake(lake_template: Path, tmp_path: Path) -> Lake:
    """An empty lake of the data set `tiny`, for one test."""
    shutil.copytree(lake_template, tmp_path / "lake")
    return Lake(tmp_path / "lake", "tiny", threads=1)


@pytest.fixture
def tables() -> Iterator[duckdb.DuckDBPyConnection]:
    """Every declared table, empty, in memory: what the SQL under `sql/` reads, without a lake around it."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'; SET threads = 1")
        for table in TABLES.values():
            con.execute(f"CREATE TABLE {table.name} ({_columns(table)})")
        yield con


def _columns(table: Table) -> str:
    return ", ".join(f"{column.name} {column.type}{'' if column.nullable else ' NOT NULL'}" for column in table.columns)


@pytest.fixture
def insert(tables: duckdb.DuckDBPyConnection) -> Callable[..., None]:
    """Insert rows, given as dictionaries, into a declared table; columns that are left out are null."""

    def into(table: str, *rows: Row) -> None:
        for row in rows:
            names = ", ".join(row)
            places = ", ".join(f"${name}" for name in row)
            tables.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", row)

    return into


@pytest.fixture
def shown(insert: Callable[..., None]) -> Callable[..., None]:
    """Put impressions into the log: `shown("ann", "a", "2024-01-03 10:00", clicked=True)`."""

    def show(user: str, item: str, at: str, *, clicked: bool = False, **more: Any) -> None:
        insert(
            "impressions",
            {"day": at[:10], "user_id": user, "item_id": item, "shown_at": at, "clicked": clicked, **more},
        )

    return show


@pytest.fixture
def query(tables: duckdb.DuckDBPyConnection) -> Callable[..., list[Row]]:
    """The rows that a file under `sql/` gives, with its parameters bound."""

    def run(file: str, **parameters: Any) -> list[Row]:
        sql = read_query(file)
        cursor = tables.execute(sql, bound(tables, sql, parameters))
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return run


@pytest.fixture
def kuairand() -> Path:
    """The folder of the KuaiRand slice; skips where it is not at hand."""
    if not any(KUAIRAND.glob("log_standard_*.parquet")):
        pytest.skip(f"the KuaiRand slice is not at hand (looked in {KUAIRAND})")
    return KUAIRAND

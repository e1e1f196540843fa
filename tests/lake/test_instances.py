"""An instance of DuckDB that is used again is as one that was made, and sees what was written meanwhile."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from twotower_assets.lake import instances
from twotower_assets.lake.lake import Lake

SETTINGS = "SELECT current_setting('memory_limit'), current_setting('threads')"
ATTACHED = "SELECT database_name FROM duckdb_databases() WHERE NOT internal ORDER BY ALL"


@pytest.fixture(autouse=True)
def none_idle(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts with no instance, and leaves those of others alone."""
    monkeypatch.setattr(instances, "_idle", type(instances._idle)())
    yield
    while instances._idle:
        instances._idle.pop()[1].close()


def idle() -> int:
    return len(instances._idle)


def test_the_next_user_finds_nothing_of_the_one_before(lake: Lake) -> None:
    with lake.writer() as con:
        before = con.execute(SETTINGS).fetchall(), con.execute(ATTACHED).fetchall()
    with replace(lake, memory_limit="123MiB", threads=3).writer() as con:
        con.execute("CREATE TEMP TABLE mine AS SELECT 1; SET TimeZone = 'Asia/Tokyo'; SET enable_profiling = 'json'")
        con.execute("BEGIN TRANSACTION")
        con.execute("INSERT INTO users (user_id) VALUES ('nobody')")
    assert idle() == 1
    with lake.writer() as con:
        assert idle() == 0
        assert (con.execute(SETTINGS).fetchall(), con.execute(ATTACHED).fetchall()) == before
        assert con.execute("SELECT current_database()").fetchone() == ("lake",)
        assert con.execute("SELECT count(*) FROM duckdb_tables() WHERE temporary").fetchone() == (0,)
        assert con.execute("SELECT current_setting('TimeZone')").fetchone() == ("UTC",)
        assert con.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_an_instance_that_was_idle_sees_what_was_written_meanwhile(lake: Lake) -> None:
    rows_in(lake)
    with lake.writer() as con:
        con.execute("INSERT INTO users (user_id) VALUES ('ann')")
    assert idle() == 2
    with lake.reader() as con:
        assert con.execute("SELECT user_id FROM users").fetchall() == [("ann",)]


def test_another_lake_at_the_same_path_is_attached_anew(lake: Lake, lake_template: Path) -> None:
    with lake.writer() as con:
        con.execute("INSERT INTO users (user_id) VALUES ('ann')")
    rows = "SELECT user_id FROM users"
    with lake.reader() as con:
        assert con.execute(rows).fetchall() == [("ann",)]
    aside = lake.folder.rename(lake.folder.with_name("aside"))
    shutil.copytree(lake_template, lake.folder)
    with lake.reader() as con:
        assert con.execute(rows).fetchall() == []
    with replace(lake, folder=aside).reader() as con:
        assert con.execute(rows).fetchall() == [("ann",)]


def test_only_some_wait_to_be_used_again(lake: Lake) -> None:
    with ExitStack() as together:
        for _ in range(instances.MOST_IDLE + 2):
            together.enter_context(lake.reader())
    assert idle() == instances.MOST_IDLE


def test_those_who_need_one_at_once_have_one_each(lake: Lake) -> None:
    with lake.reader() as one, lake.reader() as other:
        one.execute("CREATE TEMP TABLE mine AS SELECT 1 AS i; SET threads = 2")
        with pytest.raises(duckdb.CatalogException):
            other.execute("FROM mine")
        assert other.execute("SELECT current_setting('threads')").fetchone() == (1,)
    assert idle() == 2


def test_one_that_spilled_or_failed_is_not_used_again(lake: Lake) -> None:
    with replace(lake, memory_limit="60MiB").reader() as con:
        con.execute("CREATE TEMP TABLE wide AS SELECT i, repeat('x', 20) || i AS text FROM range(1_500_000) AS r(i)")
        (folder,) = con.execute("SELECT current_setting('temp_directory')").fetchone() or ("",)
        assert list(Path(folder).iterdir())
    assert idle() == 0
    assert not Path(folder).exists()
    with pytest.raises(KeyboardInterrupt), lake.reader():
        raise KeyboardInterrupt
    assert idle() == 0


def rows_in(lake: Lake) -> None:
    with lake.reader() as con:
        assert con.execute("SELECT count(*) FROM users").fetchone() == (0,)


def test_a_forked_process_makes_its_own(lake: Lake) -> None:
    rows_in(lake)
    assert idle() == 1
    child = multiprocessing.get_context("fork").Process(target=rows_in, args=[lake])
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert idle() == 1

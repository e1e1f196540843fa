"""The faster event log: durable enough, readable by others, and nothing but SQLite touched."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from shared_folder import HANGS_AFTER_SECONDS
from sqlalchemy import NullPool, create_engine, text

from twotower_assets.defs.event_log import HELD_OPEN, speed_up_sqlite_event_log
from twotower_assets.lake.lake import Lake

READ = """
import sys, dagster as dg
with dg.DagsterInstance.from_ref(dg.DagsterInstance.local_temp(sys.argv[1]).get_ref()) as instance:
    (run,) = instance.get_runs()
    print(len(instance.all_logs(run.run_id)), run.status.value)
"""


@dg.op
def something() -> None:
    """Does nothing."""


@dg.job
def small_job() -> None:
    """One step."""
    something()


@pytest.mark.slow
def test_another_process_reads_the_events_while_this_one_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    speed_up_sqlite_event_log()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = small_job.execute_in_process(instance=instance)
        here = len(instance.all_logs(run.run_id))
        command = [sys.executable, "-c", READ, str(tmp_path)]
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANGS_AFTER_SECONDS).stdout
    assert output.split() == [str(here), "SUCCESS"]


def synchronous(path: Path) -> int:
    engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
    with engine.connect() as connection:
        return int(connection.execute(text("PRAGMA synchronous")).scalar_one())


def in_wal_mode(path: Path) -> Path:
    with closing(sqlite3.connect(path)) as con:
        con.execute("PRAGMA journal_mode = WAL")
    return path


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Dagster home, the current one."""
    folder = tmp_path / "dagster"
    folder.mkdir()
    monkeypatch.setenv("DAGSTER_HOME", str(folder))
    speed_up_sqlite_event_log()
    return folder


def test_files_of_the_dagster_home_sync_less_and_others_as_before(home: Path, tmp_path: Path) -> None:
    assert synchronous(home / "events.db") == 1
    assert synchronous(tmp_path / "own.db") == 2
    with closing(sqlite3.connect(home / "other.db")) as other:
        assert other.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_connection_of_a_users_own_is_unchanged(home: Path, tmp_path: Path) -> None:
    assert synchronous(in_wal_mode(tmp_path / "own.db")) == 2
    with create_engine("sqlite://").connect() as in_memory:
        assert in_memory.execute(text("PRAGMA synchronous")).scalar_one() == 2
    assert not list(tmp_path.glob("own.db-*")), "nothing holds the file open"


def test_without_a_dagster_home_nothing_is_changed(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME")
    assert synchronous(home / "events.db") == 2


def test_few_files_are_held_open_however_many_runs_there_are(home: Path) -> None:
    for number in range(HELD_OPEN + 3):
        synchronous(in_wal_mode(home / f"{number}.db"))
    assert len(list(home.glob("*.db-wal"))) == HELD_OPEN


def test_other_databases_of_sqlalchemy_and_the_lake_are_left_alone(home: Path, tmp_path: Path) -> None:
    lake = Lake(tmp_path / "lake", "tiny", threads=1)
    with lake.writer():
        pass
    before = lake.catalog.stat().st_mtime_ns
    speed_up_sqlite_event_log()
    assert synchronous(home / "events.db") == 1
    assert lake.catalog.stat().st_mtime_ns == before

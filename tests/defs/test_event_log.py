"""The faster event log: durable enough, readable by others, and nothing but SQLite touched."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import dagster as dg
from sqlalchemy import create_engine, text

from twotower_assets.defs.event_log import speed_up_sqlite_event_log
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


def test_another_process_reads_the_events_while_this_one_goes_on(tmp_path: Path) -> None:
    speed_up_sqlite_event_log()
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = small_job.execute_in_process(instance=instance)
        here = len(instance.all_logs(run.run_id))
        command = [sys.executable, "-c", READ, str(tmp_path)]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split() == [str(here), "SUCCESS"]


def synchronous(path: Path) -> int:
    with create_engine(f"sqlite:///{path}").connect() as connection:
        return int(connection.execute(text("PRAGMA synchronous")).scalar_one())


def test_connections_of_sqlalchemy_to_sqlite_sync_less_and_others_as_before(tmp_path: Path) -> None:
    speed_up_sqlite_event_log()
    assert synchronous(tmp_path / "events.db") == 1
    with sqlite3.connect(tmp_path / "other.db") as other:
        assert other.execute("PRAGMA synchronous").fetchone() == (2,)


def test_other_databases_of_sqlalchemy_and_the_lake_are_left_alone(tmp_path: Path) -> None:
    speed_up_sqlite_event_log()
    lake = Lake(tmp_path / "lake", "tiny", threads=1)
    with lake.writer():
        pass
    before = lake.catalog.stat().st_mtime_ns
    speed_up_sqlite_event_log()
    assert synchronous(tmp_path / "events.db") == 1
    assert lake.catalog.stat().st_mtime_ns == before

"""The event log of a home folder: the rows of Dagster's own, in fewer transactions."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from twotower_assets.defs.event_log import speed_up_sqlite_event_log
from twotower_assets.defs.event_storage import OPEN_RUNS, LocalEventLog
from twotower_assets.workspace import prepare_dagster_home

DAYS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-11")
RANGE = {"dagster/asset_partition_range_start": "2024-01-01", "dagster/asset_partition_range_end": "2024-01-10"}
INDEXED = "SELECT dagster_event_type, asset_key, partition, step_key FROM event_logs ORDER BY 1, 2, 3"
EVENTS = """
SELECT dagster_event_type, asset_key, partition, step_key FROM event_logs
WHERE dagster_event_type NOT IN ('ENGINE_EVENT', 'LOGS_CAPTURED') ORDER BY 1, 2, 3
"""
ASSETS = """
SELECT asset_key, last_run_id IS NOT NULL, json_extract(last_materialization, '$.storage_id') FROM asset_keys ORDER BY 1
"""
TAGS = "SELECT asset_key, event_id, key FROM asset_event_tags ORDER BY 1, 2, 3"
READ = """
import dagster as dg
with dg.DagsterInstance.get() as instance:
    (run,) = instance.get_runs()
    print(len(instance.all_logs(run.run_id)), len(instance.get_materialized_partitions(dg.AssetKey("daily"))))
"""


@dg.asset(partitions_def=DAYS, code_version="1")
def daily() -> None:
    """An asset of ten days."""


@dg.asset_check(asset=daily)
def sound() -> dg.AssetCheckResult:
    """A check of it."""
    return dg.AssetCheckResult(passed=True)


Home = Callable[[str], Path]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Make a Dagster home the current one."""
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE", raising=False)
    speed_up_sqlite_event_log()

    def in_folder(name: str) -> Path:
        monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / name))
        prepare_dagster_home(tmp_path / name)
        return tmp_path / name

    return in_folder


def materialize(instance: dg.DagsterInstance) -> str:
    job = dg.define_asset_job("ten_days", selection=dg.AssetSelection.assets(daily))
    definitions = dg.Definitions(assets=[daily], asset_checks=[sound], jobs=[job])
    return definitions.resolve_job_def("ten_days").execute_in_process(instance=instance, tags=RANGE).run_id


def rows(home: Path, file: str, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(home / "history" / "runs" / f"{file}.db")) as con:
        return con.execute(query).fetchall()


def test_the_rows_are_those_that_dagster_writes_by_itself(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = home("ours")
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, LocalEventLog)
        run = materialize(instance)
    theirs = home("theirs")
    (theirs / "dagster.yaml").write_text("telemetry: {enabled: false}\n", encoding="utf-8")
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "0")
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        other = materialize(instance)
    assert rows(ours, run, EVENTS) == rows(theirs, other, EVENTS)
    assert rows(ours, "index", INDEXED) == rows(theirs, "index", INDEXED)
    assert len(rows(ours, "index", ASSETS)) == 1
    assert [row[:2] for row in rows(ours, "index", ASSETS)] == [row[:2] for row in rows(theirs, "index", ASSETS)]
    assert len(rows(ours, "index", TAGS)) == len(rows(theirs, "index", TAGS)) > 0


def test_the_asset_remembers_its_last_partition(home: Home) -> None:
    ours = home("ours")
    with dg.DagsterInstance.get() as instance:
        materialize(instance)
        event = instance.get_latest_materialization_event(dg.AssetKey("daily"))
    assert event is not None
    assert event.get_dagster_event().partition == "2024-01-10"
    (last,) = rows(ours, "index", "SELECT max(id) FROM event_logs WHERE dagster_event_type = 'ASSET_MATERIALIZATION'")
    assert [row[2] for row in rows(ours, "index", ASSETS)] == list(last)


def test_a_batch_that_fails_leaves_no_event_in_either_file(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = home("ours")
    with dg.DagsterInstance.get() as instance:
        run = materialize(instance)
        before = rows(folder, run, INDEXED), rows(folder, "index", INDEXED)
        events = instance.all_logs(run, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)

        def full(*_: Any) -> None:
            raise OSError("the disk is full")

        monkeypatch.setattr(instance.event_log_storage, "_store_asset_event", full)
        with pytest.raises(OSError, match="the disk is full"):
            instance.event_log_storage.store_event_batch(events)
    assert (rows(folder, run, INDEXED), rows(folder, "index", INDEXED)) == before


def test_another_process_reads_along(home: Home) -> None:
    home("ours")
    with dg.DagsterInstance.get() as instance:
        here = len(instance.all_logs(materialize(instance)))
        command = [sys.executable, "-c", READ]
        said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert said.split() == [str(here), "10"]


def test_a_copied_home_goes_on_in_its_own_files(home: Home, tmp_path: Path) -> None:
    first = home("first")
    with dg.DagsterInstance.get() as instance:
        materialize(instance)
    before = len(rows(first, "index", INDEXED))
    shutil.copytree(first, tmp_path / "second")
    second = home("second")
    with dg.DagsterInstance.get() as instance:
        materialize(instance)
    assert len(rows(first, "index", INDEXED)) == before
    assert len(rows(second, "index", INDEXED)) == 2 * before


def test_more_runs_than_are_kept_open_can_be_read_and_deleted(home: Home) -> None:
    home("ours")
    with dg.DagsterInstance.get() as instance:
        runs = [materialize(instance) for _ in range(OPEN_RUNS + 2)]
        assert len({len(instance.all_logs(run)) for run in runs}) == 1
        instance.delete_run(runs[0])
        assert instance.all_logs(runs[0]) == []
        instance.event_log_storage.wipe()
        assert instance.all_logs(runs[1]) == []
        assert instance.get_materialized_partitions(dg.AssetKey("daily")) == set()

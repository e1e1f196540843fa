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
from shared_folder import HANGS_AFTER_SECONDS

from twotower_assets.defs.event_log import speed_up_sqlite_event_log
from twotower_assets.defs.event_storage import OPEN_RUNS, LocalEventLog, stores_batches
from twotower_assets.settings import Settings
from twotower_assets.workspace import dagster_yaml, prepare_dagster_home

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
    """Make a Dagster home, with the batched event log, the current one."""
    monkeypatch.setenv("DAGSTER_EVENT_BATCH_SIZE", "")  # what is set from here on goes with the test
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    speed_up_sqlite_event_log()

    def in_folder(name: str) -> Path:
        settings = Settings(home=tmp_path / name, event_log="batched")
        prepare_dagster_home(settings)
        return settings.dagster_home

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
    monkeypatch.delenv("DAGSTER_EVENT_BATCH_SIZE")
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


@pytest.mark.slow
def test_another_process_reads_along(home: Home) -> None:
    home("ours")
    with dg.DagsterInstance.get() as instance:
        here = len(instance.all_logs(materialize(instance)))
        command = [sys.executable, "-c", READ]
        output = subprocess.run(command, capture_output=True, text=True, check=True, timeout=HANGS_AFTER_SECONDS).stdout
    assert output.split() == [str(here), "10"]


def test_a_copied_home_goes_on_in_its_own_files(home: Home, tmp_path: Path) -> None:
    first = home("first")
    with dg.DagsterInstance.get() as instance:
        materialize(instance)
    before = len(rows(first, "index", INDEXED))
    shutil.copytree(first, tmp_path / "second" / "dagster")
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


def test_dagsters_own_storage_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    prepare_dagster_home(Settings(home=tmp_path))
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage


@pytest.mark.parametrize("module", ["twotower_assets.event_storage", "twotower_assets.defs.event_storage"])
def test_a_home_made_before_opens_and_goes_on(home: Home, module: str) -> None:
    old = home("old")
    batched = dagster_yaml("batched")
    (old / "dagster.yaml").write_text(batched.replace("twotower_assets.defs.event_storage", module), encoding="utf-8")
    with dg.DagsterInstance.get() as instance:
        assert isinstance(instance.event_log_storage, LocalEventLog)
        first = materialize(instance)
    prepare_dagster_home(Settings(home=old.parent))
    with dg.DagsterInstance.get() as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        assert len(instance.all_logs(first)) == len(instance.all_logs(materialize(instance)))


def test_a_dagster_yaml_that_was_edited_is_left_as_it_is(home: Home) -> None:
    edited = home("ours") / "dagster.yaml"
    edited.write_text(dagster_yaml("batched") + "# mine\n", encoding="utf-8")
    prepare_dagster_home(Settings(home=edited.parent.parent))
    assert edited.read_text(encoding="utf-8") == dagster_yaml("batched") + "# mine\n"


def test_this_release_of_dagster_has_what_batches_are_stored_with() -> None:
    assert stores_batches()


def test_where_dagster_has_other_methods_events_are_stored_as_it_does(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(SqliteEventLogStorage):
        def _store_asset_event_tags(self, connection: Any, stored: Any) -> None: ...

    assert not stores_batches(Later)
    ours = home("ours")
    with dg.DagsterInstance.get() as instance:
        materialize(instance)
    before = rows(ours, "index", INDEXED)
    later = home("later")
    monkeypatch.setattr("twotower_assets.defs.event_storage.stores_batches", lambda: False)
    monkeypatch.delattr(LocalEventLog, "_store_asset_events")
    with dg.DagsterInstance.get() as instance:
        materialize(instance)
    assert rows(later, "index", INDEXED) == before

"""Runs that are killed without warning: what was there stays readable, and the next run goes on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from shared_folder import HANGS_AFTER_SECONDS

from end_to_end.market import LAST, Built, copy_of, instance_of, materialize, only_home, rows, workspace_in
from twotower_assets.two_tower.training.tensor_file import read_tensors
from twotower_assets.workspace import Workspace

COMMAND = [sys.executable, "-c", "from twotower_assets.cli import app; app()"]
LONG = {"epochs": 15, "patience": 15, "batch_size": 16}


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """A command in a process of its own, which is killed at the end at the latest."""
    with only_home(home):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(
            [*COMMAND, *arguments], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(happened: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + HANGS_AFTER_SECONDS
    while not happened():
        assert process.poll() is None, "the command ended by itself"
        assert time.monotonic() < deadline, "what the test waits for did not happen"
        time.sleep(0.002)


def test_a_run_killed_in_the_middle_of_a_write_leaves_the_rows_and_the_next_run_succeeds(changeable: Workspace) -> None:
    log = "FROM impressions ORDER BY ALL"
    before = rows(changeable, log)
    files = changeable.lake.folder / "data"
    there = set(files.rglob("*.parquet"))
    # While another holds the catalogue, the rows of a commit get written, and the commit waits.
    blocker = sqlite3.connect(changeable.lake.catalog, isolation_level=None)
    try:
        with running(changeable.settings.home, "materialize", "features_job", "--days", str(LAST)) as process:
            blocker.execute("BEGIN IMMEDIATE")
            wait_for(lambda: set(files.rglob("*.parquet")) > there, process)
            os.kill(process.pid, signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
        assert rows(changeable, log) == before
    finally:
        blocker.close()
    assert rows(changeable, log) == before
    with instance_of(changeable) as instance:
        (killed,) = instance.get_runs(limit=1)
        assert killed.status == dg.DagsterRunStatus.FAILURE
        materialize(changeable, "impressions", "items", "users", instance=instance)
    assert rows(changeable, log) == before


@pytest.fixture
def uninterrupted(built: Built, tmp_path: Path) -> tuple[str, ...]:
    """Version and content hash of a long training."""
    workspace = workspace_in(copy_of(built.home, tmp_path / "uninterrupted"))
    materialize(workspace, "tower_checkpoint", **LONG)
    return newest_checkpoint(workspace)


def newest_checkpoint(workspace: Workspace) -> tuple[str, ...]:
    query = (
        "SELECT version, content_hash FROM artifacts WHERE asset = 'tower_checkpoint' ORDER BY created_at DESC LIMIT 1"
    )
    return rows(workspace, query)[0]


def test_a_training_killed_between_epochs_goes_on_and_gives_the_same_model(
    changeable: Workspace, uninterrupted: tuple[str, ...]
) -> None:
    states = changeable.artifacts.scratch("tower_checkpoint", "").glob
    versions = newest_checkpoint(changeable)
    settings = {"dimensions": 8, "history_length": 5, "learning_rate": 0.05, **LONG}
    changes = [text for name, value in settings.items() for text in ("--set", f"{name}={value}")]
    with running(changeable.settings.home, "materialize", "training_job", "--days", str(LAST), *changes) as process:
        wait_for(lambda: any(states("*/model/training_state.safetensors")), process)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert newest_checkpoint(changeable) == versions
    (state,) = states("*/model/training_state.safetensors")
    done = [report["seconds"] for report in read_tensors(state)[1]["reports"]]
    assert 0 < len(done) < LONG["epochs"]

    materialize(changeable, "tower_checkpoint", **LONG)
    assert newest_checkpoint(changeable) == uninterrupted
    seconds = [row[0] for row in rows(changeable, "SELECT seconds FROM training_curves ORDER BY epoch")]
    assert seconds[: len(done)] == done
    assert not state.exists()

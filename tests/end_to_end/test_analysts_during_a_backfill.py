"""Ten analysts read, each in a process of its own, while a backfill rewrites what they read.

The log has two versions that differ on every day. The backfill writes them in turns; whatever an analyst reads is
wholly the one or wholly the other.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fork_server import ForkServer
from shared_folder import HANGS_AFTER_SECONDS

from end_to_end.analyst import WAYS, Reading, read_everything, read_in_one_transaction, wrong_with
from end_to_end.market import FIRST, LAST, market_log, only_home, twotower, workspace_in, write_raw
from twotower_assets.workspace import Workspace

PROGRAM = Path(__file__).with_name("analyst.py")
ANALYSTS, REWRITES = 10, 2


@dataclass
class Backfill:
    """What was seen while the tables were rewritten, also in a transaction that was open all the while."""

    before: Reading
    in_one_transaction: Reading
    warnings: list[str]
    results: list[dict[str, Any]]


def other_log() -> pl.DataFrame:
    """The log with every click on it the other way round, and one more row without a user on each day."""
    log = market_log().with_columns(clicked=~pl.col("clicked"))
    nobody = log.filter(pl.col("shown_at").dt.date().is_first_distinct()).with_columns(user_id=pl.lit(None, pl.String))
    return pl.concat([log, nobody])


def rewrite(workspace: Workspace, log: pl.DataFrame) -> None:
    """All days of all sources and features from a log, as one run."""
    raw = workspace.source.path
    write_raw(raw, log)
    twotower(workspace.settings.home, "materialize", "features_job", "--days", f"{FIRST}..{LAST}")


def state_of(workspace: Workspace) -> Reading:
    with workspace.lake.reader(transaction=False) as con:
        return json.loads(json.dumps(read_in_one_transaction(con)))


@contextmanager
def analysts(home: Path, folder: Path, programs: Path) -> Iterator[list[dict[str, Any]]]:
    """Ten analysts at work; what they tell is in the list once they have gone home."""
    results: list[dict[str, Any]] = []
    names = [f"analyst-{place}" for place in range(ANALYSTS)]
    with only_home(home):
        path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
        readers = [
            subprocess.Popen(
                [programs / "python", PROGRAM, folder, name, way],
                env={**os.environ, "PATH": path},
                stderr=subprocess.PIPE,
                text=True,
            )
            for name, way in zip(names, islice(cycle(WAYS), ANALYSTS), strict=True)
        ]
        try:
            wait_for([folder / f"{name}.started" for name in names], readers)
            yield results
            (folder / "stop").touch()
            for reader in readers:
                _, errors = reader.communicate(timeout=HANGS_AFTER_SECONDS)
                assert reader.returncode == 0, errors
            results += [json.loads((folder / f"{name}.json").read_text()) for name in names]
        finally:
            for reader in readers:
                reader.kill()
                reader.wait()


def wait_for(files: list[Path], readers: list[subprocess.Popen[str]]) -> None:
    until = time.monotonic() + HANGS_AFTER_SECONDS
    while not all(file.exists() for file in files):
        assert all(reader.poll() is None for reader in readers), "an analyst has gone before the start"
        assert time.monotonic() < until, f"not every analyst has read once within {HANGS_AFTER_SECONDS:g} s"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def two_logs() -> list[pl.DataFrame]:
    return [market_log(), other_log()]


@pytest.fixture
def backfill(
    changeable: Workspace,
    two_logs: list[pl.DataFrame],
    commands: ForkServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> Backfill:
    """Rewrites alone, which give the two states; then rewrites beside ten analysts."""
    raw = tmp_path / "raw"
    write_raw(raw, two_logs[0])
    settings = changeable.settings.home / "twotower.env"
    settings.write_text(
        settings.read_text().replace(f"SOURCE_PATH={changeable.source.path}", f"SOURCE_PATH={raw}"), encoding="utf-8"
    )
    workspace = workspace_in(changeable.settings.home)
    states = []
    for log in two_logs:
        rewrite(workspace, log)
        states.append(state_of(workspace))
    (tmp_path / "states.json").write_text(json.dumps(states))
    with (
        caplog.at_level(logging.WARNING),
        analysts(workspace.settings.home, tmp_path, commands.bin) as results,
        workspace.lake.reader() as con,
    ):
        read_everything(con)  # a commit that waits for readers would now wait for ever
        for log in islice(cycle(two_logs), REWRITES):
            rewrite(workspace, log)
        in_one_transaction = json.loads(json.dumps(read_everything(con)))
    warnings = [record.getMessage() for record in caplog.records if record.name.startswith("twotower_assets")]
    return Backfill(states[-1], in_one_transaction, warnings, results)


def test_ten_analysts_read_whole_states_while_a_backfill_rewrites_them_and_hold_up_nobody(backfill: Backfill) -> None:
    assert [result["wrong"][:3] for result in backfill.results if result["wrong"]] == []
    assert len(backfill.results) == ANALYSTS
    assert {result["way"] for result in backfill.results} == set(WAYS)
    assert all(result["readings"] >= REWRITES // 2 for result in backfill.results), backfill.results
    assert {state for result in backfill.results for state in result["seen"]} == {0, 1}
    assert backfill.warnings == []
    assert backfill.in_one_transaction == backfill.before


def test_the_two_logs_differ_on_every_day(two_logs: list[pl.DataFrame]) -> None:
    """Else a torn reading could look whole."""
    days = [
        log.group_by(pl.col("shown_at").dt.date()).agg(pl.col("clicked").sum()).sort("shown_at") for log in two_logs
    ]
    assert days[0]["shown_at"].to_list() == days[1]["shown_at"].to_list()
    assert not any(result == other for result, other in zip(*(day["clicked"] for day in days), strict=True))


@pytest.mark.parametrize("torn", ["impressions", "rejected_impressions", "impressions again", "recommend"])
def test_a_reading_of_half_a_state_is_seen(torn: str) -> None:
    contents = {"impressions": "i", "rejected_impressions": "r", "impressions again": "i", "recommend": "l"}
    states = [{name: [["2024-01-01", 1, text + state]] for name, text in contents.items()} for state in "ab"]
    assert wrong_with(states[0], states) == []
    assert wrong_with({**states[0], torn: []}, states)
    assert wrong_with({**states[0], torn: states[1][torn]}, states)

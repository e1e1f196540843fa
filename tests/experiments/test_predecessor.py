"""The version that a report sets a model beside."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import duckdb
import polars as pl
import pytest

from twotower_assets.experiments import compare_versions as version_comparison
from twotower_assets.experiments.compare_versions import ComparisonError
from twotower_assets.experiments.predecessor import predecessor_of
from twotower_assets.lake.artifacts import ArtifactError
from twotower_assets.reporting.frames import DIFFERENCES

ROWS = pl.DataFrame({"metric": "recall", "k": 20, "bucket": "all", "difference": 0.01, "model_version": "new"})
PLATFORM: Any = None


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as con:
        con.execute("CREATE TABLE champion (model_version VARCHAR)")
        con.execute(
            "CREATE TABLE champion_decisions "
            "(decided_at TIMESTAMP, model_version VARCHAR, decision VARCHAR, champion_before VARCHAR)"
        )
        yield con


@pytest.fixture(autouse=True)
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    asked: list[tuple[str, str]] = []

    def compare(workspace: Any, version: str, other: str) -> SimpleNamespace:
        asked.append((version, other))
        return SimpleNamespace(rows=ROWS)

    monkeypatch.setattr(version_comparison, "compare_versions", compare)
    return asked


def test_the_champion_of_the_moment_is_the_predecessor(con, compared):
    con.execute("INSERT INTO champion VALUES ('old')")
    found = predecessor_of(con, PLATFORM, "new")
    assert (found.version, found.note) == ("old", "")
    assert compared == [("new", "old")]
    assert DIFFERENCES.conform(found.differences).rows()[0][:4] == ("predecessor", "recall", 20, "all")


def test_the_predecessor_of_the_champion_is_what_it_replaced_last(con, compared):
    con.execute("INSERT INTO champion VALUES ('new')")
    con.executemany(
        "INSERT INTO champion_decisions VALUES (?, ?, ?, ?)",
        [
            ("2026-01-01", "new", "promoted", "older"),
            ("2026-01-02", "new", "promoted by hand", "old"),
            ("2026-01-03", "new", "promoted", "new"),
            ("2026-01-04", "new", "refused", "refuser"),
            ("2026-01-05", "other", "promoted", "other before"),
        ],
    )
    assert predecessor_of(con, PLATFORM, "new").version == "old"
    assert compared == [("new", "old")]


def test_the_first_version_has_no_predecessor(con, compared):
    assert predecessor_of(con, PLATFORM, "new").version == ""
    con.execute("INSERT INTO champion VALUES ('new')")
    con.execute("INSERT INTO champion_decisions VALUES ('2026-01-01', 'new', 'promoted', NULL)")
    found = predecessor_of(con, PLATFORM, "new")
    assert (found.version, found.note, len(found.differences)) == ("", "", 0)
    assert compared == []


@pytest.mark.parametrize("error", [ComparisonError("it saw them"), ArtifactError("it saw them")])
def test_a_predecessor_that_cannot_be_compared_says_why(con, monkeypatch, error):
    con.execute("INSERT INTO champion VALUES ('old')")

    def refuse(*_: Any) -> pl.DataFrame:
        raise error

    monkeypatch.setattr(version_comparison, "compare_versions", refuse)
    found = predecessor_of(con, PLATFORM, "new")
    assert (found.version, found.note, len(found.differences)) == ("old", "it saw them", 0)


def test_any_other_failure_of_the_comparison_fails_the_report(con, monkeypatch):
    con.execute("INSERT INTO champion VALUES ('old')")

    def fail(*_: Any) -> pl.DataFrame:
        raise ZeroDivisionError

    monkeypatch.setattr(version_comparison, "compare_versions", fail)
    with pytest.raises(ZeroDivisionError):
        predecessor_of(con, PLATFORM, "new")

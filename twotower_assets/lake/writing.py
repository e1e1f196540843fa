"""Commits staged tables to the lake on behalf of a run, and reports what was written.

Callers decide which rows they stage. `defs/publish.py` turns the report into Dagster metadata.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb

from twotower_assets.core.days import Days
from twotower_assets.core.folders import SQL_FOLDER
from twotower_assets.lake.artifacts import Artifact
from twotower_assets.lake.lake import CommitInfo, Lake, Replacement
from twotower_assets.lake.queries import bound, read_query, scalar
from twotower_assets.lake.tables import ARTIFACTS, TABLES

APPENDED_TABLES = (ARTIFACTS.name, "champion_decisions", "version_comparisons")
"""Tables to which rows are appended; only rows with the same grain are replaced."""


@dataclass(frozen=True)
class Run:
    """The run that materializes an asset: what commits and manifests record about it, and where it logs.

    Attributes:
        asset: name of the asset, without group or prefix.
        run_id: of the Dagster run.
        retry_of: ids of the runs that this one executes again, whose results it goes on with.
        code_version: of the asset.
        log: messages for people who watch the run.
    """

    asset: str
    run_id: str = ""
    code_version: str = ""
    retry_of: tuple[str, ...] = ()
    log: logging.Logger = field(default_factory=lambda: logging.getLogger("twotower_assets"))

    @property
    def ids(self) -> list[str]:
        """The ids of the run and of those that it executes again."""
        return [self.run_id, *self.retry_of]


@dataclass(frozen=True)
class WrittenTable:
    """What a commit wrote to a table.

    Attributes:
        name: of the table.
        snapshot: of the lake, after the commit.
        rows: number of rows written, for a table without days; else None.
        by_day: row count and the metrics to plot, for each written day.
        facts: other metadata to report.
    """

    name: str
    snapshot: int
    rows: int | None
    by_day: Mapping[date, Mapping[str, Any]]
    facts: Mapping[str, Any]


def commit_tables(
    lake: Lake,
    con: duckdb.DuckDBPyConnection,
    names: Sequence[str],
    days: Days | None,
    run: Run,
    views: Sequence[str] = (),
    where: tuple[str, str] | None = None,
) -> int:
    """Replace the rows of the tables `names` by `staged_<name>`, daily tables only within `days`; return the snapshot.

    With `where`, a column and a value, only the rows that have this value are replaced. To `APPENDED_TABLES` rows are
    added. `views` are statements that define views in the same commit.
    """
    replacements = [
        Replacement(
            name,
            f"staged_{name}",
            days=days if TABLES[name].daily else None,
            matching=TABLES[name].grain if name in APPENDED_TABLES else (),
            where=where,
        )
        for name in names
    ]
    return lake.commit(con, replacements, CommitInfo(run.asset, run.run_id, days), views)


def written_table(
    con: duckdb.DuckDBPyConnection, name: str, snapshot: int, days: Days | None, **facts: Any
) -> WrittenTable:
    """What was written to `name`; call it after the commit, on the connection that still has `staged_<name>`."""
    if days is None:
        rows = int(scalar(con, f"SELECT count(*) FROM staged_{name}"))
        return WrittenTable(name, snapshot, rows, {}, facts)
    return WrittenTable(name, snapshot, None, daily_numbers(con, name, days), facts)


def daily_numbers(con: duckdb.DuckDBPyConnection, name: str, days: Days) -> dict[date, dict[str, Any]]:
    """`row_count` and the metrics to plot, for each of `days`; a day without rows has a count of 0 and says so."""
    file = SQL_FOLDER / "daily_numbers" / f"{name}.sql"
    sql = read_query(file) if file.is_file() else f"SELECT day, count(*) AS row_count FROM staged_{name} GROUP BY day"
    cursor = con.execute(sql, bound(con, sql, {"first_day": days.first, "last_day": days.last}))
    columns = [column[0] for column in cursor.description or []]
    found = {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in cursor.fetchall()}
    return {day: found.get(day, {"row_count": 0, "note": "no rows"}) for day in days.every()}


def artifact_rows(artifact: Artifact, home: Path) -> list[dict[str, Any]]:
    """The row of the `artifacts` table for a version published in a home."""
    manifest = artifact.manifest
    return [
        {
            "asset": artifact.asset,
            "version": artifact.version,
            "model_day": date.fromisoformat(manifest["model_day"]),
            "path": str(artifact.folder.relative_to(home)),
            "content_hash": manifest["content_hash"],
            "created_at": datetime.fromisoformat(manifest["created_at"]),
            "lake_snapshot": manifest["lake_snapshot"],
            "code_version": manifest["code_version"],
            "run_id": manifest["run_id"],
            "recipe": manifest["recipe"],
            "seed": manifest["seed"],
            "upstream": json.dumps({"tables": manifest["tables"], "artifacts": manifest["artifacts"]}),
            "details": json.dumps(manifest["details"]),
        }
    ]

"""The lineage of an artifact down to the raw partitions: artifacts by their manifests, tables by the commits.

The declared columns say which table is made from which; the snapshots of the lake say which commit wrote the rows that
were read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import duckdb

from twotower_assets.core.days import Days, window
from twotower_assets.core.errors import ExpectedError
from twotower_assets.lake.artifacts import Artifact, ArtifactStore
from twotower_assets.lake.lake import Lake, writes_of
from twotower_assets.lake.queries import read_query
from twotower_assets.lake.tables import TABLES

RAW = {"impressions", "items", "users"}


class UnknownArtifactError(ExpectedError, LookupError):
    """No artifact has that name."""


@dataclass(frozen=True)
class Node:
    """An artifact, table or raw data set, and what it was made from."""

    kind: str
    name: str
    details: dict[str, Any]
    made_from: list[Node] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values, nested."""
        return {
            "kind": self.kind,
            "name": self.name,
            **self.details,
            "made_from": [node.as_dict() for node in self.made_from],
        }


@dataclass(frozen=True)
class RawData:
    """Where the lineage ends: the raw files and their SQL, the first daily partition, and the window length."""

    path: str
    sql: str
    first_day: date
    window_days: int

    def days_in_windows(self, days: Days) -> Days:
        """The days in the trailing windows that end in `days`, from the first partition on."""
        return Days(max(self.first_day, window(days.first, self.window_days).first), days.last)


@dataclass(frozen=True)
class _Chain:
    con: duckdb.DuckDBPyConnection
    artifacts: ArtifactStore
    raw: RawData


def lineage(lake: Lake, artifacts: ArtifactStore, raw: RawData, artifact: str) -> Node:
    """The lineage of an artifact named `asset`, `version` or `asset/version`; of an asset, its newest version.

    Raises `UnknownArtifactError` if there is no such artifact, `ArtifactError` if its folder is gone.
    """
    with lake.reader() as con:
        row = con.execute(read_query("lineage/artifact.sql"), {"name": artifact}).fetchone()
        if row is None:
            known = con.execute(read_query("lineage/newest_artifacts.sql")).fetchall()
            names = ", ".join(name for (name,) in known) or "none yet"
            raise UnknownArtifactError(f"there is no artifact '{artifact}'. The newest are: {names}")
        return _artifact_node(_Chain(con, artifacts, raw), artifacts.open(*row))


def _artifact_node(chain: _Chain, artifact: Artifact) -> Node:
    manifest = artifact.manifest
    upstream = [
        _artifact_node(chain, chain.artifacts.open(source["asset"], source["version"]))
        for source in manifest["artifacts"]
    ]
    embeddings = {"item_embeddings", "user_embeddings"}  # made from the checkpoint, which has a node of its own
    tables = [
        _table_node(chain, read["table"], read["snapshot"], _days(read), stop=read["table"] in embeddings)
        for read in manifest["tables"]
    ]
    shown = (
        "content_hash",
        "model_day",
        "created_at",
        "lake_snapshot",
        "code_version",
        "run_id",
        "recipe",
        "seed",
    )
    details = {name: manifest[name] for name in shown if manifest.get(name) is not None}
    return Node("artifact", f"{artifact.asset}/{artifact.version}", details, [*upstream, *tables])


def _table_node(
    chain: _Chain,
    table: str,
    snapshot: int,
    days: Days | None,
    *,
    stop: bool = False,
) -> Node:
    details: dict[str, Any] = {
        "snapshot_read": snapshot,
        "written_by": list(_effective_writes(chain.con, table, snapshot, days)),
    }
    if days:
        details["days"] = f"{days.first} to {days.last}"
    if table in RAW:
        upstream = [Node("raw files", chain.raw.path, {"sql": chain.raw.sql})]
    else:
        sources = {source.split(".")[0] for column in TABLES[table].columns for source in column.derived_from}
        window_days = chain.raw.days_in_windows(days) if days else None
        upstream = [
            _table_node(chain, source, snapshot, window_days if TABLES[source].daily else None)
            for source in sorted(sources)
            if not stop
        ]
    return Node("table", table, details, upstream)


def _effective_writes(
    con: duckdb.DuckDBPyConnection, table: str, snapshot: int, days: Days | None
) -> Iterator[dict[str, Any]]:
    """The commits whose rows are in the table at the snapshot, newest first, with the days still theirs."""
    writes = [write for write in writes_of(con, table) if write["snapshot_id"] <= snapshot]
    if days is None:
        for write in writes[-1:]:
            yield {"snapshot": write["snapshot_id"], "run_id": write["run_id"]}
        return
    missing = set(days.every())
    for write in reversed(writes):
        days_written = {day for day in missing if write["first_day"] <= day <= write["last_day"]}
        if days_written:
            missing -= days_written
            yield {
                "snapshot": write["snapshot_id"],
                "run_id": write["run_id"],
                "days": f"{min(days_written)} to {max(days_written)}",
                "partitions": len(days_written),
            }


def _days(read: dict[str, Any]) -> Days | None:
    if not read["first_day"]:
        return None
    return Days(date.fromisoformat(read["first_day"]), date.fromisoformat(read["last_day"]))

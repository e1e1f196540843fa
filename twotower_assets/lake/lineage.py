"""The chain from an artifact down to the raw partitions: artifacts from their manifests, tables from the commits.

Which table is made from which is read from the declared columns; which commit wrote the rows that were read, from the
snapshots of the lake.
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
    """No artifact of that name."""


@dataclass(frozen=True)
class Node:
    """One thing in the chain, and what it was made from."""

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
    """Where the chain ends: the raw files and their SQL, the first daily partition, and how far windows look back."""

    path: str
    sql: str
    first_day: date
    window_days: int

    def reached_from(self, days: Days) -> Days:
        """The days that trailing windows ending in `days` look back to, within the partitions there are."""
        return Days(max(self.first_day, window(days.first, self.window_days).first), days.last)


@dataclass(frozen=True)
class _Chain:
    con: duckdb.DuckDBPyConnection
    artifacts: ArtifactStore
    raw: RawData


def lineage(lake: Lake, artifacts: ArtifactStore, raw: RawData, artifact: str) -> Node:
    """The chain below an artifact, named `asset`, `version` or `asset/version`; of an asset, its newest version.

    Raises `UnknownArtifactError` for no such artifact, `ArtifactError` where its folder is gone.
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
    below = [_artifact_node(chain, chain.artifacts.open(one["asset"], one["version"])) for one in manifest["artifacts"]]
    embedded = {"item_embeddings", "user_embeddings"}  # made from the checkpoint, which is shown by itself
    tables = [
        _table_node(chain, one["table"], one["snapshot"], _days(one), stop=one["table"] in embedded)
        for one in manifest["tables"]
    ]
    kept = (
        "content_hash",
        "model_day",
        "created_at",
        "lake_snapshot",
        "code_version",
        "run_id",
        "recipe",
        "seed",
    )
    details = {name: manifest[name] for name in kept if manifest.get(name) is not None}
    return Node("artifact", f"{artifact.asset}/{artifact.version}", details, [*below, *tables])


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
        below = [Node("raw files", chain.raw.path, {"sql": chain.raw.sql})]
    else:
        sources = {source.split(".")[0] for column in TABLES[table].columns for source in column.derived_from}
        reached = chain.raw.reached_from(days) if days else None
        below = [
            _table_node(chain, source, snapshot, reached if TABLES[source].daily else None)
            for source in sorted(sources)
            if not stop
        ]
    return Node("table", table, details, below)


def _effective_writes(
    con: duckdb.DuckDBPyConnection, table: str, snapshot: int, days: Days | None
) -> Iterator[dict[str, Any]]:
    """The commits whose rows stood in the table at the snapshot, newest first, with the days each still holds."""
    writes = [one for one in writes_of(con, table) if one["snapshot_id"] <= snapshot]
    if days is None:
        for one in writes[-1:]:
            yield {"snapshot": one["snapshot_id"], "run_id": one["run_id"]}
        return
    missing = set(days.every())
    for one in reversed(writes):
        held = {day for day in missing if one["first_day"] <= day <= one["last_day"]}
        if held:
            missing -= held
            yield {
                "snapshot": one["snapshot_id"],
                "run_id": one["run_id"],
                "days": f"{min(held)} to {max(held)}",
                "partitions": len(held),
            }


def _days(one: dict[str, Any]) -> Days | None:
    if not one["first_day"]:
        return None
    return Days(date.fromisoformat(one["first_day"]), date.fromisoformat(one["last_day"]))

"""The chain from an artifact down to the raw partitions: artifacts from their manifests, tables from the commits.

Which table is made from which is read from the declared columns; which commit wrote the rows that were read, from the
snapshots of the lake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import duckdb

from twotower_assets.lake.artifacts import Artifact
from twotower_assets.lake.lake import writes_of
from twotower_assets.lake.queries import read_query
from twotower_assets.lake.tables import TABLES
from twotower_assets.platform import Platform

RAW = {"impressions", "items", "users"}


class UnknownArtifactError(LookupError):
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


def lineage(platform: Platform, artifact: str) -> Node:
    """The chain below an artifact, named `asset`, `version` or `asset/version`; of an asset, its newest version.

    Raises `UnknownArtifactError` for no such artifact, `ArtifactError` where its folder is gone.
    """
    with platform.lake.reader() as con:
        row = con.execute(read_query("lineage/artifact.sql"), {"name": artifact}).fetchone()
        if row is None:
            known = con.execute(read_query("lineage/newest_artifacts.sql")).fetchall()
            names = ", ".join(name for (name,) in known) or "none yet"
            raise UnknownArtifactError(f"there is no artifact '{artifact}'. The newest are: {names}")
        return _artifact_node(con, platform, platform.artifacts.open(*row))


def _artifact_node(con: duckdb.DuckDBPyConnection, platform: Platform, artifact: Artifact) -> Node:
    manifest = artifact.manifest
    below = [
        _artifact_node(con, platform, platform.artifacts.open(one["asset"], one["version"]))
        for one in manifest["artifacts"]
    ]
    embedded = {"item_embeddings", "user_embeddings"}  # made from the checkpoint, which is shown by itself
    tables = [
        _table_node(con, platform, one["table"], one["snapshot"], _days(one), stop=one["table"] in embedded)
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
    con: duckdb.DuckDBPyConnection,
    platform: Platform,
    table: str,
    snapshot: int,
    days: tuple[date, date] | None,
    *,
    stop: bool = False,
) -> Node:
    details: dict[str, Any] = {
        "snapshot_read": snapshot,
        "written_by": list(_effective_writes(con, table, snapshot, days)),
    }
    if days:
        details["days"] = f"{days[0]} to {days[1]}"
    if table in RAW:
        below = [Node("raw files", str(platform.source.path), {"sql": str(platform.source.sql_folder)})]
    else:
        sources = {source.split(".")[0] for column in TABLES[table].columns for source in column.derived_from}
        reached = _reach(platform, days) if days else None
        below = [
            _table_node(con, platform, source, snapshot, reached if TABLES[source].daily else None)
            for source in sorted(sources)
            if not stop
        ]
    return Node("table", table, details, below)


def _reach(platform: Platform, days: tuple[date, date]) -> tuple[date, date]:
    """The days that a trailing window ending in `days` looks back to, within the partitions there are."""
    first_partition, _ = platform.days()
    return max(first_partition, days[0] - timedelta(days=platform.settings.window_days - 1)), days[1]


def _effective_writes(
    con: duckdb.DuckDBPyConnection, table: str, snapshot: int, days: tuple[date, date] | None
) -> Iterator[dict[str, Any]]:
    """The commits whose rows stood in the table at the snapshot, newest first, with the days each still holds."""
    writes = [one for one in writes_of(con, table) if one["snapshot_id"] <= snapshot]
    if days is None:
        for one in writes[-1:]:
            yield {"snapshot": one["snapshot_id"], "run_id": one["run_id"]}
        return
    missing = {days[0] + timedelta(days=offset) for offset in range((days[1] - days[0]).days + 1)}
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


def _days(one: dict[str, Any]) -> tuple[date, date] | None:
    if not one["first_day"]:
        return None
    return date.fromisoformat(one["first_day"]), date.fromisoformat(one["last_day"])

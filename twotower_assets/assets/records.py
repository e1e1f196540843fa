"""Rows made in Python on their way to the lake: staged under the declared columns of their table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import duckdb

from twotower_assets.lake.artifacts import Artifact
from twotower_assets.lake.tables import TABLES
from twotower_assets.platform import Platform

if TYPE_CHECKING:
    import polars as pl


def stage_rows(con: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Put rows into `staged_<name>`, typed as the table declares; give them as a frame."""
    frame = as_frame(name, rows)
    stage_frame(con, name, frame)
    return frame


def as_frame(name: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows under the columns that the table declares. For a few rows: those of every user are made as columns."""
    import polars as pl

    columns = TABLES[name].column_names
    records = [{column: row[column] for column in columns} for row in rows]
    return pl.DataFrame(records, schema=None if records else columns, infer_schema_length=None)


def stage_frame(con: duckdb.DuckDBPyConnection, name: str, frame: Any) -> None:
    """Put a frame or Arrow table into `staged_<name>`, cast to the declared types."""
    casts = ", ".join(f"{column.name}::{column.type} AS {column.name}" for column in TABLES[name].columns)
    con.register("incoming", frame.to_arrow() if hasattr(frame, "to_arrow") else frame)
    con.execute(f"CREATE OR REPLACE TEMP TABLE staged_{name} AS SELECT {casts} FROM incoming")
    con.unregister("incoming")


def artifact_rows(artifact: Artifact, platform: Platform) -> list[dict[str, Any]]:
    """The row of the `artifacts` table that tells of a published version."""
    manifest = artifact.manifest
    return [
        {
            "asset": artifact.asset,
            "version": artifact.version,
            "model_day": date.fromisoformat(manifest["model_day"]),
            "path": str(artifact.folder.relative_to(platform.settings.home)),
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

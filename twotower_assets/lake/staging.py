"""Stages rows made in Python under the declared columns of their table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import duckdb

from twotower_assets.lake.tables import TABLES

if TYPE_CHECKING:
    import polars as pl


def stage_rows(con: duckdb.DuckDBPyConnection, name: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Put rows into `staged_<name>`, with the declared types, and return them as a frame."""
    frame = as_frame(name, rows)
    stage_frame(con, name, frame)
    return frame


def as_frame(name: str, rows: Iterable[Mapping[str, Any]]) -> pl.DataFrame:
    """Rows as a frame with the declared columns. For few rows; build large frames from columns instead."""
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

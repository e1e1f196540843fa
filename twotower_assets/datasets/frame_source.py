"""Frames in memory as a raw data set, cleaned by the same SQL as files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from twotower_assets.datasets.raw_source import SourceError, staged_columns

EMPTY = {"items": "SELECT NULL::VARCHAR AS item_id LIMIT 0", "users": "SELECT NULL::VARCHAR AS user_id LIMIT 0"}


@dataclass(frozen=True)
class FrameSource:
    """The tables `impressions`, `items` and `users` as Arrow tables, polars or pandas frames, or anything else that
    DuckDB can register. `items` and `users` are optional. Without a column `clicked`, every impression is a click."""

    frames: Mapping[str, Any]

    def stage(self, con: duckdb.DuckDBPyConnection, table: str, parameters: dict[str, Any] | None = None) -> list[str]:  # noqa: ARG002  (frames are read whole)
        """Put the rows of `table` into the temporary table `source_rows`, return its columns. Raises `SourceError`."""
        frame = self.frames.get(table)
        if frame is None:
            con.execute(f"CREATE OR REPLACE TEMP TABLE source_rows AS {EMPTY[table]}")
            return staged_columns(con, table, table)
        try:
            con.register("frame", frame)
            con.execute("CREATE OR REPLACE TEMP TABLE source_rows AS FROM frame")
        except duckdb.Error as error:
            raise SourceError(f"DuckDB cannot read the {table}, a {type(frame).__name__}: {error}") from error
        con.unregister("frame")
        names = [column[0] for column in con.execute("FROM source_rows LIMIT 0").description or []]
        if table == "impressions" and "clicked" not in names:
            con.execute("ALTER TABLE source_rows ADD COLUMN clicked BOOLEAN DEFAULT true")
        return staged_columns(con, table, f"the frame of {table}")

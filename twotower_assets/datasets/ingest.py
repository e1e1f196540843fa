"""Writes raw data to the lake: the log of some days with its rejected rows, and the catalogues.

`sql/sources/` reads raw rows, `sql/cleaning/` validates them, and `raw_source.py` runs both.
"""

from __future__ import annotations

from datetime import datetime

import duckdb

from twotower_assets.core.days import Days
from twotower_assets.datasets.raw_source import (
    NoFilesError,
    Source,
    refuse_days_above,
    stage_catalogue,
    stage_impressions,
    types_found,
)
from twotower_assets.lake.lake import Lake
from twotower_assets.lake.queries import stage
from twotower_assets.lake.writing import Run, WrittenTable, commit_tables, written_table

FLOATS = ("DOUBLE", "FLOAT")
"""Types that ids get where one row of the files lacks them: pandas writes whole columns so."""
NO_USERS = "SELECT NULL::VARCHAR AS user_id, NULL::MAP(VARCHAR, VARCHAR) AS features WHERE false"


def ingest_impressions(
    lake: Lake, source: Source, days: Days, bounds: dict[str, datetime], maximum_rejected_share: float, run: Run
) -> tuple[WrittenTable, WrittenTable]:
    """Write `impressions` and `rejected_impressions` of some days; `bounds` from `partition_bounds`.

    Raises like `stage_impressions` and `Rejects.raise_above`; then nothing is written.
    """
    names = ("impressions", "rejected_impressions")
    with lake.writer() as con:
        rejects, ignored = stage_impressions(con, source, bounds)
        rejects.raise_above(maximum_rejected_share, "impressions")
        refuse_days_above(con, maximum_rejected_share)
        snapshot = commit_tables(lake, con, names, days, run)
        types = types_found(con, "impressions")
        for column in ("user_id", "item_id"):
            if types[column] in FLOATS:
                run.log.warning(
                    f"{column} is {types[column]}; its whole numbers are taken for integers, others are rejected"
                )
        if ignored:
            run.log.info(f"ignored columns that are not in the data contract: {', '.join(ignored)}")
        reasons = {"reasons_in_this_run": rejects.reasons, "first_in_this_run": rejects.first}
        return (
            written_table(con, "impressions", snapshot, days, columns_left_out=ignored, types_found=types),
            written_table(con, "rejected_impressions", snapshot, days, **reasons),
        )


def ingest_catalogue(lake: Lake, source: Source, table: str, maximum_rejected_share: float, run: Run) -> WrittenTable:
    """Write `items` or `users`; `users` is empty for a data set without users. Raises like `ingest_impressions`."""
    with lake.writer() as con:
        if table == "users" and (reason := why_no_users(con, source)):
            stage(con, "staged_users", NO_USERS)
            facts: dict[str, object] = {"note": reason}
        else:
            rejects = stage_catalogue(con, source, table)
            rejects.raise_above(maximum_rejected_share, table)
            facts = {
                "rows_read": rejects.rows,
                "rows_rejected": rejects.rejected,
                "reasons": rejects.reasons,
                "first_rejected": rejects.first,
            }
        snapshot = commit_tables(lake, con, [table], None, run)
        return written_table(con, table, snapshot, None, **facts)


def why_no_users(con: duckdb.DuckDBPyConnection, source: Source) -> str | None:
    """Why the data set has no users, which are optional; None if it has users."""
    if source.query("users") is None:
        return "The data set has no users.sql."
    try:
        source.stage(con, "users")
    except NoFilesError as error:
        return f"The data set has no users file: {error}"
    return None

"""The feature tables. `sql/features/<name>.sql` defines each one; this module binds the parameters and writes it.

Features that need much memory are computed in chunks of days.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb

from twotower_assets.core.buckets import HEAD_PERCENT, MID_PERCENT
from twotower_assets.core.days import Days
from twotower_assets.lake.queries import read_query, stage
from twotower_assets.lake.writing import Run, WrittenTable, commit_tables, written_table
from twotower_assets.settings import Settings
from twotower_assets.workspace import Workspace

SORTS_THE_LOG = ("exposure_log",)
"""Features whose SQL sorts all impressions of its days, each day independently."""
IMPRESSIONS_AT_ONCE = 10_000_000
"""Most impressions per statement of these features: 2 GiB sort about as many without the disk. Rows do not change."""


def write_feature(workspace: Workspace, name: str, days: Days | None, run: Run) -> WrittenTable:
    """Make a feature of some days, or of a table without days, and commit it. Raises `QueryError`."""
    with workspace.lake.writer() as con:
        stage_feature(con, name, workspace.settings, days, workspace.days()[0])
        snapshot = commit_tables(workspace.lake, con, [name], days, run)
        return written_table(con, name, snapshot, days)


def feature_parameters(settings: Settings, days: Days | None, first_partition: date = date.min) -> dict[str, Any]:
    """The parameters that feature SQL may bind as `$name`. Rows before `first_partition` are in no window."""
    parameters: dict[str, Any] = {
        "window_days": settings.window_days,
        "half_life_days": settings.half_life_days,
        "history_length": settings.history_length,
        "head_share": HEAD_PERCENT / 100,
        "mid_share": MID_PERCENT / 100,
        "first_partition": first_partition,
    }
    return {**parameters, "first_day": days.first, "last_day": days.last} if days else parameters


def stage_feature(
    con: duckdb.DuckDBPyConnection,
    name: str,
    settings: Settings,
    days: Days | None,
    first_partition: date = date.min,
) -> int:
    """Put the rows of a feature into `staged_<name>` and return their number. Raises `QueryError`."""
    sql, staged = read_query(f"features/{name}.sql"), f"staged_{name}"
    chunks = _chunks(con, days) if days and name in SORTS_THE_LOG else [days]
    rows = [
        stage(con, staged, sql, feature_parameters(settings, chunk, first_partition), append=number > 0)
        for number, chunk in enumerate(chunks)
    ]
    return rows[-1]


def _chunks(con: duckdb.DuckDBPyConnection, days: Days) -> list[Days]:
    """The days in chunks of at most `IMPRESSIONS_AT_ONCE` impressions, or of one day."""
    counts = dict(con.execute(read_query("windows/impressions_by_day.sql"), days._asdict()).fetchall())
    every_day = days.every()
    chunks, held = [Days(every_day[0], every_day[0])], counts.get(every_day[0], 0)
    for day in every_day[1:]:
        held += counts.get(day, 0)
        if held <= IMPRESSIONS_AT_ONCE:
            chunks[-1] = Days(chunks[-1].first, day)
        else:
            chunks.append(Days(day, day))
            held = counts.get(day, 0)
    return chunks

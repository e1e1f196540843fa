"""A hold-out from frames in memory: runs the SQL of cleaning, features and splits without a lake.

`datasets` reads and cleans rows, `hold_out` splits them.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

import duckdb

from twotower_assets.datasets.frame_source import FrameSource
from twotower_assets.datasets.raw_source import stage_catalogue, stage_impressions
from twotower_assets.experiments.hold_out import HoldOut, HoldOutError, HoldOutRule, read_hold_out
from twotower_assets.lake.queries import bound, read_query, stage
from twotower_assets.settings import Settings

log = logging.getLogger(__name__)
FEATURES = ("training_pairs", "exposure_log", "orphan_items")


def hold_out_from_frames(
    impressions: Any, items: Any, users: Any, settings: Settings, *, exposures: bool = False
) -> HoldOut:
    """The clicks of a log in memory, split by the hold-out rule of `settings`; the window is the whole log.

    Args:
        impressions: Columns of the data contract; without `clicked`, every row is a click.
        items: The catalogue; None means the clicked items.
        users: Attributes of users, or None.
        settings: The hold-out rule, `history_length` and `maximum_rejected_share`.
        exposures: Whether to include the exposures, items shown and not clicked.

    Raises:
        SourceError: a column is missing, or too many rows are rejected.
        HoldOutError: no click is left to train on.
    """
    source = FrameSource({"impressions": impressions, "items": items, "users": users})
    now = datetime.now(UTC).replace(tzinfo=None)
    whole = {
        "partition_start": datetime.min,
        "first_partition_start": datetime.min,
        "earliest": datetime.combine(settings.plausible_from, time.min),
        "partition_end": now + timedelta(1),
    }
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        rejects = {"impressions": stage_impressions(con, source, whole)[0]}
        rejects |= {table: stage_catalogue(con, source, table) for table in ("items", "users")}
        for table, found in rejects.items():
            found.raise_above(settings.maximum_rejected_share, table)
            if found.rejected:
                log.warning("%d of %d rows of %s were rejected: %s", found.rejected, found.rows, table, found.reasons)
            con.execute(f"CREATE TEMP VIEW {table} AS FROM staged_{table}")
        first, last = _days(con)
        rule = HoldOutRule.from_settings(settings, (last - first).days + 1)
        parameters = {
            "first_day": first,
            "last_day": last,
            "window_days": rule.window_days,
            "history_length": settings.history_length,
            "first_partition": first,
        }
        for name in FEATURES:
            sql = read_query(f"features/{name}.sql")
            stage(con, f"staged_{name}", sql, bound(con, sql, parameters))
            con.execute(f"CREATE TEMP VIEW {name} AS FROM staged_{name}")
        if items is not None:
            _warn_of_orphans(con)
        return read_hold_out(con, rule, last, 0, exposures=exposures)


def _warn_of_orphans(con: duckdb.DuckDBPyConnection) -> None:
    """Log how many impressions have an item that is not in the catalogue."""
    ((orphaned, impressions, _, likely),) = con.execute(read_query("reports/orphans.sql")).fetchall()
    if orphaned:
        why = (
            f"; likely cause: {likely['cause']}, such as '{likely['orphan']}' for '{likely['listed']}'"
            if likely
            else ""
        )
        log.warning("%d of %d impressions have an item that is not in items%s", orphaned, impressions, why)


def _days(con: duckdb.DuckDBPyConnection) -> tuple[date, date]:
    first, last = con.execute("SELECT min(day), max(day) FROM impressions").fetchone() or (None, None)
    if first is None:
        raise HoldOutError("there are no impressions to train on: the frame has no rows, or all were rejected")
    return first, last

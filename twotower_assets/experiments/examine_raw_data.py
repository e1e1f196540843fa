"""A look at raw data before anything is written: what a run would read, keep, reject, and be unable to use.

It stages and cleans the log as a run does, in a database of its own, and counts. How the result is shown is decided
elsewhere.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb

from twotower_assets.checks.expectations import PLAUSIBLE_CLICK_RATES
from twotower_assets.core.days import Days
from twotower_assets.datasets.ingest import NO_USERS, why_no_users
from twotower_assets.datasets.own_data import READERS
from twotower_assets.datasets.raw_source import (
    Rejects,
    Source,
    partition_bounds,
    stage_catalogue,
    stage_impressions,
)
from twotower_assets.lake.queries import bound, glob_escaped, read_query, stage
from twotower_assets.recipes.recipes import Recipe
from twotower_assets.reporting.raw_data_facts import CheckedDay, DataCheck, FilesOfOneType, Reason, Totals, stem_of
from twotower_assets.settings import Settings

MOST_FILES = 1000
NOTICED_TOP_ITEM = 0.1
NOTICED_SINGLE_CLICKS = 0.5


def examine_raw_data(source: Source, settings: Settings, recipes: dict[str, Recipe], days: Days) -> DataCheck:
    """Read the raw data of some days, and write nothing. Raises `SourceError` as a run would."""
    bounds = partition_bounds(*days, days.first, settings.plausible_from)
    with tempfile.TemporaryDirectory(prefix="twotower-check-") as spill, duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("SET temp_directory = $folder", {"folder": spill})
        con.execute("SET threads = $threads", {"threads": settings.query_threads})
        if settings.memory_limit:
            con.execute("SET memory_limit = $limit", {"limit": settings.memory_limit})
        rejects, _ = stage_impressions(con, source, bounds)
        catalogue_rejects = {table: _catalogue(con, source, table).reasons for table in ("items", "users")}
        for table in ("impressions", "items", "users"):
            con.execute(f"CREATE TEMP VIEW {table} AS FROM staged_{table}")
        sql = read_query("features/orphan_items.sql")
        stage(con, "orphan_items", sql, {"first_day": days.first, "last_day": days.last})
        totals = Totals(*_rows(con, "totals")[0])
        ((orphaned, _, _, likely),) = con.execute(read_query("reports/orphans.sql")).fetchall()
        files, unread = _file_types(con, source.path)
        found = DataCheck(
            dataset=source.dataset,
            path=source.path,
            days=[CheckedDay(*row) for row in _rows(con, "days", **bounds)],
            read=rejects.rows,
            reasons=[Reason(*row) for row in _rows(con, "reasons")],
            catalogue_rejects=catalogue_rejects,
            totals=totals,
            orphaned=orphaned,
            orphan_cause=f"{likely['cause']}, such as '{likely['orphan']}' for '{likely['listed']}'"
            if likely
            else None,
            hours=[count for _, count in _rows(con, "hours")],
            files=files,
            unread_files=unread,
            recipes={name: missing_for(recipe, totals) for name, recipe in recipes.items()},
        )
    found.remarks.extend(_remarks(found, settings))
    return found


def _catalogue(con: duckdb.DuckDBPyConnection, source: Source, table: str) -> Rejects:
    """Stage a catalogue; `users` is empty for a data set without users."""
    if table == "users" and why_no_users(con, source):
        stage(con, "staged_users", NO_USERS)
        return Rejects(0, 0, {}, [])
    return stage_catalogue(con, source, table)


def _rows(con: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> list[tuple[Any, ...]]:
    sql = read_query(f"data_check/{name}.sql")
    return con.execute(sql, bound(con, sql, parameters)).fetchall()


def _file_types(con: duckdb.DuckDBPyConnection, folder: Path) -> tuple[list[FilesOfOneType], list[str]]:
    """The files of a folder, grouped by the start of their names, their columns and types; and those not looked into.

    These are files that DuckDB cannot read without options, and all after the first `MOST_FILES`.
    """
    unread: list[str] = []
    groups: dict[tuple[str, tuple[tuple[str, str], ...]], list[str]] = {}
    files = sorted(file for file in folder.rglob("*") if file.is_file() and not file.name.startswith("."))
    for file in files:
        name = str(file.relative_to(folder))
        kind = next(
            (kind for kind in sorted(READERS, key=len, reverse=True) if file.name.lower().endswith(f".{kind}")), None
        )
        if kind is None or sum(map(len, groups.values())) >= MOST_FILES:
            unread.append(name)
            continue
        reader = READERS[kind].format("").replace(", all_varchar = true", "").replace("$path || '/'", "$path")
        try:
            described = con.execute(f"DESCRIBE SELECT * FROM {reader}", {"path": glob_escaped(file)}).fetchall()
        except (duckdb.Error, UnicodeDecodeError):
            unread.append(name)  # the SQL of the data set may read it with options
            continue
        groups.setdefault((stem_of(name), tuple((row[0], row[1]) for row in described)), []).append(name)
    return [FilesOfOneType(len(names), names[0], dict(types)) for (_, types), names in groups.items()], unread


def missing_for(recipe: Recipe, totals: Totals) -> str | None:
    """What the data lack for a recipe; None where it can be trained."""
    sources = {source.source: source for source in recipe.config().negatives}
    if not totals.clicks:
        return "there are no clicks"
    if "exposed" in sources and totals.clicks == totals.impressions:
        return "there are no rows without a click"
    if "category" in sources and totals.categories < 2:
        return "all items have the same category"
    within = getattr(sources.get("context"), "within", None)
    if within == "request" and not totals.requests_hold_items:
        return "no request_id groups several items"
    if within == "context" and (totals.contexts < 2 or not totals.contexts_hold_items):
        return "there are no two values of context with several items"
    return None


def _remarks(found: DataCheck, settings: Settings) -> Iterator[str]:
    totals, kept = found.totals, found.totals.impressions
    if not found.read:
        yield "There are no rows in these days."
        return
    if found.rejected > settings.maximum_rejected_share * found.read:
        yield (
            f"{found.rejected / found.read:.1%} of the rows would be rejected, more than the share of "
            f"{settings.maximum_rejected_share:g} that TWOTOWER_MAXIMUM_REJECTED_SHARE allows: a run would fail."
        )
    bad = [day for day in found.days if day.rejected > settings.maximum_rejected_share * day.rows]
    if bad and len(found.days) > 1:
        yield f"Too many rows would be rejected on {_listed([day.day for day in bad])}: a run over them would fail."
    if kept and found.orphaned > settings.noticed_orphan_share * kept:
        cause = f" Likely cause: {found.orphan_cause}." if found.orphan_cause else ""
        yield f"{found.orphaned / kept:.1%} of the rows have an item that is not in the catalogue.{cause}"
    if found.missing_days:
        yield f"No rows on {_listed(found.missing_days)}."
    if found.thin_days:
        yield f"Far fewer rows than usual on {_listed(found.thin_days)}."
    for column, kinds in found.changed_types.items():
        yield f"{column} changes its type between files: {', '.join(kinds)}. Its values are read as meant all the same."
    low, high = PLAUSIBLE_CLICK_RATES
    if kept and not low <= totals.clicks / kept <= high:
        yield f"{totals.clicks / kept:.1%} of the rows are clicks: is `clicked` what was clicked?"
    repeats = sum(reason.rows for reason in found.reasons if reason.reason.startswith("repeats"))
    if repeats > 0.05 * found.read:
        yield f"{repeats / found.read:.1%} of the rows repeat another: was a file delivered twice?"
    if totals.clicks and (totals.clicks_of_top_item or 0) > NOTICED_TOP_ITEM * totals.clicks:
        share = (totals.clicks_of_top_item or 0) / totals.clicks
        yield f"The item '{totals.top_item}' has {share:.1%} of all clicks: is it an item, or a default value?"
    if totals.users_with_one_click > NOTICED_SINGLE_CLICKS * max(1, totals.clicking_users):
        share = totals.users_with_one_click / totals.clicking_users
        yield f"{share:.1%} of the users who click do so once: they have no history to learn from. Are ids stable?"
    if kept and max(found.hours) == kept and len(found.days) > 1:
        yield "All rows lie in the same hour of the day: are times dates only?"


def _listed(days: list[date]) -> str:
    """Days as a phrase, consecutive ones as a range."""
    ranges: list[list[date]] = []
    for day in days:
        if ranges and day - ranges[-1][-1] == timedelta(days=1):
            ranges[-1].append(day)
        else:
            ranges.append([day])
    texts = [str(each[0]) if len(each) == 1 else f"{each[0]} to {each[-1]}" for each in ranges]
    more = f" and {len(texts) - 5} more times" if len(texts) > 5 else ""
    return ", ".join(texts[:5]) + more

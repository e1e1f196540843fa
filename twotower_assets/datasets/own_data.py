"""Raw files of the user: detects the log among them and the meaning of columns, and writes the SQL that reads them.

It guesses by names and types, and reports its guesses. The required columns are in `raw_source`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

from twotower_assets.datasets.raw_source import (
    EARLIEST_DAY,
    REQUIRED_COLUMNS,
    SourceError,
    is_of_another_encoding,
    reading_problem,
)
from twotower_assets.lake.queries import glob_escaped, quoted

READERS = {
    "parquet": "read_parquet($path || '/{}', union_by_name = true)",
    "csv": "read_csv($path || '/{}', union_by_name = true, all_varchar = true)",
    "csv.gz": "read_csv($path || '/{}', union_by_name = true, all_varchar = true)",
    "tsv": "read_csv($path || '/{}', union_by_name = true, all_varchar = true)",
    "json": "read_json($path || '/{}', union_by_name = true)",
    "jsonl": "read_json($path || '/{}', union_by_name = true)",
    "ndjson": "read_json($path || '/{}', union_by_name = true)",
}
TEXT_KINDS = ("csv", "csv.gz", "tsv")
OTHER_ENCODING = "latin-1"
"""What text files are in that are not in UTF-8; every file can be read so."""
FILE_NAMES = {
    "impressions": "impression|exposure|event|log|interaction|click|view|rating|feedback|history|order|purchase|play",
    "items": "item|product|video|movie|catalog|article|song|track|book|content|listing|news",
    "users": "user|customer|visitor|member|account|profile",
}
"""Words in file names per table, tried in this order."""
USERS = ("user", "uid", "visitor", "customer", "member", "account", "client", "profile", "session")
ITEMS = ("item", "iid", "product", "video", "movie", "article", "song", "track", "book", "content", "sku")
ALIASES: dict[str, dict[str, tuple[str, ...]]] = {
    "impressions": {
        "user_id": USERS,
        "item_id": ITEMS,
        "shown_at": (
            "timestamp",
            "time_ms",
            "event_time",
            "datetime",
            "ts",
            "time",
            "created_at",
            "clicked_at",
            "date",
        ),
        "clicked": ("click", "is_click", "is_clicked", "label", "target"),
        "request_id": ("request", "page_view_id", "impression_id"),
        "context": ("tab", "page", "query", "surface", "placement"),
        "position": ("rank", "slot", "pos"),
        "weight": (),
    },
    "items": {
        "item_id": (*ITEMS, "id"),
        "category": ("genre", "type", "class", "department", "tag", "topic", "category_name"),
        "categories": (),
        "title": ("name", "product_name", "item_name", "headline"),
        "published_at": ("published", "release_date", "created_at", "upload_dt"),
    },
    "users": {"user_id": (*USERS, "id")},
}
"""Usual names of the data contract's columns, the likeliest first."""
EVENT_COLUMNS = ("event", "event_type", "event_name", "action", "type", "behavior")
CLICK_EVENTS = ("click", "clicked", "open", "play", "watch", "like", "purchase", "buy", "cart", "add_to_cart")


@dataclass(frozen=True)
class Files:
    """The files of one table: a pattern below the folder, DuckDB's table function, and the columns with types."""

    pattern: str
    reader: str
    types: dict[str, str]


@dataclass(frozen=True)
class Reading:
    """How one table is read: an expression over the found columns for each column of the contract.

    `missing` are required columns that were not found; `notes` describe further guesses.
    """

    table: str
    files: Files
    columns: dict[str, str]
    missing: tuple[str, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    moment: str = ""
    moment_name: str = "moment"


def find_files(con: duckdb.DuckDBPyConnection, folder: Path, patterns: Mapping[str, str]) -> dict[str, Files]:
    """The files of each table: by `patterns` (such as `events*.csv`), else by their names.

    Raises `SourceError` if there is no log, or a file cannot be read.
    """
    found = {table: pattern for table, pattern in patterns.items() if pattern}
    candidates = _patterns_in(folder)
    for table, words in FILE_NAMES.items():
        free = [pattern for pattern in candidates if pattern not in found.values()]
        named = [pattern for word in words.split("|") for pattern in free if word in pattern.lower()]
        if table not in found and named:
            found[table] = named[0]
    if "impressions" not in found and len(candidates) == 1:
        found["impressions"] = candidates[0]
    if "impressions" not in found:
        raise SourceError(
            f"no log of impressions was found in {folder}, which holds {', '.join(candidates) or 'no file to read'} "
            f"(read are {', '.join(READERS)}). Name it with --impressions, such as --impressions 'events*.csv'"
        )
    return {table: _files(con, folder, found[table]) for table in FILE_NAMES if table in found}


def guess(con: duckdb.DuckDBPyConnection, folder: Path, table: str, files: Files, named: Mapping[str, str]) -> Reading:
    """Match the columns of `files` to the data contract: by `named`, else by equal names, else by usual names.

    Raises `SourceError` for a named column that does not exist.
    """
    columns: dict[str, str] = {}
    notes: dict[str, str] = {}
    for wanted, aliases in ALIASES[table].items():
        column = named.get(wanted) or _alike(wanted, aliases, files.types)
        if column is not None and column not in files.types:
            raise SourceError(f"{files.pattern} has no column '{column}' (it has: {', '.join(files.types)})")
        if column is not None and _identifier(column) not in columns.values():
            columns[wanted] = _identifier(column)
    moment = ""
    taken = {column.lower() for column in files.types}
    moment_name = next(name for name in ("moment", *(f"moment_{n}" for n in range(2, 1000))) if name not in taken)
    if table == "impressions":
        if "clicked" not in columns:
            columns["clicked"], notes["clicked"] = _click(con, folder, files)
        if "shown_at" in columns:
            moment = _moment(files, columns["shown_at"])
        needed = ("user_id", "item_id", "shown_at", "clicked")
        columns = {name: columns[name] for name in (*needed, *ALIASES[table]) if name in columns}
    missing = tuple(name for name in REQUIRED_COLUMNS[table] if name not in columns)
    return Reading(table, files, columns, missing, notes, moment, moment_name)


def sql_of(reading: Reading) -> str:
    """The SQL file that reads a table."""
    if reading.table == "impressions":
        return rendered(
            "impressions.sql",
            columns=reading.columns,
            notes={name: f"  -- {note}" for name, note in reading.notes.items()},
            moment=reading.moment,
            moment_name=reading.moment_name,
            reader=reading.files.reader,
        )
    rest = len(reading.columns) < len(reading.files.types)
    return rendered(
        "catalogue.sql",
        table=reading.table,
        columns=reading.columns,
        rest=rest,
        distinct=False,
        reader=reading.files.reader,
    )


def sql_of_clicked_items(log: Reading) -> str:
    """The SQL of a catalogue of the items in the log, for data without an items file."""
    columns = {"item_id": log.columns["item_id"]}
    return rendered("catalogue.sql", table="items", columns=columns, rest=False, distinct=True, reader=log.files.reader)


def days_of(con: duckdb.DuckDBPyConnection, folder: Path, log: Reading) -> tuple[date, date]:
    """First and last day of the log, up to now. Raises `SourceError` if no row has a time."""
    query = (
        f"SELECT min(moment)::DATE, max(moment)::DATE FROM (SELECT {log.moment} AS moment FROM {log.files.reader}) "
        f"WHERE moment >= TIMESTAMP '{EARLIEST_DAY}' AND moment <= now() AT TIME ZONE 'UTC'"
    )
    first, last = _one(con, folder, query)
    if first is None:
        raise SourceError(f"no row of {log.files.pattern} has a readable time; name the column: --column shown_at=…")
    return first, last


def rendered(name: str, **values: Any) -> str:
    """A file of a home, from its template."""
    return str(_templates().get_template(f"{name}.jinja").render(**values))


@cache
def _templates() -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("twotower_assets.datasets")
    made = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    made.filters["env"] = _env_value
    return made


def _env_value(path: Path) -> str:
    """A path for `twotower.env`, in quotes where `#`, `$`, quotes or spaces at its ends would mean something else."""
    text = str(path)
    if re.fullmatch(r"[^\s#$'\"\\](?:[^#$'\"\\\n]*[^\s#$'\"\\])?", text):
        return text
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _patterns_in(folder: Path) -> list[str]:
    """One pattern per group of files in a folder whose names begin alike, and one per subfolder."""
    found: dict[str, None] = {}
    for file in sorted(folder.rglob("*")):
        below = file.relative_to(folder)
        kind = _kind(file.name)
        if kind and file.is_file() and not any(part.startswith(".") for part in below.parts):
            stem = file.name[: -len(kind) - 1]
            prefix = re.match(r"[^\d]*", stem)
            begins = glob_escaped((prefix[0] if prefix else "").rstrip("-_. ") or "")
            inside = f"{glob_escaped(below.parts[0])}/**/*.{kind}"
            found[inside if len(below.parts) > 1 else f"{begins}*.{kind}"] = None
    return list(found)


def _kind(name: str) -> str | None:
    kinds = [kind for kind in READERS if name.lower().endswith(f".{kind}")]
    return max(kinds, key=len) if kinds else None


def _files(con: duckdb.DuckDBPyConnection, folder: Path, pattern: str) -> Files:
    kind = _kind(pattern)
    if kind is None:
        raise SourceError(f"'{pattern}' names no files that can be read; read are {', '.join(READERS)}")
    reader = READERS[kind].format(quoted(pattern))
    for encoded in (reader, reader[:-1] + f", encoding = '{OTHER_ENCODING}')"):
        # every row is read once: one that is not in UTF-8 may come late
        typed = encoded.replace(", all_varchar = true", "")  # the types that DuckDB's sniffer detects
        try:
            described = con.execute(f"DESCRIBE SELECT * FROM {typed}", {"path": glob_escaped(folder)}).fetchall()
            if kind in TEXT_KINDS:
                con.execute(f"SELECT count(COLUMNS(*)) FROM {encoded}", {"path": glob_escaped(folder)})
        except (duckdb.Error, UnicodeDecodeError) as error:
            if encoded == reader and kind in TEXT_KINDS and is_of_another_encoding(error):
                continue
            raise SourceError(f"DuckDB cannot read {folder / pattern}: {reading_problem(error)}") from error
        return Files(pattern, encoded, {row[0]: row[1] for row in described})
    raise AssertionError("unreachable")


def _alike(wanted: str, aliases: tuple[str, ...], types: dict[str, str]) -> str | None:
    """The first column with this name or an alias, ignoring case and underscores, with or without `_id`."""
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(types)}
    names = [wanted, *(name for alias in aliases for name in (f"{alias}_id", alias, f"{alias}id"))]
    return next((plain[name.replace("_", "")] for name in names if name.replace("_", "") in plain), None)


def _click(con: duckdb.DuckDBPyConnection, folder: Path, files: Files) -> tuple[str, str]:
    """An expression for `clicked` if no column has that name, and a note on the guess."""
    lower = {column.lower(): column for column in files.types}
    for name in EVENT_COLUMNS:
        if name in lower:
            column = _identifier(lower[name])
            query = f"SELECT list(DISTINCT {column}::VARCHAR) FROM (SELECT {column} FROM {files.reader} LIMIT 100000)"
            kinds = [kind for kind in _one(con, folder, query)[0] or [] if kind.lower() in CLICK_EVENTS]
            if kinds:
                listed = ", ".join(f"'{quoted(kind)}'" for kind in sorted(kinds))
                return f"{column} IN ({listed})", "guessed: which events are clicks"
    if "rating" in lower:
        return f"TRY_CAST({_identifier(lower['rating'])} AS DOUBLE) >= 4", "guessed: a rating of 4 or more is a click"
    return "true", "no column says what was clicked, so every row is a click"


def _moment(files: Files, column: str) -> str:
    """The time of a row in UTC as an expression. That of a time's own type lets DuckDB skip what is not of the day."""
    types = {_identifier(name): kind for name, kind in files.types.items()}
    kind = types[column]
    if "all_varchar" in files.reader or not kind.startswith(("TIMESTAMP", "DATE")):
        return f"source_moment({column})"
    return f"{column} AT TIME ZONE 'UTC'" if "TIME ZONE" in kind else f"{column}::TIMESTAMP"


def _one(con: duckdb.DuckDBPyConnection, folder: Path, query: str) -> tuple[Any, ...]:
    try:
        row = con.execute(query, {"path": glob_escaped(folder)}).fetchone()
    except (duckdb.Error, UnicodeDecodeError) as error:
        raise SourceError(f"DuckDB cannot read {folder}: {reading_problem(error)}") from error
    assert row is not None, "an aggregate gives a row"
    return row


@cache
def _reserved() -> frozenset[str]:
    with duckdb.connect() as con:
        words = con.execute("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'").fetchall()
    return frozenset(word for (word,) in words)


def _identifier(name: str) -> str:
    """A column name as SQL identifier, quoted if necessary."""
    if re.fullmatch(r"[a-z_][a-z0-9_]*", name) and name not in _reserved():
        return name
    return '"' + name.replace('"', '""') + '"'

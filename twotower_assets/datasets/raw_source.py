"""Raw data sets: finds their SQL, stages their rows, and explains what is wrong with them.

A data set is a folder of SQL files (`impressions.sql`, `items.sql`, optionally `users.sql` and `days.sql`), with a
variant per file format where it comes in several (`impressions.csv.sql`). Cleaning is SQL in `sql/cleaning/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, Protocol

import duckdb

from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.folders import SQL_FOLDER
from twotower_assets.lake.queries import QueryError, bound, glob_escaped, quoted, read_query, scalar, stage

REQUIRED_COLUMNS = {
    "impressions": ("user_id", "item_id", "shown_at", "clicked"),
    "items": ("item_id",),
    "users": ("user_id",),
}
OPTIONAL_COLUMNS = {
    "impressions": {"request_id": "VARCHAR", "context": "VARCHAR", "position": "INTEGER", "weight": "DOUBLE"},
    "items": {"category": "VARCHAR", "categories": "VARCHAR[]", "title": "VARCHAR", "published_at": "TIMESTAMP"},
    "users": {},
}
KNOWN_COLUMNS = {table: (*required, *OPTIONAL_COLUMNS[table]) for table, required in REQUIRED_COLUMNS.items()}
MACROS = (
    "source_text",
    "kept_text",
    "source_id",
    "id_fault",
    "moment_of_epoch",
    "source_moment",
    "source_moment_or_year",
    "source_click",
)
"""How values are read whatever their type, `sql/macros/`; each uses those before it."""
EARLIEST_DAY = date(1990, 1, 1)
"""Rows before it have a wrong time, unless `TWOTOWER_EARLIEST_DAY` says otherwise."""
LOOK = "`twotower check-data` shows what is wrong with them"
CONTRACT = "The data contract is in docs/data-contract.md"


class SourceError(ExpectedError, RuntimeError):
    """The raw data set cannot be read, or violates the data contract."""


class NoFilesError(SourceError):
    """The SQL reads files by a pattern that matches no file."""


class Readable(Protocol):
    """The input of `stage_impressions` and `stage_catalogue`: the files of a `Source`, or frames in memory."""

    def stage(self, con: duckdb.DuckDBPyConnection, table: str, parameters: dict[str, Any] | None = None) -> list[str]:
        """Put the raw rows of `table` into the temporary table `source_rows` and return its columns."""
        ...


@dataclass(frozen=True)
class Source:
    """A raw data set: its files in `path`, its SQL in `sql_folder`, and `file_format` if there are several variants."""

    dataset: str
    path: Path
    sql_folder: Path
    file_format: str | None = None

    def query(self, table: str) -> str | None:
        """The SQL that reads `table`; None if the data set has none. Raises `SourceError`."""
        if not self.sql_folder.is_dir():
            known = sorted(folder.name for folder in (SQL_FOLDER / "sources").glob("*") if folder.is_dir())
            raise SourceError(
                f"there is no SQL for the data set '{self.dataset}' in {self.sql_folder} (shipped data sets: "
                f"{', '.join(known)}). Set TWOTOWER_DATASET or TWOTOWER_SQL_SOURCES. {CONTRACT}"
            )
        plain = self.sql_folder / f"{table}.sql"
        if plain.is_file():
            return read_query(plain)
        variants = {file.name.split(".")[1]: file for file in self.sql_folder.glob(f"{table}.*.sql")}
        return read_query(variants[self._format(sorted(variants))]) if variants else None

    def stage(self, con: duckdb.DuckDBPyConnection, table: str, parameters: dict[str, Any] | None = None) -> list[str]:
        """Read `table` into the temporary table `source_rows` and return its columns. Raises `SourceError`."""
        sql = self.query(table)
        if sql is None:
            raise SourceError(f"the data set '{self.dataset}' has no {table}.sql in {self.sql_folder}. {CONTRACT}")
        self._require_path()
        try:
            given = {"path": glob_escaped(self.path), **(parameters or {})}
            _refuse_repeated_columns(con, table, sql, given)
            stage(con, "source_rows", sql, given)
        except (QueryError, duckdb.Error, UnicodeDecodeError) as error:
            by_pattern = "No files found" in str(error) and "*" in str(error)
            kind = NoFilesError if by_pattern else SourceError
            raise kind(
                f"{table}.sql of the data set '{self.dataset}' cannot read {self.path}: {reading_problem(error)}"
            ) from error
        return staged_columns(con, table, f"{table}.sql")

    def days(
        self, con: duckdb.DuckDBPyConnection, earliest: date = EARLIEST_DAY, *, only_last: bool = False
    ) -> tuple[date | None, date | None]:
        """First and last day from `days.sql`; None where it gives none. Raises `SourceError`.

        `earliest` is its parameter: rows before it have a wrong time. With `only_last`, the first day is not computed,
        and a log whose files are missing gives none: the runs that need them say so.
        """
        sql = self.query("days")
        if sql is None:
            return None, None
        try:
            con.execute("SET TimeZone = 'UTC'")
            read_values_as_meant(con)
            if only_last:
                sql = f"SELECT NULL::DATE, last_day FROM (\n{sql}\n) AS days(first_day, last_day)"
            values = bound(
                con, sql, {"path": glob_escaped(self.path), "earliest": datetime.combine(earliest, time.min)}
            )
            if values:
                if only_last and not self.path.exists():
                    return None, None
                self._require_path()
            row = con.execute(sql, values).fetchone()
        except (QueryError, duckdb.Error, UnicodeDecodeError) as error:
            if only_last and "No files found" in str(error):
                return None, None
            raise SourceError(
                f"days.sql of the data set '{self.dataset}' cannot read {self.path}: {reading_problem(error)}"
            ) from error
        if row is None:
            return None, None
        if len(row) != 2 or any(value is not None and type(value) is not date for value in row):
            raise SourceError(
                f"days.sql of the data set '{self.dataset}' gave {row}; it must give two dates, the first and the last "
                f"day. {CONTRACT}"
            )
        return row

    def _require_path(self) -> None:
        if not self.path.exists():
            raise SourceError(
                f"the raw files of the data set '{self.dataset}' are missing: {self.path} does not exist. "
                "Set TWOTOWER_SOURCE_PATH to their folder"
                + (", or fetch them with `twotower fetch`" if self.dataset == "movielens" else "")
            )

    def _format(self, known: list[str]) -> str:
        if self.file_format:
            if self.file_format not in known:
                raise SourceError(
                    f"TWOTOWER_SOURCE_FORMAT is '{self.file_format}'; the data set '{self.dataset}' can be read from: "
                    f"{', '.join(known)}"
                )
            return self.file_format
        self._require_path()
        found = [name for name in known if any(self.path.glob(f"*.{name}"))]
        if len(found) != 1:
            raise SourceError(
                f"{self.path} holds files of {len(found)} of the formats {', '.join(known)}"
                + ("; choose with TWOTOWER_SOURCE_FORMAT" if found else "")
            )
        return found[0]


def is_of_another_encoding(error: Exception) -> bool:
    """Whether DuckDB could not read a file because it is not in UTF-8."""
    return isinstance(error, UnicodeDecodeError) or "not utf-8 encoded" in str(error)


def reading_problem(error: Exception) -> str:
    """What kept DuckDB from reading a file; for a file in another encoding, what to write in the SQL."""
    text = str(error)
    if is_of_another_encoding(error):
        file = re.search(r"^\s*file = (.*)$", text, re.MULTILINE)
        return (
            f"{file[1] if file else 'a file'} is not in UTF-8. Name its encoding where the SQL reads it, such as "
            "read_csv(…, encoding = 'latin-1'), or convert the file"
        )
    return text


def read_values_as_meant(con: duckdb.DuckDBPyConnection) -> None:
    """Define the macros that read values of any type, for the SQL of a source and for cleaning."""
    for name in MACROS:
        con.execute(read_query(f"macros/{name}.sql"))


def _refuse_repeated_columns(con: duckdb.DuckDBPyConnection, table: str, sql: str, parameters: dict[str, Any]) -> None:
    """Raise `SourceError` if a query gives a column of the contract twice: of two, DuckDB would take the first."""
    described = con.execute(f"DESCRIBE {sql}", bound(con, sql, parameters)).fetchall()
    names = [str(row[0]).lower() for row in described]
    for column in KNOWN_COLUMNS[table]:
        if names.count(column) > 1:
            raise SourceError(
                f"{table}.sql gives the column '{column}' {names.count(column)} times. Leave the one of the files out: "
                f"SELECT * EXCLUDE ({column}), … AS {column}. {CONTRACT}"
            )


def stage_contract_rows(con: duckdb.DuckDBPyConnection, table: str) -> None:
    """`source_rows` as the view `contract_rows`: columns of the contract, and the others as text in `other_columns`.

    Columns are addressed by their places, so that no name of a source's own column can be taken for one of the query.
    """
    columns = [column[0] for column in con.execute("FROM source_rows LIMIT 0").description or []]
    place = {name: f"c{index}" for index, name in enumerate(columns)}
    chosen = [f"{place[name]} AS {name}" for name in REQUIRED_COLUMNS[table]]
    in_any_case = {name.lower(): found for name, found in place.items()}
    for name, kind in OPTIONAL_COLUMNS[table].items():
        chosen.append(f"{in_any_case[name]} AS {name}" if name in in_any_case else f"NULL::{kind} AS {name}")
    others = [name for name in columns if name.lower() not in KNOWN_COLUMNS[table]]
    if table != "impressions":
        pairs = ", ".join(f"'{quoted(name)}', {place[name]}" for name in others)
        # A character of code 0 makes statistics of DuckLake unreadable.
        text = f"replace(json_object({pairs})::VARCHAR, '\\u0000', '\\ufffd')"
        chosen.append(f"""from_json({text}, '"MAP(VARCHAR, VARCHAR)"') AS other_columns""")
    con.execute(
        f"CREATE OR REPLACE TEMP VIEW contract_rows AS SELECT {', '.join(chosen)} "
        f"FROM source_rows AS source({', '.join(place.values())})"
    )


def staged_columns(con: duckdb.DuckDBPyConnection, table: str, read_from: str) -> list[str]:
    """The columns of `source_rows`. Raises `SourceError`, naming `read_from`, if `table` lacks a required one."""
    columns = [column[0] for column in con.execute("FROM source_rows LIMIT 0").description or []]
    for column in REQUIRED_COLUMNS[table]:
        if column not in columns:
            raise SourceError(f"{read_from} gave no column '{column}' (it has: {', '.join(columns)}). {CONTRACT}")
    return columns


def types_found(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    """The type that each required column of `table` has in `source_rows`."""
    columns = con.execute("DESCRIBE source_rows").fetchall()
    return {name: kind for name, kind, *_ in columns if name in REQUIRED_COLUMNS[table]}


@dataclass(frozen=True)
class Rejects:
    """How many rows were read and rejected, counts by reason, and the first few rejected rows as text."""

    rows: int
    rejected: int
    reasons: dict[str, int]
    first: list[str]

    def raise_above(self, share: float, what: str) -> None:
        """Raise `SourceError` where more than `share` of the rows were rejected."""
        if self.rejected > share * self.rows:
            raise SourceError(
                f"{self.rejected} of {self.rows} rows of {what} were rejected, more than the share of {share:g} that "
                f"TWOTOWER_MAXIMUM_REJECTED_SHARE allows. Reasons: {self.reasons}. First: {'; '.join(self.first)}. "
                f"{LOOK}"
            )


def partition_bounds(
    first: date, last: date, first_partition: date, earliest: date = EARLIEST_DAY
) -> dict[str, datetime]:
    """The query parameters for a range of days: start inclusive, end exclusive, UTC as naive timestamps.

    Rows before `earliest` have a wrong time, and are rejected.
    """
    return {
        "partition_start": datetime.combine(first, time.min),
        "partition_end": datetime.combine(last + timedelta(days=1), time.min),
        "first_partition_start": datetime.combine(first_partition, time.min),
        "earliest": datetime.combine(earliest, time.min),
    }


def stage_impressions(
    con: duckdb.DuckDBPyConnection, source: Readable, bounds: dict[str, datetime]
) -> tuple[Rejects, list[str]]:
    """Read and clean the log of some days into `staged_impressions` and `staged_rejected_impressions`.

    Returns the rejected rows and the columns that are not in the data contract. Raises `SourceError`.
    """
    parameters = {**bounds, "now": datetime.now(UTC).replace(tzinfo=None)}
    read_values_as_meant(con)
    columns = source.stage(con, "impressions", dict(parameters))
    stage_contract_rows(con, "impressions")
    _clean(con, "checked_impressions", parameters)
    _clean(con, "impressions", {}, "staged_impressions")
    _clean(con, "rejected_impressions", {}, "staged_rejected_impressions")
    unknown = [column for column in columns if column not in KNOWN_COLUMNS["impressions"]]
    return _rejects(con, "checked_impressions", ("user_id_found", "item_id_found", "shown_at_found")), unknown


def refuse_days_above(con: duckdb.DuckDBPyConnection, share: float) -> None:
    """Raise `SourceError` if more than `share` of the rows of any single day of `checked_impressions` were rejected.

    Over a range of days, a day whose file is wrong would be lost among the others.
    """
    sql = read_query("cleaning/rejected_by_day.sql")
    found = con.execute(sql, {"share": share}).fetchall()
    if found:
        described = [f"{day} ({rejected} of {rows}, most of them: {reason})" for day, rows, rejected, reason in found]
        more = f" and {len(found) - 5} more days" if len(found) > 5 else ""
        raise SourceError(
            f"more than the share of {share:g} that TWOTOWER_MAXIMUM_REJECTED_SHARE allows was rejected on "
            f"{', '.join(described[:5])}{more}. Nothing was written. Leave these days out, or mend their files. {LOOK}"
        )


def stage_catalogue(con: duckdb.DuckDBPyConnection, source: Readable, table: str) -> Rejects:
    """Read and clean `items` or `users` into `staged_items` or `staged_users`. Raises `SourceError`."""
    read_values_as_meant(con)
    source.stage(con, table)
    stage_contract_rows(con, table)
    _clean(con, f"checked_{table}", {})
    _clean(con, table, {}, f"staged_{table}")
    return _rejects(con, f"checked_{table}", REQUIRED_COLUMNS[table])


def _clean(con: duckdb.DuckDBPyConnection, name: str, parameters: dict[str, Any], staged: str | None = None) -> None:
    try:
        stage(con, staged or name, read_query(f"cleaning/{name}.sql"), parameters)
    except QueryError as error:
        raise SourceError(f"the source has a column of the wrong type: {error}. {CONTRACT}") from error


def _rejects(con: duckdb.DuckDBPyConnection, checked: str, shown: tuple[str, ...]) -> Rejects:
    reasons = dict(
        con.execute(
            f"SELECT reason, count(*) FROM {checked} WHERE reason IS NOT NULL GROUP BY reason ORDER BY reason"
        ).fetchall()
    )
    first = con.execute(
        f"SELECT reason, {', '.join(shown)} FROM {checked} WHERE reason IS NOT NULL ORDER BY ALL LIMIT 3"
    ).fetchall()
    names = [name.removesuffix("_found") for name in shown]
    described = [
        f"{reason} ({', '.join(f'{name}={value}' for name, value in zip(names, values, strict=True))})"
        for reason, *values in first
    ]
    rows = int(scalar(con, f"SELECT count(*) FROM {checked}"))
    return Rejects(rows, sum(reasons.values()), reasons, described)

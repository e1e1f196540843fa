"""The lake: opening it, creating its tables, replacing partitions whole, and knowing its snapshots.

A commit stages its rows outside the transaction, then deletes and inserts under a file lock, so that writers in many
processes never collide on the SQLite catalogue and readers see whole partitions only. What the rows mean is not
decided here.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout

from twotower_assets.lake.queries import read_query, scalar
from twotower_assets.lake.spill import spill_folder
from twotower_assets.lake.tables import TABLES, Table

log = logging.getLogger(__name__)

EXTENSIONS = {"ducklake": "duckdb_extension_ducklake", "sqlite_scanner": "duckdb_extension_sqlite_scanner"}
COMMIT_ATTEMPTS = 6
_CONFLICTS = ("database is locked", "conflict")


class LakeError(RuntimeError):
    """The lake cannot be opened, read or written; the message says what to do."""


@dataclass(frozen=True)
class Replacement:
    """Rows that replace others: those of `days` (inclusive), those equal in the `matching` columns, those whose column
    has the value `of` (column, value), or all.

    `staged` is a temporary table or registered relation with the columns of `table`, by name.
    """

    table: str
    staged: str
    days: tuple[date, date] | None = None
    matching: tuple[str, ...] = field(default=())
    of: tuple[str, str] | None = None


@dataclass(frozen=True)
class CommitInfo:
    """What is stored with the snapshot: who wrote what, and for which days."""

    asset: str
    run_id: str = ""
    days: tuple[date, date] | None = None

    def as_json(self, tables: Sequence[str]) -> str:
        """As JSON text with keys asset, tables, run_id, first_day, last_day."""
        first, last = self.days or (None, None)
        return json.dumps(
            {
                "asset": self.asset,
                "tables": list(tables),
                "run_id": self.run_id,
                "first_day": first.isoformat() if first else None,
                "last_day": last.isoformat() if last else None,
            }
        )


@dataclass(frozen=True)
class Lake:
    """A DuckLake on a SQLite catalogue in `folder`, holding the data set `dataset`."""

    folder: Path
    dataset: str
    memory_limit: str | None = None
    threads: int | None = None
    lock_seconds: float = 120.0

    @property
    def catalog(self) -> Path:
        """The SQLite file of the catalogue."""
        return self.folder / "catalog.sqlite"

    @property
    def uri(self) -> str:
        """The lake as DuckDB's ATTACH takes it."""
        return f"ducklake:sqlite:{self.catalog}"

    @property
    def exists(self) -> bool:
        """Whether the lake has been created."""
        return self.catalog.is_file()

    @contextmanager
    def reader(self, snapshot: int | None = None, *, transaction: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection with the lake as default database, at `snapshot` or as it stands.

        It is one transaction, so that all its queries see the same; without `transaction`, each sees the newest rows.
        A lake that was made before some table or column was declared gets it first.

        Raises `LakeError` where there is no lake yet, or one of another data set.
        """
        if not self.exists:
            raise LakeError(f"there is no lake in {self.folder} yet; materialize the sources first (`make demo`)")
        with self._connection() as con:
            at = f", SNAPSHOT_VERSION {int(snapshot)}" if snapshot is not None else ""
            self._attach(con, f"READ_ONLY{at}")
            self._check_identity(con)
            if snapshot is None and _outstanding(con, _present(con)):
                self._bring_up_to_date()
            if transaction:
                con.execute("BEGIN TRANSACTION")
            yield con

    @contextmanager
    def writer(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that may write, with every declared table in place. Raises `LakeError`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LakeError(f"cannot create the lake folder {self.folder}: {error.strerror}") from error
        with self._connection() as con:
            with self._lock():
                self._attach(con, "DATA_INLINING_ROW_LIMIT 0, META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 20000")
                try:
                    self._create_missing_tables(con)
                except duckdb.Error as error:
                    raise LakeError(f"cannot create the tables of the lake in {self.folder}: {error}") from error
            yield con

    def commit(
        self,
        con: duckdb.DuckDBPyConnection,
        replacements: Sequence[Replacement],
        info: CommitInfo,
        views: Sequence[str] = (),
    ) -> int:
        """Replace rows, and define views, in one transaction; give the id of its snapshot.

        Retries a bounded number of times, with jitter, when another writer was first. Raises `LakeError` when the
        lock or the retries run out or the disk is full; the rows that were there before are then still there.
        """
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                with self._lock():
                    return self._commit_once(con, replacements, info, views)
            except duckdb.Error as error:
                message = str(error)
                if attempt + 1 < COMMIT_ATTEMPTS and any(sign in message.lower() for sign in _CONFLICTS):
                    log.warning("commit of %s met another writer, trying again: %s", info.asset, message)
                    time.sleep(random.uniform(0.05, 0.2) * 2**attempt)
                    continue
                raise LakeError(
                    f"the commit of {info.asset} to {self.folder} failed and left the rows as they were: {message}"
                ) from error
        raise AssertionError("unreachable")

    @contextmanager
    def exclusively(self, what: str) -> Iterator[None]:
        """Let one process at a time do `what`; others wait. Raises `LakeError` when that takes too long."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._lock(what):
            yield

    def snapshot(self, con: duckdb.DuckDBPyConnection) -> int:
        """The id of the newest snapshot that `con` sees."""
        return int(scalar(con, "SELECT max(snapshot_id) FROM ducklake_snapshots('lake')"))

    def _commit_once(
        self,
        con: duckdb.DuckDBPyConnection,
        replacements: Sequence[Replacement],
        info: CommitInfo,
        views: Sequence[str],
    ) -> int:
        con.execute("BEGIN TRANSACTION")
        try:
            for replacement in replacements:
                _replace(con, TABLES[replacement.table], replacement)
            for statement in views:
                con.execute(statement)
            con.execute(
                "CALL ducklake_set_commit_message('lake', $author, $message, extra_info => $info)",
                {
                    "author": "twotower_assets",
                    "message": f"materialize {info.asset}",
                    "info": info.as_json([replacement.table for replacement in replacements]),
                },
            )
            con.execute("COMMIT")
        except BaseException:
            _rollback(con)
            raise
        committed = scalar(con, "SELECT id FROM ducklake_last_committed_snapshot('lake')")
        return self.snapshot(con) if committed is None else int(committed)  # none: there was nothing to change

    @contextmanager
    def _connection(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with spill_folder(self.folder / "spill") as spill, duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            con.execute(f"SET temp_directory = '{_quoted(spill)}'")
            con.execute("SET enable_progress_bar = false")
            con.execute("SET memory_limit = $limit", {"limit": self.memory_limit or _half_of_the_default(con)})
            if self.threads:
                con.execute("SET threads = $threads", {"threads": self.threads})
            for name, package in EXTENSIONS.items():
                load_extension(con, name, package)
            yield con

    def _attach(self, con: duckdb.DuckDBPyConnection, options: str) -> None:
        # The catalogue remembers the folder it was created in; a lake that was moved or copied has its files here.
        here = f"DATA_PATH '{_quoted(self.folder / 'data')}', OVERRIDE_DATA_PATH true"
        try:
            con.execute(f"ATTACH '{_quoted(self.uri)}' AS lake ({here}, {options})")
            con.execute("USE lake")
        except duckdb.Error as error:
            raise LakeError(f"cannot open the lake in {self.folder}: {error}") from error

    @contextmanager
    def _lock(self, what: str = "commit") -> Iterator[None]:
        file = self.folder / f"{what}.lock"
        lock = FileLock(file, timeout=self.lock_seconds)
        try:
            lock.acquire()
        except Timeout as error:
            raise LakeError(
                f"another {what} has held {file} for over {self.lock_seconds:g} s; look for a hanging run, or raise "
                "TWOTOWER_CATALOG_LOCK_SECONDS"
            ) from error
        except OSError as error:
            raise LakeError(f"cannot lock {file} for a {what}: {error.strerror}") from error
        try:
            yield
        finally:
            lock.release()

    def _check_identity(self, con: duckdb.DuckDBPyConnection) -> None:
        try:
            owner = scalar(con, "SELECT dataset FROM lake_identity")
        except duckdb.CatalogException:
            owner = None
        if owner is None:
            raise LakeError(f"the lake in {self.folder} was never finished; materialize the sources first")
        if owner != self.dataset:
            raise LakeError(
                f"the lake in {self.folder} belongs to the data set '{owner}', not to '{self.dataset}'; "
                "set TWOTOWER_DATASET to that, or TWOTOWER_HOME to another folder"
            )

    def _bring_up_to_date(self) -> None:
        try:
            with self.writer():
                log.info("the lake in %s has got tables or columns that were declared since", self.folder)
        except LakeError as error:  # who may only read can still read what is there
            log.warning("the lake in %s lacks tables or columns that were declared since: %s", self.folder, error)

    def _create_missing_tables(self, con: duckdb.DuckDBPyConnection) -> None:
        present = _present(con)
        if "lake_identity" in present:
            self._check_identity(con)
        statements = _outstanding(con, present)
        if not statements:
            return
        con.execute("BEGIN TRANSACTION")
        try:
            for statement in statements:
                con.execute(statement)
            if "lake_identity" not in present:
                con.execute("CREATE TABLE lake_identity (dataset VARCHAR, created_at TIMESTAMP)")
                con.execute("INSERT INTO lake_identity VALUES ($dataset, now()::TIMESTAMP)", {"dataset": self.dataset})
            con.execute("COMMIT")
        except BaseException:
            _rollback(con)
            raise


def load_extension(con: duckdb.DuckDBPyConnection, name: str, package: str) -> None:
    """Load a DuckDB extension from its wheel, else from DuckDB's own store. Raises `LakeError` if neither works."""
    try:
        file = files(package) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
        con.execute(f"LOAD '{_quoted(Path(str(file)))}'")
        return
    except (ModuleNotFoundError, duckdb.Error) as error:
        log.info("the wheel of the DuckDB extension %s is of no use: %s", name, error)
    try:
        con.execute(f"INSTALL {name}")
        con.execute(f"LOAD {name}")
    except duckdb.Error as error:
        wheel = package.replace("_", "-")
        raise LakeError(
            f"DuckDB {duckdb.__version__} cannot load its extension '{name}'; "
            f"run `pip install {wheel}=={duckdb.__version__}` ({error})"
        ) from error


def _replace(con: duckdb.DuckDBPyConnection, table: Table, replacement: Replacement) -> None:
    if replacement.days:
        first, last = replacement.days
        con.execute(
            f"DELETE FROM lake.{table.name} WHERE day BETWEEN $first AND $last",
            {"first": first, "last": last},
        )
    elif replacement.matching:
        on = " AND ".join(f"old.{table[name].name} = fresh.{table[name].name}" for name in replacement.matching)
        con.execute(
            f"DELETE FROM lake.{table.name} AS old WHERE EXISTS (FROM {replacement.staged} AS fresh WHERE {on})"
        )
    elif replacement.of:
        column, value = replacement.of
        con.execute(f"DELETE FROM lake.{table.name} WHERE {table[column].name} = $value", {"value": value})
    else:
        con.execute(f"DELETE FROM lake.{table.name}")
    columns = ", ".join(table.column_names)
    con.execute(f"INSERT INTO lake.{table.name} BY NAME SELECT {columns} FROM {replacement.staged}")


def _ddl(table: Table) -> Iterator[str]:
    columns = ", ".join(
        f"{column.name} {column.type}{'' if column.nullable else ' NOT NULL'}" for column in table.columns
    )
    yield f"CREATE TABLE lake.{table.name} ({columns})"
    if table.daily:
        yield f"ALTER TABLE lake.{table.name} SET PARTITIONED BY (day)"
    yield f"COMMENT ON TABLE lake.{table.name} IS '{_quoted(table.description)}'"
    for column in table.columns:
        yield f"COMMENT ON COLUMN lake.{table.name}.{column.name} IS '{_quoted(column.description)}'"


def _present(con: duckdb.DuckDBPyConnection) -> set[str]:
    """The tables of the lake."""
    rows = con.execute("SELECT table_name FROM duckdb_tables() WHERE database_name = 'lake'").fetchall()
    return {name for (name,) in rows}


def _outstanding(con: duckdb.DuckDBPyConnection, present: set[str]) -> list[str]:
    """Statements that make the declared tables and columns that are not there."""
    missing = [line for name, table in TABLES.items() if name not in present for line in _ddl(table)]
    return missing + _missing_columns(con, present)


def _missing_columns(con: duckdb.DuckDBPyConnection, present: set[str]) -> list[str]:
    """Statements that add columns declared since a table was made; rows written before hold null there."""
    found = con.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake'").fetchall()
    there = set(found)
    return [
        statement
        for name, table in TABLES.items()
        if name in present
        for column in table.columns
        if (name, column.name) not in there
        for statement in (
            f"ALTER TABLE lake.{name} ADD COLUMN {column.name} {column.type}",
            f"COMMENT ON COLUMN lake.{name}.{column.name} IS '{_quoted(column.description)}'",
        )
    ]


def _rollback(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.execute("ROLLBACK")
    except duckdb.Error as error:
        log.info("nothing to roll back: %s", error)


def _half_of_the_default(con: duckdb.DuckDBPyConnection) -> str:
    """DuckDB takes 80 % of the memory; two runs may go on at a time."""
    number, unit = str(scalar(con, "SELECT current_setting('memory_limit')")).split()
    return f"{float(number) / 2:.2f}{unit}"


def _quoted(text: Path | str) -> str:
    return str(text).replace("'", "''")


def writes_of(con: duckdb.DuckDBPyConnection, table: str) -> list[Mapping[str, Any]]:
    """Every commit to `table` that the lake still remembers, oldest first: snapshot_id, snapshot_time, run_id, days."""
    cursor = con.execute(read_query("lineage/writes.sql"), {"table": table})
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

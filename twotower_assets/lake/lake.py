"""The lake: opens it, creates its tables, replaces whole partitions, and reads its snapshots.

A commit stages its rows outside the transaction, then deletes and inserts under a file lock, so that writers in many
processes never collide on the SQLite catalogue and readers see whole partitions only. The meaning of rows does not
belong here.
"""

from __future__ import annotations

import json
import logging
import random
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
from filelock import FileLock, Timeout

from twotower_assets.lake import instances, schema, views
from twotower_assets.lake.errors import LakeError as LakeError
from twotower_assets.lake.extensions import EXTENSIONS, load_statement
from twotower_assets.lake.queries import quoted, read_query, scalar
from twotower_assets.lake.spill import spill_folder
from twotower_assets.lake.tables import TABLES, Table

log = logging.getLogger(__name__)

COMMIT_ATTEMPTS = 6
WRITING = "DATA_INLINING_ROW_LIMIT 0, META_JOURNAL_MODE 'WAL', META_BUSY_TIMEOUT 20000"
IDENTITY = "lake.main.lake_identity"
_CONFLICTS = ("database is locked", "conflict")


@dataclass(frozen=True)
class Replacement:
    """Staged rows, and which rows of a table they replace: by default all.

    Attributes:
        table: the table that is written.
        staged: temporary table or registered relation with the columns of `table`, by name.
        days: replace the rows of these days, both ends included.
        matching: replace the rows that are equal to a staged row in these columns.
        where: column and value; replace the rows that have this value.
    """

    table: str
    staged: str
    days: tuple[date, date] | None = None
    matching: tuple[str, ...] = field(default=())
    where: tuple[str, str] | None = None


@dataclass(frozen=True)
class CommitInfo:
    """What a commit stores with its snapshot: who wrote which tables, for which days."""

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
        """The connection string for DuckDB's ATTACH."""
        return f"ducklake:sqlite:{self.catalog}"

    @property
    def exists(self) -> bool:
        """Whether the lake has been created."""
        return self.catalog.is_file()

    @contextmanager
    def reader(self, snapshot: int | None = None, *, transaction: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-only connection with the lake as default database, at `snapshot` or the newest one.

        The connection holds one transaction, so that all queries see the same rows; without `transaction`, each query
        sees the newest rows. Tables or columns that an older lake lacks are created first.

        Raises `LakeError` if there is no lake yet, or it belongs to another data set.
        """
        self._require_lake()
        with self._connection(_reading(snapshot)) as con:
            self._require_current(con, snapshot)
            if transaction:
                con.execute("BEGIN TRANSACTION")
            yield con

    def session(self, snapshot: int | None = None) -> duckdb.DuckDBPyConnection:
        """A read-only connection like that of `reader`, without a transaction; the caller closes it.

        Raises `LakeError` as `reader` does.
        """
        self._require_lake()
        con = instances.fresh()
        try:
            # DuckDB makes this folder when a statement has to spill, and removes it with the connection.
            with self._opening():
                con.execute(self._attach_statement(_reading(snapshot)))
                self._prepare(con, Path(tempfile.gettempdir()) / f"twotower-{uuid.uuid4()}")
            self._require_current(con, snapshot)
        except BaseException:
            con.close()
            raise
        return con

    def attach_script(self, snapshot: int | None = None) -> str:
        """The statements that attach the lake as `lake`, read-only, in any DuckDB of this version.

        Raises `LakeError` if there is no lake yet. Tables, columns or views that an older lake lacks are created first.
        """
        self.session(snapshot).close()
        loads = [load_statement(name, package) for name, package in EXTENSIONS.items()]
        attach = self._attach_statement(_reading(snapshot))
        return "".join(f"{line};\n" for line in (*loads, "SET TimeZone = 'UTC'", attach, "USE lake"))

    def _require_lake(self) -> None:
        if not self.exists:
            raise LakeError(f"there is no lake in {self.folder} yet; materialize the sources first (`make demo`)")

    def _require_current(self, con: duckdb.DuckDBPyConnection, snapshot: int | None) -> None:
        definitions = self._check_identity(con, snapshot)
        if snapshot is None and definitions != views.fingerprint():
            self._bring_up_to_date()

    @contextmanager
    def writer(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A read-write connection; every declared table exists. Raises `LakeError`."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise LakeError(f"cannot create the lake folder {self.folder}: {error.strerror}") from error
        with self._connection(WRITING, self._lock()) as con:
            with self._lock():
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
        """Replace rows, and define views, in one transaction, and return the id of its snapshot.

        Retries a bounded number of times, with jitter, when another writer commits first. Raises `LakeError` when the
        lock times out, the retries run out or the disk is full; the earlier rows are then unchanged.
        """
        for attempt in range(COMMIT_ATTEMPTS):
            try:
                with self._lock():
                    return self._commit_once(con, replacements, info, views)
            except duckdb.Error as error:
                message = str(error)
                if attempt + 1 < COMMIT_ATTEMPTS and any(sign in message.lower() for sign in _CONFLICTS):
                    log.warning("commit of %s conflicts with another writer, retrying: %s", info.asset, message)
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
        return self.snapshot(con) if committed is None else int(committed)  # None: nothing changed

    @contextmanager
    def _connection(
        self, options: str, lock: AbstractContextManager[None] | None = None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with the lake attached, which happens under the lock."""
        with ExitStack() as stack:
            spill = stack.enter_context(spill_folder(self.folder / "spill"))
            with lock or nullcontext(), self._opening():
                con = stack.enter_context(instances.borrowed(self._attach_statement(options), self.catalog))
                self._prepare(con, spill)
            yield con

    def _prepare(self, con: duckdb.DuckDBPyConnection, spill: Path) -> None:
        con.execute("USE lake")
        con.execute("SET TimeZone = 'UTC'")
        con.execute(f"SET temp_directory = '{quoted(spill)}'")
        con.execute("SET enable_progress_bar = false")
        con.execute("SET memory_limit = $limit", {"limit": self.memory_limit or _half_of_default_memory(con)})
        if self.threads:
            con.execute("SET threads = $threads", {"threads": self.threads})

    @contextmanager
    def _opening(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            raise LakeError(f"cannot open the lake in {self.folder}: {error}") from error

    def _attach_statement(self, options: str) -> str:
        # The catalogue stores the folder it was created in; after a move or copy the files are in this one.
        data_path = f"DATA_PATH '{quoted(self.folder / 'data')}', OVERRIDE_DATA_PATH true"
        return f"ATTACH '{quoted(self.uri)}' AS lake ({data_path}, {options})"

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

    def _check_identity(self, con: duckdb.DuckDBPyConnection, snapshot: int | None = None) -> str | None:
        """The fingerprint of the lake's definitions of tables and views. Raises `LakeError`."""
        owner, definitions = _identity(con) or (None, None)
        if owner is None and snapshot is not None:
            raise LakeError(f"at snapshot {snapshot} the lake in {self.folder} had no tables yet; choose a later one")
        if owner is None:
            raise LakeError(f"the lake in {self.folder} was not created completely; materialize the sources first")
        if owner != self.dataset:
            raise LakeError(
                f"the lake in {self.folder} belongs to the data set '{owner}', not to '{self.dataset}'; "
                "set TWOTOWER_DATASET to that, or TWOTOWER_HOME to another folder"
            )
        return definitions

    def _bring_up_to_date(self) -> None:
        try:
            with self.writer():
                log.info("created the tables, columns or views that the lake in %s lacked", self.folder)
        except LakeError as error:  # without write access, the existing tables can still be read
            log.warning("the lake in %s lacks tables, columns or views of this version: %s", self.folder, error)

    def _create_missing_tables(self, con: duckdb.DuckDBPyConnection) -> None:
        identity = _identity(con)
        if identity is not None and self._check_identity(con) == views.fingerprint():
            return
        con.execute("BEGIN TRANSACTION")
        try:
            for statement in schema.outstanding(con, schema.present(con)):
                con.execute(statement)
            if identity is None:
                con.execute(f"CREATE TABLE {IDENTITY} (dataset VARCHAR, created_at TIMESTAMP, definitions VARCHAR)")
                con.execute(f"COMMENT ON TABLE {IDENTITY} IS 'Whose lake this is, and the tables and views it has.'")
                con.execute(
                    f"INSERT INTO {IDENTITY} VALUES ($dataset, now()::TIMESTAMP, NULL)", {"dataset": self.dataset}
                )
            con.execute(f"ALTER TABLE {IDENTITY} ADD COLUMN IF NOT EXISTS definitions VARCHAR")
            views.define_views(con)
            con.execute(f"UPDATE {IDENTITY} SET definitions = $definitions", {"definitions": views.fingerprint()})
            con.execute("COMMIT")
        except BaseException:
            _rollback(con)
            raise


def _identity(con: duckdb.DuckDBPyConnection) -> tuple[str, str | None] | None:
    """The lake's data set, and the fingerprint of its definitions (None in older lakes); None for an empty lake."""
    for definitions in ("definitions", "NULL"):
        try:
            dataset, known = con.execute(f"SELECT dataset, {definitions} FROM {IDENTITY}").fetchall()[0]
        except duckdb.BinderException:  # an older lake without this column
            continue
        except duckdb.CatalogException:
            return None
        return dataset, known
    raise AssertionError("unreachable")


def _reading(snapshot: int | None) -> str:
    return "READ_ONLY" if snapshot is None else f"READ_ONLY, SNAPSHOT_VERSION {int(snapshot)}"


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
    elif replacement.where:
        column, value = replacement.where
        con.execute(f"DELETE FROM lake.{table.name} WHERE {table[column].name} = $value", {"value": value})
    else:
        con.execute(f"DELETE FROM lake.{table.name}")
    columns = ", ".join(table.column_names)
    con.execute(f"INSERT INTO lake.{table.name} BY NAME SELECT {columns} FROM {replacement.staged}")


def _rollback(con: duckdb.DuckDBPyConnection) -> None:
    try:
        con.execute("ROLLBACK")
    except duckdb.Error as error:
        log.info("nothing to roll back: %s", error)


def _half_of_default_memory(con: duckdb.DuckDBPyConnection) -> str:
    """Half of DuckDB's default, 80 % of the memory, because two runs may run at a time."""
    number, unit = str(scalar(con, "SELECT current_setting('memory_limit')")).split()
    return f"{float(number) / 2:.2f}{unit}"


def writes_of(con: duckdb.DuckDBPyConnection, table: str) -> list[Mapping[str, Any]]:
    """Every unexpired commit to `table`, oldest first: snapshot_id, snapshot_time, run_id, first_day, last_day."""
    cursor = con.execute(read_query("lineage/writes.sql"), {"table": table})
    names = [column[0] for column in cursor.description or []]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

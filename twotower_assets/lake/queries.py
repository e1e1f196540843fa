"""SQL files: reads them from `sql/`, binds their parameters, and stages their results.

SQL is not assembled from pieces in Python; only the name of the staged table is added to the text of a file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb

from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.folders import SQL_FOLDER


class QueryError(ExpectedError, RuntimeError):
    """A SQL file is missing, or DuckDB rejects it."""


def read_query(path: str | Path) -> str:
    """The text of a SQL file; `path` is absolute or relative to `sql/`. Raises `QueryError` if it cannot be read."""
    file = SQL_FOLDER / path
    try:
        return file.read_text(encoding="utf-8").rstrip().removesuffix(";")
    except OSError as error:
        raise QueryError(f"cannot read the SQL file {file}: {error.strerror}") from error


def bound(con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The `parameters` that `sql` uses as `$name`. Raises `QueryError` if it uses one that is not among them."""
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    if len(statements) != 1:
        raise QueryError(f"expected one SQL statement, found {len(statements)}")
    used = statements[0].named_parameters
    if unknown := sorted(set(used) - set(parameters)):
        raise QueryError(
            f"the SQL uses the unknown parameter ${unknown[0]}; known parameters: "
            + ", ".join(f"${name}" for name in sorted(parameters))
        )
    return {name: parameters[name] for name in used}


def stage(
    con: duckdb.DuckDBPyConnection,
    name: str,
    sql: str,
    parameters: Mapping[str, Any] | None = None,
    *,
    append: bool = False,
) -> int:
    """Put the result of `sql` into the temporary table `name`, or append it, and return the table's number of rows.

    Raises `QueryError` with DuckDB's message where the statement fails.
    """
    values = bound(con, sql, parameters or {})
    try:
        con.execute(f"INSERT INTO {name} {sql}" if append else f"CREATE OR REPLACE TEMP TABLE {name} AS {sql}", values)
    except duckdb.Error as error:
        raise QueryError(str(error)) from error
    return int(scalar(con, f"SELECT count(*) FROM {name}"))


def scalar(con: duckdb.DuckDBPyConnection, sql: str, parameters: Mapping[str, Any] | None = None) -> Any:
    """The single value that `sql` returns; None if it returns no row."""
    row = con.execute(sql, dict(parameters) if parameters else None).fetchone()
    return row[0] if row else None


def glob_escaped(path: Path | str) -> str:
    """The path for DuckDB's readers, which take `*`, `?` and `[` in it for a pattern."""
    return re.sub(r"([\[*?])", r"[\1]", str(path))


def quoted(text: Path | str) -> str:
    """The text escaped for single quotes in SQL, for statements that take no parameters."""
    return str(text).replace("'", "''")

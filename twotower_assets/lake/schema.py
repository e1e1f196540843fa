"""The statements that create declared tables and columns which a lake lacks.

`lake` opens lakes and orders transactions; `views` defines the analysts' views.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import duckdb

from twotower_assets.lake.queries import quoted
from twotower_assets.lake.tables import TABLES, Table


def present(con: duckdb.DuckDBPyConnection) -> dict[str, str | None]:
    """The tables of the lake, with their comments."""
    rows = con.execute("SELECT table_name, comment FROM duckdb_tables() WHERE database_name = 'lake'").fetchall()
    return dict(rows)


def outstanding(con: duckdb.DuckDBPyConnection, there: Mapping[str, object]) -> list[str]:
    """Statements that create the declared tables and columns that are missing."""
    missing = [line for name, table in TABLES.items() if name not in there for line in _ddl(table)]
    return missing + _missing_columns(con, there)


def _ddl(table: Table) -> Iterator[str]:
    columns = ", ".join(
        f"{column.name} {column.type}{'' if column.nullable else ' NOT NULL'}" for column in table.columns
    )
    yield f"CREATE TABLE lake.{table.name} ({columns})"
    if table.daily:
        yield f"ALTER TABLE lake.{table.name} SET PARTITIONED BY (day)"
    yield f"COMMENT ON TABLE lake.{table.name} IS '{quoted(table.description)}'"
    for column in table.columns:
        yield f"COMMENT ON COLUMN lake.{table.name}.{column.name} IS '{quoted(column.description)}'"


def _missing_columns(con: duckdb.DuckDBPyConnection, there: Mapping[str, object]) -> list[str]:
    """Statements that add columns declared after a table was created; existing rows get null."""
    found = con.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'lake'").fetchall()
    known = set(found)
    return [
        statement
        for name, table in TABLES.items()
        if name in there
        for column in table.columns
        if (name, column.name) not in known
        for statement in (
            f"ALTER TABLE lake.{name} ADD COLUMN {column.name} {column.type}",
            f"COMMENT ON COLUMN lake.{name}.{column.name} IS '{quoted(column.description)}'",
        )
    ]

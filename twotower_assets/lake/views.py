"""The analysts' views and table macros: defines those of `sql/analysts/` in a lake, with the help in their comments.

`lake` decides when they are defined. A new champion redefines some of them, because their vectors have its dimension.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

import duckdb

from twotower_assets.core.folders import SQL_FOLDER
from twotower_assets.lake.queries import QueryError, quoted, read_query, scalar
from twotower_assets.lake.tables import TABLES

FOLDER = SQL_FOLDER / "analysts"
_CREATE = re.compile(r"^CREATE OR REPLACE (VIEW|MACRO) lake\.main\.(\w+)(?:\((.*)\) AS TABLE| AS)$", re.MULTILINE)
CURRENT = ("current_item_embeddings", "current_user_embeddings")
_HEADINGS = ("arguments", "gives", "errors", "example")
_REQUIRED = {"view": {"gives", "example"}, "macro": set(_HEADINGS)}


@dataclass(frozen=True)
class Help:
    """The help of a view or macro, from the comments of its file in `sql/analysts/`: a row of `macro_help`."""

    name: str
    kind: str
    signature: str
    description: str
    arguments: str | None
    gives: str
    errors: str | None
    example: str


def read_help(file: Path) -> Help:
    """The help in the opening comments of a file. Raises `QueryError` if they do not have the expected form."""
    sql = read_query(file)
    head, _, _ = sql.partition("CREATE OR REPLACE ")
    created = _CREATE.search(sql)
    if created is None or created[2] != file.stem:
        raise QueryError(f"{file} must hold one `CREATE OR REPLACE VIEW lake.main.{file.stem} AS`, or a table macro")
    kind = created[1].lower()
    texts = {"description": ""}
    section = "description"
    for line in head.splitlines():
        text = line.removeprefix("--").strip()
        heading, colon, rest = text.partition(": ")
        if colon and heading in _HEADINGS:
            section, text = heading, rest
        texts[section] = f"{texts.get(section, '')} {text}".strip()
    required = _REQUIRED[kind] | {"description"}
    if wrong := sorted({name for name in required if not texts.get(name)} | (set(texts) - required)):
        raise QueryError(f"{file}: its opening comment must have {', '.join(sorted(required))}; check {wrong[0]}")
    signature = file.stem if kind == "view" else f"{file.stem}({created[3]})"
    return Help(
        file.stem,
        kind,
        signature,
        texts["description"],
        texts.get("arguments"),
        texts["gives"],
        texts.get("errors"),
        texts["example"],
    )


def analyst_files() -> list[Path]:
    """The files of `sql/analysts/`, one per view or macro."""
    return sorted(FOLDER.glob("*.sql"))


def macro_help() -> list[Help]:
    """The help of every view and macro, by name."""
    return [read_help(file) for file in analyst_files()]


def column_lineage() -> list[tuple[str, str, str, str]]:
    """The declared column lineage: table, column, source table, source column."""
    return [
        (table.name, column.name, *source.split(".", 1))  # type: ignore[misc]
        for table in TABLES.values()
        for column in table.columns
        for source in column.derived_from
    ]


def define_views(con: duckdb.DuckDBPyConnection) -> None:
    """Define every view and macro in the lake and write their help, in the transaction of `con`."""
    dimensions = scalar(con, "SELECT len(embedding) FROM lake.main.served_item_embeddings LIMIT 1")
    for statement in current_views(dimensions or 1):
        con.execute(statement)
    for help_ in macro_help():
        if help_.name in CURRENT:
            continue
        con.execute(read_query(f"analysts/{help_.name}.sql"))
        if help_.kind == "view":
            con.execute(_comment(help_))
    _fill(con, "macro_help", [astuple(one) for one in macro_help()])
    _fill(con, "column_lineage", column_lineage())


def current_views(dimensions: int) -> list[str]:
    """Statements that define, with comments, the views of served vectors, which have `dimensions` numbers."""
    return [
        statement
        for name in CURRENT
        for statement in (
            read_query(f"analysts/{name}.sql").format(dimensions=int(dimensions)),
            _comment(read_help(FOLDER / f"{name}.sql")),
        )
    ]


def _fill(con: duckdb.DuckDBPyConnection, table: str, rows: Sequence[tuple[str | None, ...]]) -> None:
    """Replace all rows of a small table with one INSERT, which writes one file."""
    columns = ", ".join(f"unnest($column_{index})" for index in range(len(TABLES[table].columns)))
    values = {f"column_{index}": list(column) for index, column in enumerate(zip(*rows, strict=True))}
    con.execute(f"DELETE FROM lake.main.{table}")
    con.execute(f"INSERT INTO lake.main.{table} SELECT {columns}", values)


def _comment(help_: Help) -> str:
    text = f"{help_.description} Columns: {help_.gives}"
    return f"COMMENT ON VIEW lake.main.{help_.name} IS '{quoted(text)}'"


def fingerprint() -> str:
    """A hash of the SQL of the views and of the declarations of all tables."""
    declared = ([(name, table.description, table.columns) for name, table in TABLES.items()], column_lineage())
    digest = hashlib.sha256(repr(declared).encode())
    for file in analyst_files():
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]

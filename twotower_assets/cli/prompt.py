"""The interactive SQL prompt of `twotower sql`, on a connection that the caller opens read-only."""

from __future__ import annotations

import contextlib

import duckdb

WELCOME = "DuckDB {version}, the lake is attached read-only. End a statement with ';', leave with .exit or Ctrl-D."


def run_prompt(con: duckdb.DuckDBPyConnection) -> None:
    """Read statements from the terminal and print their results until the input ends."""
    with contextlib.suppress(ImportError):
        import readline  # noqa: F401  # gives input() line editing and history
    print(WELCOME.format(version=duckdb.__version__))
    statement = ""
    while True:
        try:
            line = input("   …> " if statement else "lake> ")
        except EOFError:
            print()
            return
        except KeyboardInterrupt:
            print()
            statement = ""
            continue
        if not statement and line.strip() in (".exit", ".quit", "exit", "quit"):
            return
        statement = f"{statement}\n{line}".strip()
        if statement.endswith(";"):
            show(con, statement)
            statement = ""


def show(con: duckdb.DuckDBPyConnection, statement: str) -> None:
    """Run one statement and print its rows, or DuckDB's message."""
    try:
        relation = con.sql(statement)
        if relation is not None:
            relation.show()
    except duckdb.Error as error:
        print(error)

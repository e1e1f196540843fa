"""A program that reads the lake repeatedly, as an analyst would, until a stop file appears, and records what it saw.

`analyst.py FOLDER NAME WAY`: FOLDER holds `states.json`, the two valid states of the tables; WAY is one of the
documented ways to attach. Each reading is one transaction: a fingerprint of each day of each table, then of the list
that a macro returns, then of the first table again.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

TABLES = (
    "impressions",
    "rejected_impressions",
    "item_frequency_daily",
    "item_frequency",
    "exposure_log",
    "training_pairs",
)
WAYS = ("session", "new session", "reader", "twotower sql", "duckdb")
COMPANIONS = ("rejected_impressions", "recommend")
"""Readings that must have the same state as `impressions`: a table committed with it, and a list that depends on it."""
TABLE_FINGERPRINT = (
    "SELECT day::VARCHAR AS day, count(*) AS rows, bit_xor(hash(read))::VARCHAR AS content "
    "FROM {table} AS read GROUP BY ALL ORDER BY ALL"
)
MACRO_ROWS = "SELECT rank, item_id, score::VARCHAR AS score FROM recommend('u3', 10, 0.5) ORDER BY rank"
PAUSE = 0.2
Reading = dict[str, Any]


def statements() -> dict[str, str]:
    """The queries of one transaction by name, in order."""
    return {
        **{table: TABLE_FINGERPRINT.format(table=table) for table in TABLES},
        "recommend": MACRO_ROWS,
        "impressions again": TABLE_FINGERPRINT.format(table="impressions"),
    }


def in_one_statement() -> str:
    """The same queries as one statement with one column per name."""
    columns = (
        f'(SELECT list(row ORDER BY row) FROM ({query}) AS row) AS "{name}"' for name, query in statements().items()
    )
    return f"SELECT {', '.join(columns)}"


def read_everything(con: duckdb.DuckDBPyConnection) -> Reading:
    """A fingerprint of everything, in the connection's current transaction."""
    return {name: [list(row) for row in con.execute(query).fetchall()] for name, query in statements().items()}


def read_in_one_transaction(con: duckdb.DuckDBPyConnection) -> Reading:
    """A fingerprint of everything, read in one new transaction."""
    con.execute("BEGIN TRANSACTION")
    try:
        return read_everything(con)
    finally:
        con.execute("COMMIT")


def read_by_command(*command: str) -> Reading:
    """The same through a command that prints JSON. Raises `RuntimeError` with its output if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr or done.stdout)
    (row,) = json.loads(done.stdout)
    return {name: [list(fields.values()) for fields in value or []] for name, value in row.items()}


def ways() -> dict[str, Callable[[], Reading]]:
    """A function per way to attach that makes one reading."""
    import twotower_assets
    from twotower_assets.settings import load_settings
    from twotower_assets.workspace import open_workspace

    kept: list[duckdb.DuckDBPyConnection] = []

    def session() -> Reading:
        if not kept:
            kept.append(twotower_assets.connect())
        return read_in_one_transaction(kept[0])

    def new_session() -> Reading:
        with twotower_assets.connect() as con:
            return read_in_one_transaction(con)

    def reader() -> Reading:
        with open_workspace(load_settings()).lake.reader(transaction=False) as con:
            return read_in_one_transaction(con)

    def sql() -> Reading:
        return read_by_command("twotower", "sql", "--json", in_one_statement())

    @functools.cache
    def attach() -> str:
        return subprocess.run(["twotower", "attach"], capture_output=True, text=True, check=True).stdout

    def command_line() -> Reading:
        return read_by_command("duckdb", "-json", "-cmd", attach(), "-c", in_one_statement())

    return dict(zip(WAYS, (session, new_session, reader, sql, command_line), strict=True))


def wrong_with(reading: Reading, states: list[Reading]) -> list[str]:
    """The parts of a reading that match neither state, or another state than `impressions`."""
    wrong = [f"{name}: torn: {read}" for name, read in reading.items() if read not in [state[name] for state in states]]
    if reading["impressions"] != reading["impressions again"]:
        wrong.append("impressions changed within a transaction")
    for name in COMPANIONS:
        if not any(state["impressions"] == reading["impressions"] and state[name] == reading[name] for state in states):
            wrong.append(f"impressions and {name} are of two states in one transaction")
    return wrong


def main(folder: Path, name: str, way: str) -> None:
    os.nice(10)  # so that a slow writer was blocked, and did not merely share the processor
    states = json.loads((folder / "states.json").read_text())
    read = ways()[way]
    readings, wrong, seen = 0, [], set()
    while not (folder / "stop").exists():
        try:
            reading = json.loads(json.dumps(read()))
            wrong += wrong_with(reading, states)
            seen |= {index for index, state in enumerate(states) if reading["impressions"] == state["impressions"]}
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {error}")
        readings += 1
        (folder / f"{name}.started").touch()
        time.sleep(PAUSE)
    result = {"way": way, "readings": readings, "seen": sorted(seen), "wrong": wrong}
    (folder / f"{name}.json").write_text(json.dumps(result))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])

"""DuckDB instances with the extensions of a lake, used again: loading the extensions takes longer than most queries.

An instance that nobody uses has nothing attached and every setting at its default. What is attached, and the settings
of a lake, live in `lake`.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from twotower_assets.lake.extensions import EXTENSIONS, load_extension

log = logging.getLogger(__name__)

_idle: deque[duckdb.DuckDBPyConnection] = deque()
_of_other_processes: list[deque[duckdb.DuckDBPyConnection]] = []


def fresh() -> duckdb.DuckDBPyConnection:
    """A connection to an instance of its own, with the extensions. Raises `LakeError` where they cannot be loaded."""
    con = duckdb.connect()
    try:
        for name, package in EXTENSIONS.items():
            load_extension(con, name, package)
    except BaseException:
        con.close()
        raise
    return con


@contextmanager
def borrowed() -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to an instance that nobody else uses meanwhile; closed afterwards, and with it what is temporary."""
    try:
        instance = _idle.pop()
    except IndexError:
        instance = fresh()
    try:
        with instance.cursor() as con:
            yield con
    except BaseException:
        instance.close()
        raise
    _give_back(instance)


def _give_back(instance: duckdb.DuckDBPyConnection) -> None:
    try:
        instance.execute("DETACH DATABASE IF EXISTS lake")
        instance.execute("RESET memory_limit; RESET threads; RESET temp_directory")
    except duckdb.Error as error:  # it has spilled, and cannot spill to another folder
        log.debug("a DuckDB instance is not used again: %s", error)
        instance.close()
    else:
        _idle.append(instance)


def _forget() -> None:
    """In a forked process: the threads of these instances are not there, and closing them would wait for them."""
    _of_other_processes.append(_idle.copy())
    _idle.clear()


os.register_at_fork(after_in_child=_forget)

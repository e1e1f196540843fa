"""A pool of DuckDB instances with the lake's extensions, because loading these takes longer than most queries.

An idle instance has nothing attached and default settings. `lake` attaches a lake and sets its options.
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
_inherited: list[deque[duckdb.DuckDBPyConnection]] = []


def fresh() -> duckdb.DuckDBPyConnection:
    """A connection to a new instance with the extensions. Raises `LakeError` if they cannot be loaded."""
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
    """An exclusive connection to a pooled instance. It is closed afterwards, with its temporary tables."""
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
    except duckdb.Error as error:  # it has spilled to disk, and its temporary folder can no longer be changed
        log.debug("a DuckDB instance cannot be reused: %s", error)
        instance.close()
    else:
        _idle.append(instance)


def _forget() -> None:
    """In a forked process the threads of these instances do not exist, and closing one would wait for them forever."""
    _inherited.append(_idle.copy())
    _idle.clear()


os.register_at_fork(after_in_child=_forget)

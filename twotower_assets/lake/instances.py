"""A pool of DuckDB instances with the lake's extensions, each with a lake attached.

Loading the extensions and reading the catalogue's list of tables takes longer than most queries, so an idle instance
keeps both; every transaction looks up the newest snapshot. An idle instance has default settings and no open
transaction.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from twotower_assets.lake.extensions import EXTENSIONS, load_extension

log = logging.getLogger(__name__)

MOST_IDLE = 6
"""Instances that wait to be used again; the one that has waited longest is closed first."""

Attachment = tuple[str, int, int]
"""The statement that attached a lake, and device and inode of its catalogue: another file may come to its path."""

_idle: deque[tuple[Attachment, duckdb.DuckDBPyConnection]] = deque()
_inherited: list[deque[tuple[Attachment, duckdb.DuckDBPyConnection]]] = []


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
def borrowed(statement: str, catalog: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """An exclusive connection to an instance in which `statement` has attached the lake with this catalogue file.

    It is closed afterwards, with its temporary tables. Raises `duckdb.Error` if the lake cannot be attached.
    """
    instance, attachment = _taken(statement, catalog)
    try:
        if attachment is None:
            instance.execute(statement)
            attachment = _attachment(statement, catalog)
        with instance.cursor() as con:
            yield con
    except BaseException:
        instance.close()
        raise
    _give_back(attachment, instance)


def _attachment(statement: str, catalog: Path) -> Attachment:
    file = catalog.stat()
    return statement, file.st_dev, file.st_ino


def _taken(statement: str, catalog: Path) -> tuple[duckdb.DuckDBPyConnection, Attachment | None]:
    """An idle instance with this attachment; else one without: of another lake, or a fresh one."""
    wanted = _attachment(statement, catalog) if catalog.exists() else None
    for place in reversed(range(len(_idle))):
        attachment, instance = _idle[place]
        if attachment == wanted:
            del _idle[place]
            return instance, attachment
    for place, (attachment, instance) in enumerate(_idle):
        if wanted is None or attachment[1:] != wanted[1:]:
            del _idle[place]
            instance.execute("DETACH DATABASE IF EXISTS lake")
            return instance, None
    return fresh(), None


def _give_back(attachment: Attachment, instance: duckdb.DuckDBPyConnection) -> None:
    try:
        instance.execute("RESET memory_limit; RESET threads; RESET temp_directory")
    except duckdb.Error as error:  # it has spilled to disk, and its temporary folder can no longer be changed
        log.debug("a DuckDB instance cannot be reused: %s", error)
        instance.close()
        return
    _idle.append((attachment, instance))
    while len(_idle) > MOST_IDLE:
        _idle.popleft()[1].close()


def _forget() -> None:
    """In a forked process the threads of these instances do not exist, and closing one would wait for them forever."""
    _inherited.append(_idle.copy())
    _idle.clear()


os.register_at_fork(after_in_child=_forget)

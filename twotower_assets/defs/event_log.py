"""Speeds up Dagster's SQLite event log: no disk sync per event.

Dagster commits each event separately, and SQLite syncs the disk two or three times per commit. In WAL mode
`synchronous = NORMAL` is equally safe when a process is killed; a power cut may lose the latest events but never
corrupts the database (https://www.sqlite.org/pragma.html#pragma_synchronous). Keeping a connection open avoids a
checkpoint at every close. Files outside DAGSTER_HOME are never touched. The opt-in storage that writes events in
batches is in `event_storage`.
"""

from __future__ import annotations

import os
import sqlite3
from collections import OrderedDict
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

HELD_OPEN = 8
"""Files with a connection kept open: the indexes over all runs, and the active runs."""

_held_open: OrderedDict[str, sqlite3.Connection] = OrderedDict()


def speed_up_sqlite_event_log() -> None:
    """Apply these settings to every SQLite file below DAGSTER_HOME that this process opens from now on."""
    if not event.contains(Engine, "connect", _on_connect):
        event.listen(Engine, "connect", _on_connect)


def _on_connect(connection: Any, _record: Any) -> None:
    home = os.environ.get("DAGSTER_HOME")
    if not home or not isinstance(connection, sqlite3.Connection):
        return
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    if not path or not _below(path, home):
        return
    connection.execute("PRAGMA synchronous = NORMAL")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        _hold_open(path)


@lru_cache(maxsize=1024)
def _below(file: str, folder: str) -> bool:
    return Path(file).resolve().is_relative_to(Path(folder).resolve())


def _hold_open(path: str) -> None:
    if path not in _held_open:
        # Closed when the process ends, as SQLite connections are.
        held = sqlite3.connect(path, check_same_thread=False)
        held.execute("PRAGMA schema_version").fetchone()
        _held_open[path] = held
    _held_open.move_to_end(path)
    while len(_held_open) > HELD_OPEN:
        _held_open.popitem(last=False)[1].close()

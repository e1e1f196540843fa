"""Dagster's SQLite event log, without a disk sync per event.

Dagster opens, commits and closes a connection for every event, and each time SQLite syncs the disk two or three times:
about 20 ms an event, minutes for a range of some hundred partitions. In WAL mode `synchronous = NORMAL` survives a
killed process just as well, and after a power cut may lose the latest events but never the database
(https://www.sqlite.org/pragma.html#pragma_synchronous). A connection held open saves the checkpoint at every close.
Nothing of this touches the lake.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

_held_open: dict[str, sqlite3.Connection] = {}


def speed_up_sqlite_event_log() -> None:
    """Apply this to every SQLite connection that SQLAlchemy opens in this process from now on."""
    if not event.contains(Engine, "connect", _on_connect):
        event.listen(Engine, "connect", _on_connect)


def _on_connect(connection: Any, _record: Any) -> None:
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.execute("PRAGMA synchronous = NORMAL")
    path = connection.execute("PRAGMA database_list").fetchone()[2]
    in_wal_mode = connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    if path and in_wal_mode and path not in _held_open:
        # Closed when the process ends, as SQLite connections are.
        held = sqlite3.connect(path, check_same_thread=False)
        held.execute("PRAGMA schema_version").fetchone()
        _held_open[path] = held

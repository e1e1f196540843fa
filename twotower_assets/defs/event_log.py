"""Dagster's SQLite files without a disk sync per event, and its events handed over in batches.

Dagster commits every event by itself, and each time SQLite syncs the disk two or three times: about 20 ms an event,
minutes for a range of some hundred partitions. In WAL mode `synchronous = NORMAL` survives a killed process just as
well, and after a power cut may lose the latest events but never the database
(https://www.sqlite.org/pragma.html#pragma_synchronous). A connection held open saves the checkpoint at every close.
Nothing of this touches the lake. How a batch is stored is in `event_storage`.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any

BATCH_SIZE = 1000
"""Events that Dagster hands over at once, at most: the plan of a run, and the materializations of an asset."""

_held_open: dict[str, sqlite3.Connection] = {}


def speed_up_sqlite_event_log() -> None:
    """Apply this to every SQLite connection that SQLAlchemy opens in this process from now on."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))
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

"""An opt-in variant of Dagster's SQLite event log that keeps connections open and writes events in batches.

Dagster's own storage opens two connections per event and recompiles its statements each time, about 8 ms; a run over
107 days of all features has 1,300 events. The rows and files written are the same. How SQLite syncs is in `event_log`.

This is one of two modules that use private parts of Dagster: it extends `SqliteEventLogStorage`, which Dagster does not
export, and calls its `_store_asset_event` and `_store_asset_event_tags`. If their arguments differ from those in
Dagster 1.13, events are stored one by one, as Dagster does. Without this module `TWOTOWER_EVENT_LOG=batched` has no
effect, and homes made before release 0.2 open only once `event_log_storage` is deleted from their `dagster.yaml`.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from threading import RLock
from typing import Any

import sqlalchemy as sa
from dagster import DagsterEventType, EventLogEntry
from dagster._core.events import ASSET_EVENTS
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData
from sqlalchemy.pool import StaticPool

OPEN_RUNS = 4
"""Runs whose file stays open, in addition to the index over all runs."""

BATCH_SIZE = 1000
"""Most events that Dagster hands over at once: the plan of a run, or the materializations of an asset."""


def stores_batches(storage: type[SqliteEventLogStorage] = SqliteEventLogStorage) -> bool:
    """Whether Dagster's storage has the private methods that batches need, with the arguments of Dagster 1.13."""
    expected = {
        "_store_asset_event": ["self", "conn", "event", "event_id"],
        "_store_asset_event_tags": ["self", "conn", "events", "event_ids"],
    }
    found = {name: list(signature(getattr(storage, name, lambda: None)).parameters) for name in expected}
    return found == expected


class LocalEventLog(SqliteEventLogStorage):
    """The event log of a home folder, in the same files as Dagster's own; selected in `dagster.yaml`."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()
        self._lock = RLock()
        self._stores_batches = stores_batches()
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> LocalEventLog:
        """The event log below the Dagster home `base_dir`, in Dagster's default location."""
        return cls(str(Path(config_value["base_dir"]) / "history" / "runs"), inst_data)

    def run_connection(self, run_id: str | None = None) -> Any:
        """A transaction on the file of a run."""
        return self._transaction(str(run_id))

    def index_connection(self) -> Any:
        """A transaction on the index over all runs."""
        return self._transaction(INDEX_SHARD_NAME)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events: asset events in one transaction per run, all or none; all other events one by one."""
        batches: dict[str, list[EventLogEntry]] = {}
        for entry in events:
            if self._stores_batches and entry.dagster_event_type in ASSET_EVENTS:
                batches.setdefault(entry.run_id, []).append(entry)
            else:
                self.store_event(entry)
        for run_id, batch in batches.items():
            self._store_asset_events(run_id, batch)

    def _store_asset_events(self, run_id: str, events: Sequence[EventLogEntry]) -> None:
        statements = [self.prepare_insert_event(entry) for entry in events]
        with self.run_connection(run_id) as run, self.index_connection() as index:
            for statement in statements:
                run.execute(statement)
            ids = [index.execute(statement).inserted_primary_key[0] for statement in statements]
            self._store_asset_event_tags(index, events, ids)
            # The index keeps only the latest event of each type per asset.
            newest = {_kind(entry): (entry, event_id) for entry, event_id in zip(events, ids, strict=True)}
            for entry, event_id in newest.values():
                self._store_asset_event(index, entry, event_id)

    def wipe(self) -> None:
        """Delete all runs."""
        self._close()
        super().wipe()

    def dispose(self) -> None:
        """Close the files."""
        self._close()
        super().dispose()

    @contextmanager
    def _transaction(self, shard: str) -> Iterator[sa.Connection]:
        with self._lock, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> sa.Engine:
        if shard not in self._engines:
            with super().run_connection(shard):
                pass  # creates the tables if there are none yet
            self._engines[shard] = sa.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
        self._engines.move_to_end(shard)
        runs = [name for name in self._engines if name != INDEX_SHARD_NAME]
        for longest_unused in runs[:-OPEN_RUNS]:
            self._engines.pop(longest_unused).dispose()
        return self._engines[shard]

    def _close(self) -> None:
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()


def _kind(entry: EventLogEntry) -> tuple[str | None, DagsterEventType | None]:
    found = entry.get_dagster_event()
    return found.asset_key.to_string() if found.asset_key else None, entry.dagster_event_type

"""Dagster's SQLite event log with its connections kept, and a batch of events in one transaction: an opt-in.

Dagster's own opens two connections for every event, and compiles its statements anew for each: some 8 ms, and a run
over 107 days of all features has 1,300. What is written, and where, is the same. How SQLite syncs is in `event_log`.

It is one of the two modules here that use private parts of Dagster: it extends `SqliteEventLogStorage`, which Dagster
exports nowhere, and calls its `_store_asset_event` and `_store_asset_event_tags`. Where these take other arguments than
in Dagster 1.13, events are stored one by one, as Dagster does. Without it `TWOTOWER_EVENT_LOG=batched` is lost, and
homes made before release 0.2 do not open until `event_log_storage` is deleted from their `dagster.yaml`.
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
"""Runs whose file is kept open, besides the index over all runs."""

BATCH_SIZE = 1000
"""Events that Dagster hands over at once, at most: the plan of a run, and the materializations of an asset."""


def stores_batches(storage: type[SqliteEventLogStorage] = SqliteEventLogStorage) -> bool:
    """Whether Dagster's storage has the private methods that a batch is stored with, with the arguments of 1.13."""
    expected = {
        "_store_asset_event": ["self", "conn", "event", "event_id"],
        "_store_asset_event_tags": ["self", "conn", "events", "event_ids"],
    }
    found = {name: list(signature(getattr(storage, name, lambda: None)).parameters) for name in expected}
    return found == expected


class LocalEventLog(SqliteEventLogStorage):
    """The event log of a home folder, in the files that Dagster's own would use; `dagster.yaml` names it."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None):
        self._engines: OrderedDict[str, sa.Engine] = OrderedDict()
        self._one_at_a_time = RLock()
        self._stores_batches = stores_batches()
        os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(BATCH_SIZE))
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> LocalEventLog:
        """The event log below the Dagster home `base_dir`, where Dagster's default lies too."""
        return cls(str(Path(config_value["base_dir"]) / "history" / "runs"), inst_data)

    def run_connection(self, run_id: str | None = None) -> Any:
        """A transaction on the file of a run."""
        return self._transaction(str(run_id))

    def index_connection(self) -> Any:
        """A transaction on the index over all runs."""
        return self._transaction(INDEX_SHARD_NAME)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events: those of assets in one transaction per run, all or none of them, the others one by one."""
        of_runs: dict[str, list[EventLogEntry]] = {}
        for one in events:
            if self._stores_batches and one.dagster_event_type in ASSET_EVENTS:
                of_runs.setdefault(one.run_id, []).append(one)
            else:
                self.store_event(one)
        for run_id, together in of_runs.items():
            self._store_asset_events(run_id, together)

    def _store_asset_events(self, run_id: str, events: Sequence[EventLogEntry]) -> None:
        statements = [self.prepare_insert_event(one) for one in events]
        with self.run_connection(run_id) as of_run, self.index_connection() as index:
            for statement in statements:
                of_run.execute(statement)
            ids = [index.execute(statement).inserted_primary_key[0] for statement in statements]
            self._store_asset_event_tags(index, events, ids)
            # Of each asset the index remembers what came last.
            newest = {_kind(one): (one, stored) for one, stored in zip(events, ids, strict=True)}
            for one, stored in newest.values():
                self._store_asset_event(index, one, stored)

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
        with self._one_at_a_time, self._engine(shard).begin() as connection:
            yield connection

    def _engine(self, shard: str) -> sa.Engine:
        if shard not in self._engines:
            with super().run_connection(shard):
                pass  # it makes the tables where there are none yet
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
        with self._one_at_a_time:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()


def _kind(entry: EventLogEntry) -> tuple[str | None, DagsterEventType | None]:
    found = entry.get_dagster_event()
    return found.asset_key.to_string() if found.asset_key else None, entry.dagster_event_type

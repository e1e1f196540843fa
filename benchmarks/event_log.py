"""What Dagster's event log costs in a run over many days, by how it is stored.

    python benchmarks/event_log.py [--days 182] [--rounds 5]

An asset that does nothing is materialized for a range of days, in a home of its own. `as it comes`: Dagster's storage
on SQLite's defaults. `dagster`: the same with `synchronous = NORMAL` and held connections, the platform's default.
`batched`: `TWOTOWER_EVENT_LOG=batched`.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import dagster as dg
from timing import Spread, alternate, machine_line, print_table

from twotower_assets.defs.event_log import speed_up_sqlite_event_log
from twotower_assets.workspace import dagster_yaml

STORAGES = ("as it comes", "dagster", "batched")


def seconds(storage: str, days: int) -> float:
    """Of a run over a range of days, with its events."""
    end = date(2024, 1, 1) + timedelta(days=days)
    partitions = dg.DailyPartitionsDefinition("2024-01-01", end_date=end.isoformat())

    @dg.asset(partitions_def=partitions, backfill_policy=dg.BackfillPolicy.single_run())
    def daily(context) -> dg.MaterializeResult:  # type: ignore[no-untyped-def]  # Dagster reads no postponed annotation
        return dg.MaterializeResult(metadata={"rows": len(context.partition_keys)})

    keys = partitions.get_partition_keys()
    tags = {"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]}
    speed_up_sqlite_event_log()  # below DAGSTER_HOME only
    with tempfile.TemporaryDirectory() as home, tempfile.TemporaryDirectory() as elsewhere:
        os.environ["DAGSTER_HOME"] = elsewhere if storage == "as it comes" else home
        os.environ.pop("DAGSTER_EVENT_BATCH_SIZE", None)
        config = dagster_yaml(storage)
        (Path(home) / "dagster.yaml").write_text(config)
        with dg.DagsterInstance.from_config(home) as instance:
            started = time.perf_counter()
            if not dg.materialize([daily], instance=instance, tags=tags).success:
                raise RuntimeError("the run failed")
            return time.perf_counter() - started


def compared(days: int, rounds: int, storages: tuple[str, ...] = STORAGES) -> dict[str, Spread]:
    """Seconds of each storage, in alternation."""
    measures = {storage: partial(seconds, storage, days) for storage in storages}
    return {storage: Spread.of(found) for storage, found in alternate(measures, rounds).items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", type=int, default=182)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(machine_line())
    found = compared(options.days, options.rounds)
    least = found["batched"].median
    rows = [
        [
            storage,
            spread.text(".2f"),
            f"{1000 * spread.median / (2 * options.days):.1f}",
            f"{spread.median / least:.1f}",
        ]
        for storage, spread in found.items()
    ]
    headings = ["storage", "seconds", "ms per event", "times as long as batched"]
    print_table(f"A run over {options.days} days of an asset that does nothing", headings, rows)


if __name__ == "__main__":
    main()

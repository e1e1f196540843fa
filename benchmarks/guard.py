"""Fails where a gain in speed is lost: ratios of things measured side by side, never seconds.

    python benchmarks/guard.py [--only NAME …]

Each bound is about half of what was measured when the gain was made (docs/performance.md), as machines are noisy.
Some two minutes; not part of the tests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import event_log as event_log_benchmark
import numpy as np
import training_throughput
from timing import Spread, alternate, machine_line, print_table

from twotower_assets.two_tower.sampling.batches import spread_batches

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Guard:
    """How many times as fast something is, and at least must be."""

    what: str
    least: float
    times: Callable[[], float]


def training(size: str, batch_size: int, slower: str) -> Callable[[], float]:
    """The platform's step, recipe logq, to a peer's."""

    def times() -> float:
        rows = training_throughput.compared(size, batch_size, seconds=1.0, rounds=3, only={slower})
        return next(float(row["ours_is_times_as_fast"]["median"]) for row in rows if row["who"] == slower)

    return times


def shuffle() -> float:
    """Batches of distinct users to the three sorts by comparison that they would otherwise take."""
    random = np.random.default_rng(0)
    user, item = random.integers(100_000, size=2_000_000), (random.random(2_000_000) ** 3 * 20_000).astype(np.int64)
    place = random.random(len(user))

    def ours() -> float:
        started = time.perf_counter()
        spread_batches(user, item, 1024, np.random.default_rng(1))
        return time.perf_counter() - started

    def sorts() -> float:
        started = time.perf_counter()
        np.lexsort((place, item)), np.lexsort((place, user)), np.argsort(place, kind="stable")
        return time.perf_counter() - started

    found = alternate({"ours": ours, "sorts": sorts}, rounds=3)
    return Spread.of(found["sorts"]).median / Spread.of(found["ours"]).median


def event_log() -> float:
    """A run over half a year of days, its events in batches and as Dagster stores them."""
    found = event_log_benchmark.compared(days=182, rounds=3, storages=("dagster", "batched"))
    return found["dagster"].median / found["batched"].median


def feature(name: str, beside: str) -> Callable[[], float]:
    """A feature over a million impressions, to the same in Polars or to copying the log."""

    def times() -> float:
        with tempfile.TemporaryDirectory() as folder:
            lines = Path(folder) / "lines.jsonl"
            command = [sys.executable, str(HERE / "feature_sql.py"), "--short", "--out", folder, "--json", str(lines)]
            subprocess.run(command, check=True, capture_output=True)
            rows = [json.loads(line) for line in lines.read_text().splitlines()]
        seconds = {(row["engine"], row["feature"]): row["seconds"] for row in rows}
        slower = seconds["copy", "impressions"] if beside == "copy" else seconds[beside, name]
        return float(slower / seconds["platform", name])

    return times


GUARDS = {
    "columns": Guard(
        "step at batches of 4,096 to the plain loss alone", 5.0, training("small", 4096, "plain loss alone")
    ),
    "step": Guard("step at batches of 1,024 to a textbook's", 2.0, training("small", 1024, "textbook")),
    "rows": Guard("step at a million users to a textbook's", 12.0, training("large", 4096, "textbook")),
    "shuffle": Guard("batches of distinct users to sorting", 1.5, shuffle),
    "event_log": Guard("events of a range of days to Dagster's storage", 2.0, event_log),
    "training_pairs": Guard("training pairs to the same in Polars", 0.5, feature("training_pairs", "polars")),
}


def main() -> int:
    """Measure the guards that are asked for; the number of them that failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", nargs="+", choices=GUARDS, default=list(GUARDS), metavar="NAME", help=", ".join(GUARDS)
    )
    options = parser.parse_args()
    print(machine_line())
    rows, failed = [], 0
    for name in options.only:
        guard = GUARDS[name]
        found = guard.times()
        print(f"{name}: {found:.2f}", flush=True)
        failed += found < guard.least
        rows.append([name, guard.what, f"{found:.2f}", f"{guard.least:g}", "" if found >= guard.least else "LOST"])
    print_table("How many times as fast", ["guard", "what", "measured", "at least", ""], rows)
    return failed


if __name__ == "__main__":
    sys.exit(main())

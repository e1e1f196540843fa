"""How fast the platform trains: positive pairs per second of the whole step, beside what people use, and the limit.

    python benchmarks/training_throughput.py [--short] [--json PATH]

The step is all of it: drawing the batch, look-up, towers, masks, correction, loss, gradients, update, moving average;
the next batch is drawn meanwhile where a processor is free. Towers are those of the peers: an id vector of 64 and an
MLP of 64 hidden units on each side. The peers correct and mask nothing. The limit is the three matrix products of a
dense step, in float32.
Everything is measured in turn, in one process (TensorFlow in its own), and compared round by round.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import peers
import pyarrow as pa
import torch
from peers import Peer, PeerMissingError, Work
from timing import Spread, machine_line, peak_resident_set, print_table, write_json_lines

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.two_tower.data.training_set import TrainingSet, build_training_set
from twotower_assets.two_tower.sampling.batches import epoch_generator, spread_batches
from twotower_assets.two_tower.training.loop import Trainer
from twotower_assets.two_tower.training.prefetch import prefetched

SMALL = {"n_users": 6_040, "n_items": 3_706, "n_pairs": 1_000_000}
LARGE = {"n_users": 1_000_000, "n_items": 200_000, "n_pairs": 2_000_000}
ASKED = {
    ("small", 1024): {"peers": 3.0, "TensorFlow Recommenders, XLA": 2.5},
    ("small", 4096): {"peers": 1.5, "three products": 0.65},
    ("large", 1024): {"textbook": 40.0, "textbook, SparseAdam": 2.0},
    ("large", 4096): {"textbook": 7.0, "textbook, SparseAdam": 2.0},
}
"""At least so many times as fast; 'peers' is the faster of the textbook's loop and TensorFlow Recommenders."""
OURS = "twotower_assets, logq"
PEERS = (
    "textbook",
    "textbook, SparseAdam",
    "textbook, SparseAdam, sliced",
    "TensorFlow Recommenders",
    "TensorFlow Recommenders, XLA",
)
MEMORY_BATCHES = (1_024, 16_384)


def training_set(work: Work, config: TrainingConfig) -> TrainingSet:
    """The pairs as the platform reads them; every item is in the catalogue."""
    pairs = pa.table(
        {
            "user_id": pa.array(work.user).cast(pa.string()),
            "item_id": pa.array(work.item).cast(pa.string()),
            "history": pa.nulls(len(work.user), pa.list_(pa.string())),
        }
    )
    items = pa.table({"item_id": pa.array(range(work.n_items)).cast(pa.string())})
    return build_training_set(pairs, items, pa.table({"user_id": pa.array([], pa.string())}), config)


def config_of(work: Work, recipe: str, **changes: Any) -> TrainingConfig:
    """A shipped recipe with the towers of the peers."""
    towers = {"batch_size": work.batch_size, "hidden_sizes": [64], "history_length": 0, "dimensions": work.dimensions}
    return load_recipes()[recipe].config(**towers, **changes)


def workspace(data: TrainingSet, config: TrainingConfig) -> Peer:
    """The loop of `training.train`, without validation."""
    trainer = Trainer(data, config)

    def endless() -> Iterator[Any]:
        epoch = 0
        while True:
            epoch += 1
            generator = epoch_generator(config.seed, epoch)
            for rows in spread_batches(data.user, data.item, config.batch_size, generator):
                yield trainer.objective.sampler.draw(rows, generator)

    coming = prefetched(endless())
    return peers.per_second(config.batch_size, lambda: trainer.step(next(coming)))


def compared(
    size: str, batch_size: int, seconds: float, rounds: int, only: set[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Pairs per second of the platform with recipe logq, and of everybody else or those in `only`, at one size."""
    work = peers.zipf_work(**{"small": SMALL, "large": LARGE}[size], batch_size=batch_size)
    data = training_set(work, config_of(work, "logq"))
    makers: dict[str, Callable[[], Peer]] = {
        OURS: lambda: workspace(data, config_of(work, "logq")),
        "twotower_assets, best": lambda: workspace(data, config_of(work, "best")),
        "twotower_assets, logq, float32": lambda: workspace(data, config_of(work, "logq", products="float32")),
        "textbook": lambda: peers.textbook(work),
        "textbook, SparseAdam": lambda: peers.textbook(work, sparse=True),
        "textbook, SparseAdam, sliced": lambda: peers.textbook(work, sparse=True, batches="sliced"),
        "plain loss alone": lambda: peers.plain_loss(work),
        "three products": lambda: peers.three_products(work),
    }
    measured = {name: make() for name, make in makers.items() if only is None or name in only | {OURS}}
    with ExitStack() as stack:
        for name, jit in (("TensorFlow Recommenders", False), ("TensorFlow Recommenders, XLA", True)):
            if size == "small" and only is None:
                try:
                    measured[name] = stack.enter_context(peers.tensorflow_recommenders(work, jit=jit))
                except PeerMissingError as error:
                    print(error)
        found = peers.measure(measured, seconds, rounds)
    ours = np.array(found[OURS])
    for name, values in found.items():
        spread = Spread.of(values)
        ratio = Spread.of((ours / np.array(values)).tolist())
        yield {
            "size": size,
            "batch_size": batch_size,
            "who": name,
            "pairs_per_second": vars(spread),
            "ours_is_times_as_fast": vars(ratio),
        }


def print_comparison(rows: list[dict[str, Any]]) -> None:
    """A table per size, and whether what is asked for holds."""
    first = rows[0]
    asked = ASKED[first["size"], first["batch_size"]]
    ratios = {row["who"]: row["ours_is_times_as_fast"]["median"] for row in rows}
    best = min((row["who"] for row in rows if row["who"] in PEERS), key=ratios.__getitem__, default=None)
    ratios["peers"] = min(ratios.get(one, float("inf")) for one in ("textbook", "TensorFlow Recommenders"))
    sizes = {"small": SMALL, "large": LARGE}[first["size"]]
    title = f"{sizes['n_users']:,} users × {sizes['n_items']:,} items, batches of {first['batch_size']:,}"
    print_table(
        title,
        ["who", "pairs/s: median (range)", f"{OURS} is … times as fast"],
        [
            [row["who"], Spread(**row["pairs_per_second"]).text(), Spread(**row["ours_is_times_as_fast"]).text(".2f")]
            for row in rows
        ],
    )
    if best is not None:
        print(f"  {ratios[best]:.2f} × {best}, the fastest peer of all")
    for peer, least in asked.items():
        if peer not in ratios:
            print(f"  not measured: {peer}")
            continue
        print(f"  {ratios[peer]:.2f} × {peer}, asked {least}: {'holds' if ratios[peer] >= least else 'DOES NOT HOLD'}")
    print()


def peak_memory(batch_size: int) -> float:
    """MiB of a process that trains some steps at the small size, at its peak."""
    command = [sys.executable, __file__, "--peak-memory-of", str(batch_size)]
    return float(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["mib"])


def train_and_tell_memory(batch_size: int) -> None:
    """What `peak_memory` starts."""
    work = peers.zipf_work(**SMALL, batch_size=batch_size)
    config = config_of(work, "logq")
    train = workspace(training_set(work, config), config)
    Path("/proc/self/clear_refs").write_text("5")  # the peak so far was that of building the training set
    train(max(5, 40_000 // batch_size))
    print(json.dumps({"mib": peak_resident_set()}))


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the small size alone, three short rounds")
    parser.add_argument("--json", type=Path, help="write a line of JSON per measurement")
    parser.add_argument("--peak-memory-of", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peak_memory_of:
        train_and_tell_memory(options.peak_memory_of)
        return
    print(machine_line(), "\n")
    torch.manual_seed(0)
    rows = []
    for size, batch_size in [one for one in ASKED if one[0] == "small" or not options.short]:
        found = list(compared(size, batch_size, *((1.0, 3) if options.short else (1.5, 5))))
        print_comparison(found)
        rows += found
    memory = {batch_size: peak_memory(batch_size) for batch_size in MEMORY_BATCHES}
    low, high = (memory[one] for one in MEMORY_BATCHES)
    listed = ", ".join(f"{mib:,.0f} MiB at batches of {batch_size:,}" for batch_size, mib in memory.items())
    outcome = "holds" if high < 1.3 * low else "DOES NOT HOLD"
    print(f"Peak memory of the process: {listed}; {high / low:.2f} times, asked 1.3: {outcome}")
    rows += [{"who": OURS, "batch_size": one, "peak_mib": mib} for one, mib in memory.items()]
    if options.json:
        write_json_lines(options.json, rows)


if __name__ == "__main__":
    main()

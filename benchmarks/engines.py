"""Both engines on the same problems: positive pairs per second of the whole step.

    python benchmarks/engines.py [--short] [--json PATH]

The engine `cpu`, compiled; the engine `torch` on the processor, with the platform's towers and their hand-written
gradients; and, where PyTorch finds a GPU, the engine `torch` there, in float32 and in bfloat16. Data and towers are
those of `training_throughput.py`. All in turn, in one process; ratios are taken round by round.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import peers
import torch
from peers import Peer, Work
from timing import Spread, machine_line, print_table, write_json_lines
from training_throughput import SMALL, config_of, training_set

from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.sampling.batches import epoch_generator, spread_batches
from twotower_assets.two_tower.training.prefetch import prefetched
from twotower_assets.two_tower.training.trainer import Trainer

BASELINE = "cpu"
BATCHES = (1_024, 4_096, 16_384)


def steps(work: Work, data: TrainingSet, engine: str, device: str, products: str) -> Peer:
    """Steps of recipe logq, whose time includes that of a device."""
    config = config_of(work, "logq", products=products)
    trainer = Trainer(data, config, device=device, engine=engine)  # type: ignore[arg-type]

    def endless() -> Iterator[Any]:
        epoch = 0
        while True:
            epoch += 1
            generator = epoch_generator(config.seed, epoch)
            for rows in spread_batches(data.user, data.item, config.batch_size, generator):
                yield trainer.objective.sampler.draw(rows, generator)

    coming = prefetched(endless(), always=device != "cpu")

    def step() -> None:
        trainer.step(next(coming))
        if device == "cuda":
            torch.cuda.synchronize()

    return peers.per_second(config.batch_size, step)


def compared(batch_size: int, seconds: float, rounds: int) -> list[dict[str, Any]]:
    """Pairs per second of every engine at one batch size."""
    work = peers.zipf_work(**SMALL, batch_size=batch_size)
    data = training_set(work, config_of(work, "logq"))
    kinds = {BASELINE: ("cpu", "cpu", "auto"), "torch on the processor": ("torch", "cpu", "auto")}
    if torch.cuda.is_available():
        kinds |= {f"torch on a GPU, {one}": ("torch", "cuda", one) for one in ("float32", "bfloat16")}
    found = peers.measure({name: steps(work, data, *kind) for name, kind in kinds.items()}, seconds, rounds)
    base = np.array(found[BASELINE])
    return [
        {
            "batch_size": batch_size,
            "engine": name,
            "pairs_per_second": vars(Spread.of(values)),
            "times_as_fast_as_cpu": vars(Spread.of((np.array(values) / base).tolist())),
        }
        for name, values in found.items()
    ]


def main() -> None:
    """Measure, print, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="fewer rounds, batches of 1,024 and 4,096")
    parser.add_argument("--json", type=Path, help="write a JSON object per line to this file")
    arguments = parser.parse_args()
    print(machine_line())
    rows = []
    for batch_size in BATCHES[:2] if arguments.short else BATCHES:
        new = compared(batch_size, *((0.5, 3) if arguments.short else (1.5, 7)))
        print_table(
            f"{SMALL['n_users']:,} users × {SMALL['n_items']:,} items, batches of {batch_size:,}",
            ["engine", "pairs/s: median (range)", "times as fast as the engine cpu"],
            [
                [
                    row["engine"],
                    Spread(**row["pairs_per_second"]).text(),
                    Spread(**row["times_as_fast_as_cpu"]).text(".2f"),
                ]
                for row in new
            ],
        )
        rows += new
    if arguments.json:
        write_json_lines(arguments.json, rows)


if __name__ == "__main__":
    main()

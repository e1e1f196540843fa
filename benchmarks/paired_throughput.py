"""Whether a change made training slower: pairs per second of two checkouts, in turn, each in a process of its own.

    git worktree add /tmp/before COMMIT
    python benchmarks/paired_throughput.py /tmp/before [--threads 1] [--batch-size 1024] [--rounds 25]

Both trees train recipe logq at the small size of `training_throughput.py`, whose functions each takes from itself. A
round takes about a second and begins with either tree by turns; what counts is the median of the ratios.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAIRS_A_ROUND = 204_800
WORKER = """
import sys
tree, batch_size, steps = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
sys.path[:0] = [tree, tree + "/benchmarks"]
import twotower_assets
assert twotower_assets.__file__.startswith(tree), twotower_assets.__file__
import peers, training_throughput as benchmark
work = peers.zipf_work(**benchmark.SMALL, batch_size=batch_size)
config = benchmark.config_of(work, "logq")
run = benchmark.workspace(benchmark.training_set(work, config), config)
run(steps)
print("ready", flush=True)
for _ in sys.stdin:
    print(run(steps), flush=True)
"""


class Tree:
    """A process that trains with the code of one checkout when it is asked to."""

    def __init__(self, folder: Path, batch_size: int, threads: int | None) -> None:
        names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS") if threads else ()
        steps = str(PAIRS_A_ROUND // batch_size)
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), str(batch_size), steps],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **dict.fromkeys(names, str(threads))},
        )
        if self._answer() != "ready":
            raise SystemExit(f"{folder} cannot be measured; its error is above")

    def _answer(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def pairs_per_second(self) -> float:
        """Train for a round."""
        assert self._process.stdin
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._answer())

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Measure, and print the medians and the ratio with its quartiles."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="another checkout of this project")
    parser.add_argument("--threads", type=int, help="of torch and of compiled loops; by default all cores")
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=25)
    given = parser.parse_args()
    trees = [Tree(folder.resolve(), given.batch_size, given.threads) for folder in (given.before, ROOT)]
    rounds = []
    for number in range(given.rounds):
        found = {place: trees[place].pairs_per_second() for place in ((0, 1) if number % 2 else (1, 0))}
        rounds.append((found[0], found[1]))
    for tree in trees:
        tree.end()
    before, now = (statistics.median(each) for each in zip(*rounds, strict=True))
    low, middle, high = statistics.quantiles((after / first for first, after in rounds), n=4)
    print(f"batches of {given.batch_size:,}: before {before:,.0f}, now {now:,.0f} pairs per second")
    print(f"now / before: {middle:.3f}, quartiles {low:.3f} to {high:.3f}")


if __name__ == "__main__":
    main()

"""What training is like where it really runs: in a fresh process, beside busy neighbours, beside another training.

    python benchmarks/neighbours.py [--short] [--json PATH]

- A cold process: the first training of a process on one thread, against its second one, in time and in seconds of
  processor per second. Libraries that launch their threads late would take all cores in the first one.
- Neighbours: pairs per second of the step at batches of 1,024 while as many processes as cores do nothing but spin,
  against the same alone; a fair share is half. The textbook's loop and the sliced SparseAdam loop stand beside it.
- Two trainings at once, each on its share of the cores, against the same two one after the other.

Every measurement is a process of its own, and they are made in turn.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import peers
from timing import Spread, machine_line, print_table, write_json_lines
from training_throughput import SMALL, config_of, training_set, workspace

from twotower_assets.core.cores import available_cores
from twotower_assets.two_tower.kernels.threads import computing_threads
from twotower_assets.two_tower.training.loop import train

BATCH_SIZE = 1_024
PAIRS = 400_000
ASKED_COLD, ASKED_BESIDE_NEIGHBOURS, ASKED_AT_ONCE = 1.3, 2.5, 1.3


def work_of(pairs: int) -> peers.Work:
    """Pairs of the small size of `training_throughput.py`."""
    return peers.zipf_work(**SMALL | {"n_pairs": pairs}, batch_size=BATCH_SIZE)


def cold(threads: int) -> dict[str, float]:
    """Seconds, and seconds of processor per second, of the first and of the second training of this process."""
    work = work_of(PAIRS // 4)
    config = config_of(work, "logq", epochs=2)
    data, found = training_set(work, config), {}
    for which in ("first", "second"):
        wall, processor = time.perf_counter(), time.process_time()
        train(data, config, threads=threads)
        wall = time.perf_counter() - wall
        found |= {f"{which} seconds": wall, f"{which} cores": (time.process_time() - processor) / wall}
    return found


def one_training(threads: int) -> dict[str, float]:
    """Seconds of a training in this process, without what comes before it."""
    work = work_of(PAIRS)
    config = config_of(work, "logq", epochs=3)
    data = training_set(work, config)
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.perf_counter()
    train(data, config, threads=threads)
    return {"seconds": time.perf_counter() - started}


def step(who: str, threads: int, seconds: float) -> dict[str, float]:
    """Pairs per second alone, and beside as many spinning processes as there are cores."""
    work = work_of(PAIRS)
    with computing_threads(threads):
        makers: dict[str, Callable[[], peers.Peer]] = {
            "twotower_assets": lambda: workspace(training_set(work, config_of(work, "logq")), config_of(work, "logq")),
            "textbook": lambda: peers.textbook(work),
            "textbook, SparseAdam, sliced": lambda: peers.textbook(work, sparse=True, batches="sliced"),
        }
        measured = makers[who]()
        measured(50)
        (alone,) = peers.measure({who: measured}, seconds, 1)[who]
        with spinning(available_cores()):
            (beside,) = peers.measure({who: measured}, seconds, 1)[who]
    return {"alone": alone, "beside": beside}


@contextmanager
def spinning(processes: int) -> Iterator[None]:
    """Processes that do nothing but take a core each."""
    neighbours = [multiprocessing.get_context("spawn").Process(target=spin, daemon=True) for _ in range(processes)]
    for neighbour in neighbours:
        neighbour.start()
    time.sleep(1.5)
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.join()


def spin() -> None:
    """Never ends."""
    while True:
        pass


def started(*arguments: object) -> subprocess.Popen[str]:
    """A process that measures something and prints it."""
    command = [sys.executable, __file__, "--measure", *map(str, arguments)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def result_of(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What it printed last."""
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    answer: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return answer


def trainings(count: int, threads: int) -> float:
    """Seconds until that many trainings that begin together have ended."""
    processes = [started("one_training", threads) for _ in range(count)]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return max(float(result_of(process)["seconds"]) for process in processes)


def say(name: str, ratio: Spread, most: float) -> None:
    """A line that says whether what is asked holds."""
    outcome = "holds" if ratio.median <= most else "DOES NOT HOLD"
    print(f"  {name}: {ratio.text('.2f')}, asked at most {most}: {outcome}")


def main() -> None:
    """Measure, print, and write what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="one round instead of three")
    parser.add_argument("--json", type=Path, help="write a line of JSON per measurement")
    parser.add_argument("--measure", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        what, *rest = options.measure
        found = {
            "cold": lambda: cold(int(rest[0])),
            "one_training": lambda: one_training(int(rest[0])),
            "step": lambda: step(rest[0], int(rest[1]), float(rest[2])),
        }[what]()
        print(json.dumps(found))
        return
    rounds, rows = (1 if options.short else 3), []
    half = max(1, available_cores() // 2)
    print(machine_line(), "\n")

    found = [result_of(started("cold", half)) for _ in range(rounds)]
    print_table(
        f"A fresh process, training on {half} of {available_cores()} cores",
        ["training", "seconds", "seconds of processor per second"],
        [
            [
                which,
                *(Spread.of([run[f"{which} {of}"] for run in found]).text(".2f") for of in ("seconds", "cores")),
            ]
            for which in ("first", "second")
        ],
    )
    say(
        "the first's processor per second, by thread",
        Spread.of([run["first cores"] / half for run in found]),
        ASKED_COLD,
    )
    rows += [{"what": "cold", "threads": half, **run} for run in found]

    steps = {
        (who, threads): [result_of(started("step", who, threads, 2.0)) for _ in range(rounds)]
        for who in ("twotower_assets", "textbook", "textbook, SparseAdam, sliced")
        for threads in sorted({half, available_cores()})
    }
    slower = {key: Spread.of([each["alone"] / each["beside"] for each in many]) for key, many in steps.items()}
    print_table(
        f"Batches of {BATCH_SIZE:,} beside {available_cores()} spinning processes",
        ["who", "threads", "pairs/s alone", "pairs/s beside them", "times slower"],
        [
            [who, str(threads), *(Spread.of([each[key] for each in many]).text() for key in ("alone", "beside")),
             slower[who, threads].text(".2f")]
            for (who, threads), many in steps.items()
        ],
    )  # fmt: skip
    for threads in sorted({half, available_cores()}):
        say(f"twotower_assets on {threads} threads", slower["twotower_assets", threads], ASKED_BESIDE_NEIGHBOURS)
    rows += [
        {"what": "step", "who": who, "threads": threads, **each}
        for (who, threads), many in steps.items()
        for each in many
    ]

    both = [{"one": trainings(1, half), "two": trainings(2, half)} for _ in range(rounds)]
    ratio = Spread.of([each["two"] / (2 * each["one"]) for each in both])
    print(f"\nTwo trainings at once take {ratio.text('.2f')} of the time of one after the other")
    say("two trainings at once", ratio, ASKED_AT_ONCE)
    rows += [{"what": "two trainings", **each} for each in both]
    if options.json:
        write_json_lines(options.json, rows)


if __name__ == "__main__":
    main()

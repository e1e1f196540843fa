"""Where the demo's time goes: every step of its runs, what lies between, and how long commands take to start.

    python benchmarks/demo.py [--repeats N] [--json PATH]
    python benchmarks/demo.py --short

Each repeat runs `twotower demo` in a process and a home folder of its own, with MovieLens-100K in its cache; fetching
it is not measured. Seconds of a step are those between its first and last event in Dagster's event log. What is left
of a run is Dagster planning it and going from step to step; what is left of the process is its start, the imports
before the first run, and the summary at the end. Start-up is of processes in the last of these homes.

Last, every line of the table is written to `--json`, one JSON object a line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import dagster as dg
from timing import Spread, alternate, machine, machine_line, print_table

from twotower_assets.cli.demo import EARLIER_MODELS
from twotower_assets.datasets.movielens import fetch_movielens
from twotower_assets.settings import load_settings

TWOTOWER = [sys.executable, "-c", "from twotower_assets.cli import app; app()"]
PHASES = (
    "features, first half",
    "features, second half",
    *(f"model as of {day}" for day in EARLIER_MODELS),
    "model as of the last day",
)
CHECKS = "_checks"
PROCESS = "process"
DEFINITIONS = "import dagster; from twotower_assets.defs.build import build_definitions; build_definitions()"
START_UPS = {
    "twotower --help": [*TWOTOWER, "--help"],
    "twotower sql": [*TWOTOWER, "sql", "SELECT count(*) FROM items"],
    "twotower recommend": [*TWOTOWER, "recommend", "--user", "1"],
    "twotower lineage": [*TWOTOWER, "lineage", "ann_index"],
    "import dagster": [sys.executable, "-c", "import dagster"],
    "definitions": [sys.executable, "-c", DEFINITIONS],
    "definitions, and what checks import": [sys.executable, "-c", f"{DEFINITIONS}; import great_expectations"],
    "definitions, and what training imports": [
        sys.executable,
        "-c",
        f"{DEFINITIONS}; from twotower_assets.experiments import train_recipe as recipe_training; "
        "from twotower_assets.two_tower import checkpoint, training",
    ],
}


@dataclass(frozen=True)
class Line:
    """Seconds that a part of one demo took. `kind`: asset, checks, or rest."""

    phase: str
    kind: str
    what: str
    seconds: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="demos, one after another")
    parser.add_argument("--json", type=Path, help="append what was measured to this file, one JSON object a line")
    parser.add_argument("--short", action="store_true", help="one demo, and each start-up once")
    arguments = parser.parse_args()
    repeats = 1 if arguments.short else arguments.repeats
    movielens = fetch_movielens(load_settings().cache_folder / "movielens")
    with tempfile.TemporaryDirectory() as folder:
        homes = [_home(Path(folder) / str(number), movielens) for number in range(repeats)]
        demos = [measure(home) for home in homes]
        start_ups = alternate(_start_ups(homes[-1]), repeats, warm_ups=0 if arguments.short else 1)
    print(machine_line())
    show(demos, start_ups)
    if arguments.json:
        _write(arguments.json, demos, start_ups)


def measure(home: Path) -> list[Line]:
    """Run the demo in `home`; give its lines, those that start a phase's rest and the process's rest included."""
    started = time.perf_counter()
    _run([*TWOTOWER, "demo"], home)
    wall = time.perf_counter() - started
    lines = list(_lines_of_runs(home))
    return [*lines, Line(PROCESS, "rest", "start, imports, summary", wall - sum(line.seconds for line in lines))]


def _lines_of_runs(home: Path) -> Iterator[Line]:
    os.environ["DAGSTER_HOME"] = str(home / "dagster")
    with dg.DagsterInstance.get() as instance:
        runs = [record.dagster_run.run_id for record in reversed(instance.get_run_records())]
        for phase, run_id in zip(PHASES, runs, strict=True):
            events = instance.all_logs(run_id)
            steps = list(_steps(phase, events))
            yield from steps
            span = events[-1].timestamp - events[0].timestamp
            yield Line(phase, "rest", "planning, between steps", span - sum(step.seconds for step in steps))


def _steps(phase: str, events: list[dg.EventLogEntry]) -> Iterator[Line]:
    began: dict[str, float] = {}
    for entry in events:
        event = entry.dagster_event
        if event is None or event.step_key is None:
            continue
        if event.is_step_start:
            began[event.step_key] = entry.timestamp
        elif event.is_step_success:
            asset = event.step_key.removesuffix(CHECKS)
            kind = "asset" if asset == event.step_key else "checks"
            yield Line(phase, kind, asset, entry.timestamp - began[event.step_key])


def show(demos: list[list[Line]], start_ups: dict[str, list[float]]) -> None:
    walls = [sum(line.seconds for line in demo) for demo in demos]
    places = list(dict.fromkeys((line.phase, line.kind, line.what) for demo in demos for line in demo))
    medians = {place: statistics.median(_seconds(demo, place) for demo in demos) for place in places}
    whole = statistics.median(walls)
    print_table(
        "What every step of the demo takes",
        ("phase", "of", "step", "seconds", "share"),
        [(*place, f"{seconds:.2f}", f"{seconds / whole:.1%}") for place, seconds in medians.items()],
    )
    parts = dict.fromkeys((phase, kind) for phase, kind, _ in places)
    sums = {part: sum(seconds for place, seconds in medians.items() if place[:2] == part) for part in parts}
    print_table(
        "And together",
        ("phase", "of", "seconds", "share"),
        [
            *((*part, f"{seconds:.2f}", f"{seconds / whole:.1%}") for part, seconds in sums.items()),
            ("the demo", "wall clock", Spread.of(walls).text(".1f"), ""),
        ],
    )
    print_table(
        "What a process takes to start, do this, and end",
        ("process", "seconds"),
        [(name, Spread.of(seconds).text(".2f")) for name, seconds in start_ups.items()],
    )


def _seconds(demo: list[Line], place: tuple[str, str, str]) -> float:
    return sum(line.seconds for line in demo if (line.phase, line.kind, line.what) == place)


def _start_ups(home: Path) -> dict[str, Callable[[], float]]:
    def seconds_of(command: list[str]) -> Callable[[], float]:
        def measured() -> float:
            started = time.perf_counter()
            _run(command, home)
            return time.perf_counter() - started

        return measured

    return {name: seconds_of(command) for name, command in START_UPS.items()}


def _home(folder: Path, movielens: Path) -> Path:
    shutil.copytree(movielens, folder / "cache" / "movielens")
    return folder


def _run(command: list[str], home: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TWOTOWER_", "DAGSTER_"))}
    done = subprocess.run(
        command, env={**environment, "TWOTOWER_HOME": str(home)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _write(path: Path, demos: list[list[Line]], start_ups: dict[str, list[float]]) -> None:
    lines = [
        {"benchmark": "demo", **machine()},
        *({"demo": number, **asdict(line)} for number, demo in enumerate(demos) for line in demo),
        *({"start_up": name, "seconds": seconds} for name, seconds in start_ups.items()),
    ]
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


if __name__ == "__main__":
    main()

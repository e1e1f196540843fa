"""What benchmarks share: measuring in alternation, median and spread, the machine, a table, JSON lines.

Here: nothing that knows what is measured. Not here: peers (`peers.py`), data, and metrics of quality.
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from twotower_assets.core.cores import available_cores


@dataclass(frozen=True)
class Spread:
    """Median, extremes and number of some measurements, in their own unit."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(statistics.median(values), min(values), max(values), len(values))

    def text(self, form: str = ",.0f") -> str:
        low_to_high = f" ({self.low:{form}} – {self.high:{form}})" if self.runs > 1 else ""
        return f"{self.median:{form}}{low_to_high}"


def peak_resident_set() -> float:
    """The most memory that this process held since it was started, in MiB.

    `ru_maxrss` would count what the process held that started it.
    """
    status = Path("/proc/self/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def alternate(measures: Mapping[str, Callable[[], float]], rounds: int, warm_ups: int = 1) -> dict[str, list[float]]:
    """What each measure gave in each round, in the order A B C A B C …, after rounds that are thrown away."""
    found: dict[str, list[float]] = {name: [] for name in measures}
    for number in range(warm_ups + rounds):
        for name, measure in measures.items():
            value = measure()
            if number >= warm_ups:
                found[name].append(value)
    return found


def machine() -> dict[str, Any]:
    """Processor, usable cores, threads of torch, versions, and whether the processor multiplies in bfloat16."""
    import torch  # not above: a process whose memory is measured need not hold it

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    fields = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "avx512_bf16": "avx512_bf16" in fields.get("flags", "").split(),
    }


def machine_line() -> str:
    m = machine()
    bf16 = "AVX512_BF16" if m["avx512_bf16"] else "no AVX512_BF16"
    return f"{m['cpu']}, {m['cores']} cores, {m['threads']} threads, {bf16}; torch {m['torch']}, Python {m['python']}"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on standard output; the first column to the left, the rest to the right."""
    table = Table(title=title, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=bool(number))
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def write_json_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """One JSON object per row, each with the machine it was measured on."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({**row, "machine": machine()}) + "\n" for row in rows))

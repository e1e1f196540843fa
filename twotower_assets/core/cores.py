"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def available_cores(cgroups: Path = CGROUPS, membership: Path = Path("/proc/self/cgroup")) -> int:
    """The cores that this process may run on: the machine's, by CPU affinity, within the quota of its control group.

    A quota of a core and a half counts as two cores: one would leave half a core idle. `os.cpu_count()` is the
    machine's count, whatever of it a container or `taskset` leaves.

    Args:
        cgroups: where control groups (version 2) are mounted.
        membership: the file that names the control group of this process.
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(quota) for quota in _quotas(cgroups, membership))]))


def _quotas(cgroups: Path, membership: Path) -> list[float]:
    """Cores that the process's control group and those above it may use, as far as they are limited."""
    try:
        names = [line.removeprefix("0::/") for line in membership.read_text().splitlines() if line.startswith("0::/")]
    except OSError:  # no Linux, or no control groups
        return []
    found = []
    for name in names:
        group = cgroups / name
        for folder in [group, *group.parents]:
            if folder.is_relative_to(cgroups) and (quota := _quota(folder / "cpu.max")) is not None:
                found.append(quota)
    return found


def _quota(file: Path) -> float | None:
    """`MICROSECONDS PERIOD` as cores; None for `max PERIOD`, or without the file."""
    try:
        share, period = file.read_text().split()
    except (OSError, ValueError):
        return None
    return None if share == "max" else int(share) / int(period)

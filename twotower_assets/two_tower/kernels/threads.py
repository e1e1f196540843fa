"""How many threads compute: torch's operations and Numba's parallel loops, which share OpenMP."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch
from numba import config


@contextmanager
def computing_threads(threads: int | None) -> Iterator[int]:
    """Compute on that many threads inside the block, or on as many as torch has; yields the number in use.

    Numba launches its threads when it is first asked for their number, and then sets OpenMP, and so torch, to all
    cores. So Numba comes first here, and torch after it.
    """
    torch_before = torch.get_num_threads()
    loops_before = numba.get_num_threads()
    used = threads or torch_before
    numba.set_num_threads(min(used, int(config.NUMBA_NUM_THREADS)))  # type: ignore[attr-defined]
    torch.set_num_threads(used)
    try:
        yield used
    finally:
        numba.set_num_threads(loops_before)
        torch.set_num_threads(torch_before)


def loops_may_run_at_once() -> bool:
    """Whether two threads of a process may run parallel loops at once; without OpenMP, Numba aborts the process."""
    numba.get_num_threads()  # launches the threads, after which their layer is known
    return str(numba.threading_layer()) != "workqueue"  # type: ignore[attr-defined]

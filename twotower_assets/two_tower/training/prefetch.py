"""Prefetching: computing the next value in another thread while the last one is used.

Here: whether a core is free for that thread. Not here: what is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numba
import torch

from twotower_assets.core.cores import available_cores
from twotower_assets.two_tower.kernels.threads import loops_may_run_at_once

T = TypeVar("T")


def prefetched(values: Iterator[T], *, always: bool = False) -> Iterator[T]:
    """The values, each computed in another thread while the previous one is used, if torch leaves a core free.

    `always`: also if it does not, because a GPU computes.

    OpenMP threads spin while they wait for work, so a prefetching thread on the same core slows both down: with
    two threads on two cores, a step that draws its own batch is 3 to 11 % faster. What is compiled runs on one thread
    there.
    """
    if not always and (torch.get_num_threads() >= available_cores() or not loops_may_run_at_once()):
        yield from values
        return
    with ThreadPoolExecutor(max_workers=1, initializer=numba.set_num_threads, initargs=(1,)) as thread:
        pending = thread.submit(next, values, None)
        while (value := pending.result()) is not None:
            pending = thread.submit(next, values, None)
            yield value

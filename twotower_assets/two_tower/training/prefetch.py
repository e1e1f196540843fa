"""Prefetching: computing the next value in another thread while the last one is used.

Here: whether a processor is free for that thread. Not here: what is computed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def prefetched(values: Iterator[T]) -> Iterator[T]:
    """The values, each computed in another thread while the previous one is used, if torch leaves a processor free.

    OpenMP threads spin while they wait for work, so a prefetching thread on the same processor slows both down: with
    two threads on two processors, a step that draws its own batch is 3 to 11 % faster.
    """
    if torch.get_num_threads() >= available_processors():
        yield from values
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        pending = thread.submit(next, values, None)
        while (value := pending.result()) is not None:
            pending = thread.submit(next, values, None)
            yield value


def available_processors() -> int:
    """Number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

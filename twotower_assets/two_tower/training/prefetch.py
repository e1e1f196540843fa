"""Making the next value while the last one is used, where a processor is free for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")


def prefetched(values: Iterator[T]) -> Iterator[T]:
    """The values; where torch leaves a processor free, each is made by another thread while the one before is used.

    Threads of OpenMP spin while they wait for work, and a thread that prepares it on the same processor keeps both
    waiting: with two threads on two processors, a step that draws its batch itself is 3 to 11 % faster.
    """
    if torch.get_num_threads() >= processors():
        yield from values
        return
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, values, None)
        while (value := coming.result()) is not None:
            coming = thread.submit(next, values, None)
            yield value


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

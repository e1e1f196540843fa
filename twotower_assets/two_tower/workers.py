"""Threads side by side, each of which computes on one core.

Splitting every small operation over the cores, as torch does, waits for the slower core at every one of them; splitting
what is to be done waits once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

T = TypeVar("T")


def side_by_side(work: Callable[[int, int], T]) -> list[T]:
    """work(0, n) … work(n - 1, n) on n = `torch.get_num_threads()` threads, without gradients; results in order.

    What the first of them raises is raised.
    """
    threads = torch.get_num_threads()
    if threads == 1:
        with torch.no_grad():
            return [work(0, 1)]
    return list(_pool(threads).map(torch.no_grad()(work), range(threads), [threads] * threads))


def prefetched(values: Iterator[T]) -> Iterator[T]:
    """The values, each made by another thread while the one before is used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, values, None)
        while (value := coming.result()) is not None:
            coming = thread.submit(next, values, None)
            yield value


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    all_started = Barrier(threads)

    def start() -> None:
        torch.get_num_threads()  # makes torch's settings of this thread, which would replace the next line otherwise
        torch.set_num_threads(1)
        all_started.wait()

    pool = ThreadPoolExecutor(threads, thread_name_prefix="side-by-side", initializer=start)
    list(pool.map(lambda _: None, range(threads)))
    torch.set_num_threads(threads)  # what a worker set is also what later threads start with
    return pool

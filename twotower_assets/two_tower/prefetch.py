"""Making the next value while the last one is used."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def prefetched(values: Iterator[T]) -> Iterator[T]:
    """The values, each made by another thread while the one before is used."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        coming = thread.submit(next, values, None)
        while (value := coming.result()) is not None:
            coming = thread.submit(next, values, None)
            yield value

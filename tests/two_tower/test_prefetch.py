from __future__ import annotations

import threading

import pytest

from twotower_assets.two_tower.prefetch import prefetched


def test_values_come_in_order_from_another_thread_one_ahead() -> None:
    made: list[int] = []

    def values():
        for value in range(5):
            made.append(value)
            yield value, threading.get_ident()

    for value, thread in prefetched(values()):
        assert thread != threading.get_ident()
        assert len(made) <= value + 2
    assert made == list(range(5))


def test_what_goes_wrong_in_the_other_thread_is_raised_here() -> None:
    def values():
        yield 1
        raise ValueError("no more")

    coming = prefetched(values())
    assert next(coming) == 1
    with pytest.raises(ValueError, match="no more"):
        next(coming)


def test_leaving_early_ends_the_thread() -> None:
    before = threading.active_count()
    for value in prefetched(iter(range(100))):
        if value == 3:
            break
    assert threading.active_count() == before

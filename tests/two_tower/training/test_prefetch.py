from __future__ import annotations

import threading
from collections.abc import Callable

import numba
import pytest
import torch

from twotower_assets.two_tower.training import prefetch
from twotower_assets.two_tower.training.prefetch import prefetched


@pytest.fixture(autouse=True)
def a_core_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "available_cores", lambda: torch.get_num_threads() + 1)


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


def test_what_is_compiled_runs_on_one_thread_there() -> None:
    here = numba.get_num_threads()
    assert list(prefetched(numba.get_num_threads() for _ in range(2))) == [1, 1]
    assert numba.get_num_threads() == here


@pytest.mark.parametrize(
    ("name", "instead"), [("available_cores", torch.get_num_threads), ("loops_may_run_at_once", lambda: False)]
)
def test_where_no_core_is_free_or_loops_exclude_each_other_values_are_made_when_they_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, name: str, instead: Callable[[], int]
) -> None:
    monkeypatch.setattr(prefetch, name, instead)
    made: list[int] = []

    def values():
        for value in range(3):
            made.append(value)
            yield value, threading.get_ident()

    for value, thread in prefetched(values()):
        assert thread == threading.get_ident()
        assert len(made) == value + 1
    assert made == [0, 1, 2]

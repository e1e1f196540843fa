from __future__ import annotations

import threading

import pytest
import torch

from twotower_assets.two_tower.workers import prefetched, side_by_side


@pytest.fixture(params=[1, 3])
def threads(request):
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(1)


def test_work_is_shared_out_and_comes_back_in_order(threads: int) -> None:
    assert side_by_side(lambda worker, workers: (worker, workers)) == [(one, threads) for one in range(threads)]
    assert torch.get_num_threads() == threads


def test_a_worker_computes_alone_and_without_gradients(threads: int) -> None:
    vector = torch.ones(2, requires_grad=True)
    for requires_grad, of_worker in side_by_side(lambda *_: ((vector * 2).requires_grad, torch.get_num_threads())):
        assert not requires_grad
        assert of_worker == 1
    assert torch.is_grad_enabled()


def test_what_a_worker_raises_is_raised(threads: int) -> None:
    def work(worker: int, workers: int) -> None:
        if worker == workers - 1:
            raise KeyError("nothing there")

    with pytest.raises(KeyError, match="nothing there"):
        side_by_side(work)


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

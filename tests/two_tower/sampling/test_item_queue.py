import numpy as np
import pytest

from twotower_assets.recipes.negative_settings import CrossBatchNegatives
from twotower_assets.two_tower.sampling.item_queue import ItemQueue
from twotower_assets.two_tower.sampling.negatives import Batch
from twotower_assets.two_tower.sampling.proposals import CountedFrequency

PROPOSAL = CountedFrequency(np.array([0.0, 1.0, 3.0]))


def queue(count: int = 100, maximum_age: int = 100, warm_up: int = 0) -> ItemQueue:
    return ItemQueue(CrossBatchNegatives(count=count, maximum_age=maximum_age), PROPOSAL, warm_up)


def push(one: ItemQueue, *batches: list[int]) -> ItemQueue:
    for items in batches:
        one.push(np.array(items, np.int64))
    return one


def test_the_oldest_go_first_where_there_are_too_many() -> None:
    full = push(queue(count=5), [1, 2], [3, 4], [5, 6])
    assert full.items.tolist() == [2, 3, 4, 5, 6]
    assert len(full) == 5
    assert push(queue(count=3), [1, 2, 3, 4, 5]).items.tolist() == [3, 4, 5]


def test_items_older_than_the_maximum_age_are_dropped() -> None:
    aged = push(queue(maximum_age=2), [1], [2, 3], [4])
    assert aged.items.tolist() == [2, 3, 4], "the next batch sees items that are two batches old at most"
    assert push(aged, []).items.tolist() == [4]
    assert len(push(aged, [])) == 0


def test_nothing_is_kept_before_the_warm_up_is_over() -> None:
    warming = queue(warm_up=2)
    assert len(push(warming, [1], [2])) == 0
    assert push(warming, [3]).items.tolist() == [3]


def test_the_expected_count_is_the_length_times_q() -> None:
    one = push(queue(count=6), [1, 2, 2, 2], [1, 2, 2, 2])
    assert one.expected_count(Batch(None, np.zeros(3, np.int64)), np.array([1, 2])) == pytest.approx([6 / 4, 18 / 4])  # type: ignore[arg-type]


def test_a_loaded_queue_continues_like_the_saved_one() -> None:
    first = push(queue(count=5, maximum_age=3, warm_up=1), [1], [2, 3], [4, 5])
    second = queue(count=5, maximum_age=3, warm_up=1)
    second.load_state_dict({name: array.copy() for name, array in first.state_dict().items()})
    for batch in ([6], [7, 8, 9], [], [1]):
        push(first, batch), push(second, batch)
        assert first.items.tolist() == second.items.tolist()
        assert first.added_at.tolist() == second.added_at.tolist()


def test_an_empty_queue_is_saved_and_loaded_too() -> None:
    warming = queue(warm_up=3)
    warming.load_state_dict(push(queue(warm_up=3), [1], [2]).state_dict())
    assert len(push(warming, [3])) == 0
    assert push(warming, [4]).items.tolist() == [4]

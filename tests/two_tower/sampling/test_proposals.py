import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.data.training_set import build_training_set
from twotower_assets.two_tower.sampling.proposals import build_proposal, decayed_counts

DAY = 86_400_000_000
NO_USERS = pa.table({"user_id": pa.array([], pa.string())})
ITEMS = pa.table({"item_id": ["a", "b", "never"]})


def data_of(items: list[str], days: list[float], config: TrainingConfig):
    pairs = pa.table(
        {
            "user_id": [f"u{row}" for row in range(len(items))],
            "item_id": items,
            "clicked_at": pa.array([int(day * DAY) for day in days], pa.timestamp("us")),
            "history": pa.array([[]] * len(items), pa.list_(pa.string())),
        }
    )
    return build_training_set(pairs, ITEMS, NO_USERS, config)


def test_exact_frequencies_are_shares_of_the_pairs() -> None:
    config = TrainingConfig()
    proposal = build_proposal(data_of(["a", "a", "b", "a"], [0, 1, 2, 3], config), config)
    assert proposal.probability(np.array([[0, 1], [2, 3]])).tolist() == [[0, 0.75], [0.25, 0]]
    proposal.update(np.array([2, 2, 2]))
    assert proposal.probability(np.array([1, 2])).tolist() == [0.75, 0.25]
    assert proposal.state_dict() == {}


def test_decayed_frequencies_halve_a_click_per_half_life_before_the_latest() -> None:
    config = TrainingConfig(proposal="decayed", proposal_half_life_days=2)
    data = data_of(["a", "a", "b", "b"], [10, 6, 8, 10], config)
    assert decayed_counts(data, 2.0) == pytest.approx([0, 1 + 0.25, 0.5 + 1, 0])
    assert build_proposal(data, config).probability(np.arange(4)) == pytest.approx([0, 1.25 / 2.75, 1.5 / 2.75, 0])


def test_a_long_half_life_counts_every_click_alike() -> None:
    config = TrainingConfig(proposal="decayed", proposal_half_life_days=3650)
    data = data_of(["a", "b", "a", "b", "b"], [1, 2, 3, 2, 1], config)
    assert build_proposal(data, config).probability(np.arange(4)) == pytest.approx(data.q, rel=1e-3)


def test_decayed_frequencies_need_times() -> None:
    config = TrainingConfig(proposal="decayed")
    pairs = pa.table(
        {"user_id": ["u", "v"], "item_id": ["a", "b"], "history": pa.array([[], []], pa.list_(pa.string()))}
    )
    with pytest.raises(TrainingDataError, match="clicked_at"):
        build_training_set(pairs, ITEMS, NO_USERS, config)
    assert len(build_training_set(pairs, ITEMS, NO_USERS, TrainingConfig())) == 2


def test_streaming_frequencies_start_uniform_and_follow_the_batches() -> None:
    config = TrainingConfig(proposal="streaming", streaming_rate=0.02)
    data = data_of(["a"] * 3 + ["b"], [0, 1, 2, 3], config)
    proposal = build_proposal(data, config)
    assert proposal.probability(np.arange(1, 4)) == pytest.approx(np.full(3, 1 / 3))
    generator = np.random.default_rng(0)
    for _ in range(200):
        proposal.update(1 + (generator.random(32) < 0.25).astype(np.int64))
    assert proposal.probability(np.array([1, 2])) == pytest.approx([0.75, 0.25], rel=0.25)


def test_every_item_of_the_catalogue_has_a_streaming_frequency() -> None:
    config = TrainingConfig(proposal="streaming")
    data = data_of(["a", "b"], [0, 1], config)
    proposal = build_proposal(data, config)
    proposal.update(np.array([len(data.item_counts) - 1]))
    assert (proposal.probability(np.arange(len(data.item_counts))) > 0).all()


def test_a_loaded_streaming_proposal_continues_like_the_saved_one() -> None:
    config = TrainingConfig(proposal="streaming", streaming_rate=0.3, streaming_buckets=16)
    data = data_of(["a", "b"], [0, 1], config)
    first, second = build_proposal(data, config), build_proposal(data, config)
    first.update(np.array([1, 2, 1, 1, 3]))
    second.load_state_dict(first.state_dict())
    for one in (first, second):
        one.update(np.array([2, 2, 1]))
    assert (first.probability(np.arange(4)) == second.probability(np.arange(4))).all()

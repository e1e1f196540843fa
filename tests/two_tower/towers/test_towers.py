from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import torch

from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.towers import embedding
from twotower_assets.two_tower.towers.compiled_towers import recency_weights
from twotower_assets.two_tower.towers.embedding import Embedder
from twotower_assets.two_tower.towers.model import build_towers

STRINGS = pa.list_(pa.string())


@pytest.fixture(params=["market", "rich_market"])
def embedder(request) -> Embedder:
    market = request.getfixturevalue(request.param)
    return Embedder(build_towers(market.training_set().encoder, market.config), market.training_set().encoder)


def users_of(embedder: Embedder, users: list[str | None], histories: list[object]) -> np.ndarray:
    return embedder.embed_users(pa.array(users, pa.string()), pa.array(histories, STRINGS))


def test_vectors_have_length_one_whatever_is_known_about_the_row(embedder: Embedder, market) -> None:
    unseen = pa.table({"item_id": ["new", None], "category": pa.array([None, "never seen"])})
    items = np.concatenate([embedder.embed_items(market.items), embedder.embed_items(unseen)])
    users = users_of(embedder, ["u1", "u1", "new", "new", None], [["i1"], [], ["i1", "zz"], None, ["zz"]])
    for vectors in (items, users):
        assert vectors.dtype == np.float32
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_hidden_layers_change_the_vector_and_none_leave_it(market) -> None:
    encoder = market.training_set().encoder
    plain, hidden, none = (
        build_towers(encoder, market.configured(hidden_sizes=sizes).config) for sizes in ([], [12], [])
    )
    for towers in (hidden, none):
        towers.load_state_dict(plain.state_dict(), strict=False)
    vectors = [Embedder(towers, encoder).embed_items(market.items) for towers in (plain, hidden, none)]
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    assert (vectors[0] == vectors[2]).all()


def test_unseen_items_differ_by_their_category(embedder: Embedder) -> None:
    items = pa.table({"item_id": ["n1", "n2", "n3"], "category": ["c0", "c0", "c1"]})
    vectors = embedder.embed_items(items)
    assert (vectors[0] == vectors[1]).all()
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


def test_unseen_users_differ_by_their_history(embedder: Embedder) -> None:
    vectors = users_of(embedder, ["new", "other", "new"], [["i1"], ["i1"], ["i2"]])
    assert (vectors[0] == vectors[1]).all()
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


def test_the_user_tower_sees_only_the_last_items_of_the_history(embedder: Embedder) -> None:
    last_four = ["i1", "i2", "i3", "i4"]
    vectors = users_of(embedder, ["u1"] * 3, [last_four, ["i9", "i8", *last_four], ["i5", *last_four[1:]]])
    assert (vectors[0] == vectors[1]).all()
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


def test_each_history_item_counts_half_as_much_as_one_a_half_life_later() -> None:
    weights = recency_weights(torch.tensor([0, 3, 3, 4]), half_life=2.0)
    assert weights[2] / weights[0] == pytest.approx(2.0)
    assert weights[:3].sum() == pytest.approx(1.0)
    assert weights[3] == pytest.approx(1.0)


def test_a_long_half_life_gives_the_plain_mean() -> None:
    assert recency_weights(torch.tensor([0, 4]), half_life=1e6) == pytest.approx(0.25, abs=1e-5)


def test_the_order_of_the_history_counts(embedder: Embedder) -> None:
    vectors = users_of(embedder, ["u1", "u1"], [["i1", "i2"], ["i2", "i1"]])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_a_history_length_of_zero_ignores_histories(market) -> None:
    market = market.configured(history_length=0)
    encoder = market.training_set().encoder
    vectors = users_of(Embedder(build_towers(encoder, market.config), encoder), ["u1"] * 2, [["i1"], []])
    assert (vectors[0] == vectors[1]).all()


@pytest.mark.parametrize("feature", ["age", "country"])
def test_user_features_reach_the_vector(rich_market, feature: str) -> None:
    encoder = rich_market.training_set().encoder
    embedder = Embedder(build_towers(encoder, rich_market.config), encoder)
    users = pa.table(
        {
            "user_id": ["u1"],
            "features": pa.array(
                [[(feature, {"age": "60", "country": "x"}[feature])]], rich_market.users.schema[1].type
            ),
        }
    )
    ids, histories = pa.array(["u1"]), pa.array([[]], STRINGS)
    with_feature = embedder.embed_users(ids, histories, users)
    assert np.abs(with_feature - embedder.embed_users(ids, histories)).max() > 1e-3


@pytest.mark.parametrize("feature", ["price", "brand"])
def test_item_features_reach_the_vector(rich_market, feature: str) -> None:
    encoder = rich_market.training_set().encoder
    embedder = Embedder(build_towers(encoder, rich_market.config), encoder)
    features = pa.array([[(feature, {"price": "99", "brand": "b1"}[feature])], None], rich_market.items.schema[2].type)
    vectors = embedder.embed_items(pa.table({"item_id": ["i1", "i1"], "features": features}))
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_blocks_give_the_vectors_that_one_pass_gives(embedder: Embedder, market, monkeypatch) -> None:
    users, histories = ["u1", "new", "u2", None, "u3"], [["i1", "i2"], [], ["i3"], None, ["i4"]]
    items_at_once, users_at_once = embedder.embed_items(market.items), users_of(embedder, users, histories)
    monkeypatch.setattr(embedding, "BLOCK_ROWS", 2)
    assert embedder.embed_items(market.items) == pytest.approx(items_at_once, abs=1e-6)
    assert users_of(embedder, users, histories) == pytest.approx(users_at_once, abs=1e-6)


def test_no_rows_give_no_vectors(embedder: Embedder, market) -> None:
    assert embedder.embed_items(market.items.slice(0, 0)).shape == (0, 8)
    assert users_of(embedder, [], []).shape == (0, 8)


def test_each_user_needs_a_history(embedder: Embedder) -> None:
    with pytest.raises(TrainingDataError, match="2 user ids but 1 histories"):
        users_of(embedder, ["u1", "u2"], [["i1"]])


def test_fresh_weights_follow_from_the_seed_and_leave_torchs_generator_alone(market) -> None:
    encoder = market.training_set().encoder
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    towers = [build_towers(encoder, market.configured(seed=seed).config) for seed in (0, 0, 1)]
    assert torch.equal(torch.rand(3), expected)
    weights = [tower.user_tower.side.ids.weight for tower in towers]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])

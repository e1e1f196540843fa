import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.data.training_set import build_training_set

ITEMS = pa.table({"item_id": ["a", "b", "c"], "category": pa.array(["x", None, "y"])})
NO_USERS = pa.table({"user_id": pa.array([], pa.string())})
CONFIG = TrainingConfig(history_length=2)


def test_counts_and_q_come_from_the_pairs_alone(make_pairs) -> None:
    pairs = make_pairs(["u", "v", "u"], ["b", "b", "a"])
    data = build_training_set(pairs, ITEMS, NO_USERS, CONFIG)
    assert data.encoder.items.ids.ids.to_pylist() == ["b", "a"]
    assert data.item_counts.tolist() == [0, 2, 1, 0], "c is in the catalogue only"
    assert data.q.tolist() == pytest.approx([0, 2 / 3, 1 / 3, 0])
    assert data.item.tolist() == [1, 1, 2]
    assert data.user.tolist() == [1, 2, 1]


def test_only_the_last_items_of_a_history_count_and_unknown_ones_do_not(make_pairs) -> None:
    pairs = make_pairs(["u"] * 4, ["a", "b", "c", "a"], [["b", "c", "a"], ["c", "zz", "a", "zz", None], None, []])
    data = build_training_set(pairs, ITEMS, NO_USERS, CONFIG)
    ids = data.encoder.items.ids.ids.to_pylist()
    histories = [[ids[value - 1] for value in data.history.take(np.array([row])).values] for row in range(len(data))]
    assert histories == [["c", "a"], ["c", "a"], [], []]


def test_rare_items_share_the_unknown_row_but_keep_their_category_and_count(make_pairs) -> None:
    pairs = make_pairs(["u", "v", "w"], ["b", "b", "c"], [["c", "b"]] * 3)
    data = build_training_set(pairs, ITEMS, NO_USERS, TrainingConfig(minimum_item_clicks=2))
    assert data.item_inputs.ids.tolist() == [0, 1, 0, 0]
    assert data.item_counts.tolist() == [0, 2, 1, 0]
    assert data.item_inputs.categorical[2, 0] != 0
    assert data.history.values.tolist() == [1, 1, 1]


def test_null_categories_are_one_category_and_items_outside_the_catalogue_have_it_too(make_pairs) -> None:
    data = build_training_set(make_pairs(["u", "v", "w"], ["a", "b", "new"]), ITEMS, NO_USERS, CONFIG)
    trained = data.encoder.items.ids.ids.to_pylist()
    categories = dict(zip(trained, data.item_inputs.categorical[1 : 1 + len(trained), 0].tolist(), strict=True))
    assert categories["b"] == categories["new"] != categories["a"]
    assert "unknown" in data.encoder.items.categorical[""].ids.to_pylist()


def test_a_category_that_all_items_share_is_no_feature(make_pairs) -> None:
    pairs = make_pairs(["u", "v"], ["a", "b"])
    for items in (pa.table({"item_id": ["a", "b"]}), pa.table({"item_id": ["a", "b"], "category": ["c", "c"]})):
        data = build_training_set(pairs, items, NO_USERS, CONFIG)
        assert data.encoder.items.categorical == {}
        assert data.item_inputs.categorical.shape == (3, 0)


def test_features_are_read_from_the_maps_and_missing_ones_are_neutral(rich_market) -> None:
    data = rich_market.training_set()
    encoder = data.encoder
    assert encoder.items.categorical["brand"].ids.to_pylist() == ["b0", "b1", "b2"]
    assert encoder.users.categorical["country"].ids.to_pylist() == ["x"]
    ids = encoder.users.ids.ids.to_pylist()
    without_row = [1 + ids.index(user) for user in ("u15", "u19")]
    assert data.user_inputs.categorical[without_row].tolist() == [[0], [0]]
    assert data.user_inputs.numeric[without_row].tolist() == [[0], [0]]
    known = [1 + ids.index(f"u{u}") for u in range(10)]
    assert data.user_inputs.numeric[known].mean() == pytest.approx(0, abs=1e-6)
    assert data.user_inputs.numeric[known].std() == pytest.approx(1, abs=1e-6)


def test_missing_weights_are_one_and_others_are_kept(make_pairs) -> None:
    pairs = make_pairs(["u", "v"], ["a", "b"], weights=[None, 2.5])
    assert build_training_set(pairs, ITEMS, NO_USERS, CONFIG).weights.tolist() == [1.0, 2.5]
    without = pairs.drop_columns(["weight"])
    assert build_training_set(without, ITEMS, NO_USERS, CONFIG).weights.tolist() == [1.0, 1.0]


def test_one_user_is_enough(make_pairs) -> None:
    assert len(build_training_set(make_pairs(["u", "u"], ["a", "b"]), ITEMS, NO_USERS, CONFIG)) == 2


@pytest.mark.parametrize(
    ("users", "items", "weights", "message"),
    [
        ([], [], None, "no training pairs"),
        (["u", "v"], ["a", "a"], None, "same item, 'a'"),
        (["u", None], ["a", "b"], None, "1 of 2 training pairs have a null user_id"),
        (["u", "v"], ["a", None], None, "null item_id"),
        (["u", "v"], ["a", "b"], [1.0, -1.0], "not negative"),
        (["u", "v"], ["a", "b"], [0.0, 0.0], "not all zero"),
        (["u", "v"], ["a", "b"], [1.0, float("nan")], "finite"),
    ],
)
def test_pairs_that_cannot_be_trained_on_are_refused_with_the_reason(
    make_pairs, users, items, weights, message
) -> None:
    with pytest.raises(TrainingDataError, match=message):
        build_training_set(make_pairs(users, items, weights=weights), ITEMS, NO_USERS, CONFIG)


def test_a_missing_column_is_named_beside_those_that_are_there(make_pairs) -> None:
    pairs = make_pairs(["u", "v"], ["a", "b"]).rename_columns(["user", "item_id", "clicked_at", "history", "weight"])
    with pytest.raises(TrainingDataError, match=r"pairs has no column 'user_id' \(it has: user, item_id"):
        build_training_set(pairs, ITEMS, NO_USERS, CONFIG)
    with pytest.raises(TrainingDataError, match="items has no column 'item_id'"):
        build_training_set(make_pairs(["u"], ["a"]), NO_USERS, NO_USERS, CONFIG)


def test_a_numeric_feature_with_words_is_refused_by_name(market) -> None:
    with pytest.raises(TrainingDataError, match="'brand' is configured as numeric"):
        market.configured(item_numeric_features=["brand"]).training_set()


def test_features_that_are_no_map_are_refused(market) -> None:
    items = market.items.set_column(2, "features", pa.array(["x"] * 30))
    with pytest.raises(TrainingDataError, match="must be a map"):
        build_training_set(market.pairs, items, market.users, TrainingConfig(item_categorical_features=["brand"]))


@pytest.mark.parametrize(
    ("setting", "key", "said"),
    [
        (
            "item_categorical_features",
            "brnd",
            r"'brnd', which none of the items has; did you mean brand\? Their features",
        ),
        ("user_numeric_features", "nobody", "'nobody', which none of the users has"),
        ("item_categorical_features", "never", "'never', which none of the items has"),
        ("item_numeric_features", "category", "'category', which none of the items has"),
    ],
)
def test_a_feature_that_no_row_has_is_refused_with_those_that_there_are(
    rich_market, setting: str, key: str, said: str
) -> None:
    maps = [[*(each or []), ("never", None)] for each in rich_market.items.column("features").to_pylist()]
    place = rich_market.items.column_names.index("features")
    items = rich_market.items.set_column(place, "features", pa.array(maps, pa.map_(pa.string(), pa.string())))
    with pytest.raises(TrainingDataError, match=said):
        build_training_set(rich_market.pairs, items, rich_market.users, TrainingConfig(**{setting: [key]}))


def test_the_fingerprint_changes_with_any_value_that_is_trained_on(rich_market) -> None:
    data = rich_market.training_set()
    assert data.fingerprint() == rich_market.training_set().fingerprint()
    others = [
        rich_market.configured(history_length=3),
        rich_market.configured(minimum_item_clicks=9),
        rich_market.configured(item_numeric_features=[]),
    ]
    fingerprints = {other.training_set().fingerprint() for other in others}
    assert len(fingerprints | {data.fingerprint()}) == 4

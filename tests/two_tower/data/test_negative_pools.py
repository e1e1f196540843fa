from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.data.training_set import TrainingSet, build_training_set

STRINGS = pa.list_(pa.string())
NO_USERS = pa.table({"user_id": pa.array([], pa.string())})
LEAVES = {"a": "red", "b": "red", "c": "blue", "d": "green", "e": None, "f": "green", "g": "green"}
CLICKS = {
    "user_id": ["u", "v", "w", "u", "v", "w"],
    "item_id": ["a", "b", "c", "d", "e", "f"],
    "request_id": ["r1", "r1", "r2", None, "r2", "r3"],
    "context": ["x", "x", "y", "y", None, "z"],
}
SHOWN = {
    "user_id": ["u", "u", "v", "nobody", "v"],
    "item_id": ["b", "g", "a", "c", "nothing"],
    "request_id": ["r2", "r3", "r9", "r9", "r1"],
    "context": ["y", "x", "w", "w", "x"],
}


def catalogue(paths: dict[str, list[str]] | None = None) -> pa.Table:
    table = pa.table({"item_id": list(LEAVES), "category": pa.array(list(LEAVES.values()), pa.string())})
    if paths is None:
        return table
    return table.append_column("categories", pa.array([paths.get(item) for item in LEAVES], STRINGS))


def built(
    *negatives: dict[str, Any],
    clicks: dict[str, list[Any]] | None = None,
    items: pa.Table | None = None,
    exposures: pa.Table | None = None,
) -> TrainingSet:
    pairs = pa.table(clicks or CLICKS)
    pairs = pairs.append_column("history", pa.array([[]] * pairs.num_rows, STRINGS))
    config = TrainingConfig.model_validate({"negatives": [{"source": "in_batch"}, *negatives]})
    return build_training_set(pairs, catalogue() if items is None else items, NO_USERS, config, exposures)


def names(data: TrainingSet, sets, one: int) -> list[str]:
    trained = data.encoder.items.ids.ids.to_pylist()
    ids = ["", *trained, *sorted(set(LEAVES) - set(trained))]
    return [ids[item] for item in np.flatnonzero(sets.members[[one]].toarray()[0])]


def category_pools(data: TrainingSet) -> dict[str, list[str]]:
    """What each item's same-category negatives are drawn from, itself included."""
    sets, chosen = data.pools.categories, data.pools.category_of_item
    assert sets is not None
    assert chosen is not None
    trained = data.encoder.items.ids.ids.to_pylist()
    ids = [*trained, *sorted(set(LEAVES) - set(trained))]
    return {item: sorted(names(data, sets, chosen[index])) for index, item in enumerate(ids, start=1)}


CATEGORY = {"source": "category", "per_positive": 2, "minimum_items": 2}


def test_pools_are_built_only_for_the_sources_that_need_them() -> None:
    pools = built(exposures=pa.table(SHOWN)).pools
    assert (pools.categories, pools.category_of_item, pools.contexts, pools.exposed) == (None, None, None, None)


def test_a_category_holds_the_whole_catalogue_never_clicked_items_too() -> None:
    pools = category_pools(built(CATEGORY))
    assert pools["d"] == pools["g"] == ["d", "f", "g"]
    assert pools["a"] == ["a", "b"]


def test_an_item_without_a_category_has_no_pool_and_is_in_none() -> None:
    pools = category_pools(built(CATEGORY))
    assert pools["e"] == []
    assert not any("e" in pool for pool in pools.values())
    unknown = LEAVES | {"e": "unknown", "c": "unknown"}
    items = pa.table({"item_id": list(unknown), "category": pa.array(list(unknown.values()), pa.string())})
    pools = category_pools(built(CATEGORY, items=items))
    assert pools["e"] == pools["c"] == []


def test_an_item_outside_the_catalogue_has_no_pool() -> None:
    items = catalogue().filter(pa.array([item != "a" for item in LEAVES]))
    with_more = pa.concat_tables([items, pa.table({"item_id": ["z"], "category": pa.array(["blue"])})])
    data = built(CATEGORY, items=with_more)
    assert data.pools.categories is not None
    assert data.pools.category_of_item is not None
    index = 1 + data.encoder.items.ids.ids.to_pylist().index("a")
    assert data.pools.categories.sizes[data.pools.category_of_item[index]] == 0


PATHS = {
    "a": ["warm", "red"],
    "b": ["warm", "red"],
    "c": ["cold", "blue"],
    "d": ["cold", "green"],
    "f": ["cold", "green"],
    "g": ["cold", "green"],
}


@pytest.mark.parametrize(
    ("minimum", "of_a", "of_c", "of_d"),
    [
        (2, "ab", "cdfg", "dfg"),
        (3, "ab", "cdfg", "dfg"),
        (4, "ab", "cdfg", "cdfg"),
        (100, "ab", "cdfg", "cdfg"),
    ],
)
def test_a_leaf_that_is_too_small_is_widened_to_its_parent_and_the_widest_is_the_last(
    minimum: int, of_a: str, of_c: str, of_d: str
) -> None:
    pools = category_pools(built(CATEGORY | {"minimum_items": minimum}, items=catalogue(PATHS)))
    assert (pools["a"], pools["c"], pools["d"]) == (list(of_a), list(of_c), list(of_d))


def test_leaves_of_the_same_name_under_different_parents_are_two() -> None:
    paths = {item: [path[0], "other"] for item, path in PATHS.items()}
    pools = category_pools(built(CATEGORY, items=catalogue(paths)))
    assert pools["a"] == ["a", "b"]
    assert pools["c"] == ["c", "d", "f", "g"]


def test_the_pool_of_a_context_is_what_was_clicked_or_shown_in_it() -> None:
    data = built({"source": "context", "per_positive": 1}, exposures=pa.table(SHOWN))
    assert data.pools.contexts is not None
    pools = [set(names(data, data.pools.contexts, one)) if one >= 0 else None for one in data.context.tolist()]
    assert pools == [{"a", "b", "g"}, {"a", "b", "g"}, {"b", "c", "d"}, {"b", "c", "d"}, None, {"f"}]


def test_the_pool_of_a_request_is_what_was_clicked_or_shown_in_it() -> None:
    data = built({"source": "context", "within": "request", "per_positive": 1}, exposures=pa.table(SHOWN))
    assert data.pools.contexts is not None
    pools = [set(names(data, data.pools.contexts, one)) if one >= 0 else None for one in data.request.tolist()]
    assert pools == [{"a", "b"}, {"a", "b"}, {"b", "c", "e"}, None, {"b", "c", "e"}, {"f", "g"}]


def test_contexts_without_exposures_hold_clicks_alone() -> None:
    data = built({"source": "context", "per_positive": 1})
    assert data.pools.contexts is not None
    assert set(names(data, data.pools.contexts, data.context[2])) == {"c", "d"}


def test_exposures_of_unknown_users_or_items_are_dropped() -> None:
    data = built({"source": "exposed", "per_positive": 1}, exposures=pa.table(SHOWN))
    assert data.pools.exposed is not None
    user_index = {user: 1 + index for index, user in enumerate(data.encoder.users.ids.ids.to_pylist())}
    assert set(names(data, data.pools.exposed, user_index["u"])) == {"b", "g"}
    assert set(names(data, data.pools.exposed, user_index["v"])) == {"a"}
    assert names(data, data.pools.exposed, user_index["w"]) == []
    assert names(data, data.pools.exposed, 0) == []


def without(table: dict[str, list[Any]], *columns: str) -> dict[str, list[Any]]:
    return {name: values for name, values in table.items() if name not in columns}


@pytest.mark.parametrize(
    ("negatives", "changes", "message"),
    [
        ({"source": "exposed", "per_positive": 1}, {}, "no exposures"),
        (
            {"source": "exposed", "per_positive": 1},
            {"exposures": pa.table({"user_id": ["nobody"], "item_id": ["a"]})},
            "no exposures",
        ),
        (
            {"source": "context", "per_positive": 1},
            {"clicks": without(CLICKS, "context")},
            "No context has two items: the log has no column 'context'",
        ),
        (
            {"source": "context", "per_positive": 1, "within": "request"},
            {"clicks": without(CLICKS, "request_id")},
            "No request has two items: the log has no column 'request_id'",
        ),
        (
            {"source": "context", "per_positive": 1},
            {"clicks": CLICKS | {"context": list("stuvwx")}},
            "each of its values occurs with one item only",
        ),
        ({"source": "context", "per_positive": 1}, {"clicks": CLICKS | {"context": ["x"] * 6}}, "only one context"),
        (CATEGORY, {"items": pa.table({"item_id": list(LEAVES)})}, "no categories to draw from"),
        (
            CATEGORY,
            {"items": pa.table({"item_id": list(LEAVES), "category": list("stuvwxy")})},
            "no categories to draw from",
        ),
        (CATEGORY, {"items": pa.table({"item_id": list(LEAVES), "category": ["all"] * 7})}, "no categories"),
    ],
)
def test_data_that_cannot_give_a_source_what_it_needs_are_refused_with_the_reason(
    negatives: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(TrainingDataError, match=message):
        built(negatives, **changes)


@pytest.mark.parametrize(
    "negatives",
    [
        CATEGORY,
        {"source": "context", "per_positive": 1},
        {"source": "context", "per_positive": 1, "within": "request"},
        {"source": "exposed", "per_positive": 1},
    ],
)
def test_the_fingerprint_of_the_training_set_knows_the_pools(negatives: dict[str, Any]) -> None:
    one, again = (built(negatives, exposures=pa.table(SHOWN), items=catalogue(PATHS)) for _ in range(2))
    shown = pa.table(SHOWN | {"item_id": ["b", "f", "a", "c", "nothing"]})
    other = built(negatives, exposures=shown, items=catalogue(PATHS | {"g": ["warm", "red"]}))
    assert one.fingerprint() == again.fingerprint()
    assert one.fingerprint() != other.fingerprint()

"""The sets of items that hard negatives are drawn from: categories, contexts, and what each user was shown.

Here: building these sets, once per training run, for the sources of negatives in the configuration; and the errors for
data that lack what a source needs. Not here: drawing (`sampling/negatives.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import CategoryNegatives, ContextNegatives, ExposedNegatives
from twotower_assets.two_tower.data.encoders import UNKNOWN_CATEGORY, TrainingDataError, item_categories
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.vocabulary import Vocabulary, as_strings

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PairGroups:
    """Request and context indices of pairs and of exposures, from 0 and shared by both; -1 where there is none."""

    request: Int64s
    context: Int64s
    exposed_request: Int64s
    exposed_context: Int64s


@dataclass(frozen=True)
class NegativePools:
    """Sets of items for the configured sources of negatives; None for sources that are not configured.

    `category_of_item` int64 [M + 1] is the index of the set in `categories` from which an item's negatives are drawn.
    `contexts` has a set per context or request, `exposed` one per user index.
    """

    categories: ItemSets | None = None
    category_of_item: Int64s | None = None
    contexts: ItemSets | None = None
    exposed: ItemSets | None = None

    def arrays(self) -> Iterator[npt.NDArray[np.int64]]:
        """The arrays that determine the pools."""
        for pool in (self.categories, self.contexts, self.exposed):
            yield from pool.arrays() if pool is not None else []
        if self.category_of_item is not None:
            yield self.category_of_item


def encode_groups(pairs: pa.Table, exposures: pa.Table | None) -> PairGroups:
    """Give the distinct values of `request_id` and `context` indices; a missing column counts as nulls."""
    indices = {}
    for name in ("request_id", "context"):
        columns = [_strings(pairs, name), *([_strings(exposures, name)] if exposures is not None else [])]
        vocabulary = Vocabulary.from_values(pa.chunked_array(columns))
        indices[name] = [vocabulary.encode(column) - 1 for column in columns]
    empty = np.zeros(0, np.int64)
    (request, *exposed_request), (context, *exposed_context) = indices.values()
    return PairGroups(request, context, *(exposed_request or [empty]), *(exposed_context or [empty]))


def _strings(table: pa.Table, name: str) -> pa.Array:
    if name not in table.column_names:
        return pa.nulls(table.num_rows, pa.large_string())
    return as_strings(table.column(name))


def negative_pools(
    config: TrainingConfig,
    catalogue: Vocabulary,
    users: Vocabulary,
    item: Int64s,
    items: pa.Table,
    groups: PairGroups,
    exposures: pa.Table | None,
) -> NegativePools:
    """Build the pools that the configured sources need.

    Args:
        config: Names the sources.
        catalogue: Indices of all items.
        users: Indices of the users.
        item: int64 [N], item indices of the pairs.
        items, exposures: As for `build_training_set`.
        groups: `encode_groups` of the same tables.

    Raises:
        TrainingDataError: The data lack what a source needs; the message says what.
    """
    pools: dict[str, ItemSets | Int64s] = {}
    shown = exposures if exposures is not None else pa.table({"user_id": [], "item_id": []})
    exposed_user, exposed_item = (
        vocabulary.encode(shown.column(name)) for vocabulary, name in ((users, "user_id"), (catalogue, "item_id"))
    )
    for source in config.negatives:
        if isinstance(source, CategoryNegatives):
            pools["categories"], pools["category_of_item"] = _categories(catalogue, items, source.minimum_items)
        elif isinstance(source, ContextNegatives):
            clicks, views = (
                (groups.context, groups.exposed_context)
                if source.within == "context"
                else (groups.request, groups.exposed_request)
            )
            group, member = np.concatenate([clicks, views]), np.concatenate([item, exposed_item])
            pools["contexts"] = _contexts(group, member, source.within, catalogue.size)
        elif isinstance(source, ExposedNegatives):
            known = (exposed_user > 0) & (exposed_item > 0)
            if not known.any():
                raise TrainingDataError(
                    "There are no exposures: no user of the training pairs was shown an item without clicking it. "
                    "A log that holds only clicks has no exposures."
                )
            pools["exposed"] = ItemSets.from_members(
                exposed_user[known], exposed_item[known], users.size, catalogue.size
            )
    return NegativePools(**pools)  # type: ignore[arg-type]


def _contexts(group: Int64s, member: Int64s, within: str, n_items: int) -> ItemSets:
    known = (group >= 0) & (member > 0)
    n_groups = int(group.max(initial=-1)) + 1
    pools = ItemSets.from_members(group[known], member[known], n_groups, n_items)
    if not (pools.sizes > 1).any():
        raise TrainingDataError(
            f"No {within} has two items: the log has no column '{'request_id' if within == 'request' else within}', or "
            "each of its values occurs with one item only."
        )
    if within == "context" and n_groups == 1:
        raise TrainingDataError(
            "The log has only one context, so context negatives would be drawn from all items of the log."
        )
    return pools


def _categories(catalogue: Vocabulary, items: pa.Table, minimum_items: int) -> tuple[ItemSets, Int64s]:
    """The items of every category, and for each item its narrowest category with at least `minimum_items` items.

    'unknown' is not a category: its items are in no set.
    """
    row_of_item = pc.fill_null(pc.index_in(catalogue.ids, value_set=as_strings(items.column("item_id"))), -1).to_numpy()
    leaves = pc.if_else(pc.equal(item_categories(items), UNKNOWN_CATEGORY), None, item_categories(items)).to_pylist()
    listed = items.column("categories").to_pylist() if "categories" in items.column_names else [None] * len(leaves)
    paths: list[tuple[str, ...]] = [()]
    for row in row_of_item.tolist():
        leaf, path = (leaves[row], listed[row]) if row >= 0 else (None, None)
        paths.append(tuple(path) if path and leaf else (leaf,) if leaf else ())
    set_of_path: dict[tuple[str, ...], int] = {}
    ancestors = [
        [set_of_path.setdefault(path[: depth + 1], len(set_of_path)) for depth in range(len(path))] for path in paths
    ]
    member = np.repeat(np.arange(len(paths)), [len(sets_above) for sets_above in ancestors])
    sets = ItemSets.from_members(
        np.fromiter(chain.from_iterable(ancestors), np.int64), member, len(set_of_path) + 1, len(paths)
    )
    if (sets.sizes > 1).sum() < 2:
        raise TrainingDataError(
            "There are no categories to draw from: fewer than two of them have two items. Give 'category' in the "
            "data set's SQL of the items."
        )
    sizes = sets.sizes
    empty = len(set_of_path)  # the empty set, for items without a category
    chosen = [
        next(
            (index for index in reversed(sets_above) if sizes[index] >= minimum_items),
            sets_above[0] if sets_above else empty,
        )
        for sets_above in ancestors
    ]
    return sets, np.array(chosen, np.int64)

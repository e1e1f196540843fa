"""The groups of items that negatives are drawn from: categories, contexts, and what each user was shown.

Here: built once per training run, from the training pairs, their exposures and the catalogue, for the sources that the
configuration names; and the clear refusals where the data cannot give what a source needs. Not here: drawing.
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
class Groups:
    """The request and the context of pairs and of exposures, numbered together from 0; -1 where there is none."""

    request: Int64s
    context: Int64s
    exposed_request: Int64s
    exposed_context: Int64s


@dataclass(frozen=True)
class NegativePools:
    """Sets of items for the configured sources; None for the others.

    `category_of_item` int64 [M + 1] gives the set of `categories` that an item's negatives come from, `contexts` has
    a set per context or request, `exposed` one per user number.
    """

    categories: ItemSets | None = None
    category_of_item: Int64s | None = None
    contexts: ItemSets | None = None
    exposed: ItemSets | None = None

    def arrays(self) -> Iterator[npt.NDArray[np.int64]]:
        """What determines the pools."""
        for pool in (self.categories, self.contexts, self.exposed):
            yield from pool.arrays() if pool is not None else []
        if self.category_of_item is not None:
            yield self.category_of_item


def number_groups(pairs: pa.Table, exposures: pa.Table | None) -> Groups:
    """Number the distinct values of `request_id` and `context`; a missing column is one of nulls."""
    numbered = {}
    for name in ("request_id", "context"):
        columns = [_strings(pairs, name), *([_strings(exposures, name)] if exposures is not None else [])]
        vocabulary = Vocabulary.of_values(pa.chunked_array(columns))
        numbered[name] = [vocabulary.encode(column) - 1 for column in columns]
    nothing = np.zeros(0, np.int64)
    (request, *exposed_request), (context, *exposed_context) = numbered.values()
    return Groups(request, context, *(exposed_request or [nothing]), *(exposed_context or [nothing]))


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
    groups: Groups,
    exposures: pa.Table | None,
) -> NegativePools:
    """The pools that the configured sources need.

    Args:
        config: Names the sources.
        catalogue: Numbers every item.
        users: Numbers the users.
        item: int64 [N], of the pairs.
        items, exposures: as for `build_training_set`.
        groups: From `number_groups` of the same tables.

    Raises:
        TrainingDataError: the data lack what a source needs; the message says what.
    """
    pools: dict[str, ItemSets | Int64s] = {}
    shown = exposures if exposures is not None else pa.table({"user_id": [], "item_id": []})
    exposed_user, exposed_item = (
        numbers.encode(shown.column(name)) for numbers, name in ((users, "user_id"), (catalogue, "item_id"))
    )
    for one in config.negatives:
        if isinstance(one, CategoryNegatives):
            pools["categories"], pools["category_of_item"] = _categories(catalogue, items, one.minimum_items)
        elif isinstance(one, ContextNegatives):
            clicks, views = (
                (groups.context, groups.exposed_context)
                if one.within == "context"
                else (groups.request, groups.exposed_request)
            )
            group, member = np.concatenate([clicks, views]), np.concatenate([item, exposed_item])
            pools["contexts"] = _contexts(group, member, one.within, catalogue.size)
        elif isinstance(one, ExposedNegatives):
            known = (exposed_user > 0) & (exposed_item > 0)
            if not known.any():
                raise TrainingDataError(
                    "There are no exposures: nothing that a user of the training pairs was shown and did not click. "
                    "A log of clicks alone has none."
                )
            pools["exposed"] = ItemSets.of_members(exposed_user[known], exposed_item[known], users.size, catalogue.size)
    return NegativePools(**pools)  # type: ignore[arg-type]


def _contexts(group: Int64s, member: Int64s, within: str, n_items: int) -> ItemSets:
    known = (group >= 0) & (member > 0)
    n_groups = int(group.max(initial=-1)) + 1
    pools = ItemSets.of_members(group[known], member[known], n_groups, n_items)
    if not (pools.sizes > 1).any():
        raise TrainingDataError(
            f"No {within} has two items: the log has no column '{'request_id' if within == 'request' else within}', or "
            "every one of its values is alone."
        )
    if within == "context" and n_groups == 1:
        raise TrainingDataError("The log has one context only, and so no item is nearer to it than another.")
    return pools


def _categories(catalogue: Vocabulary, items: pa.Table, minimum_items: int) -> tuple[ItemSets, Int64s]:
    """Sets of items under every category, and the narrowest one of each item that has `minimum_items`.

    The category 'unknown' is none: its items are in no set.
    """
    places = pc.fill_null(pc.index_in(catalogue.ids, value_set=as_strings(items.column("item_id"))), -1).to_numpy()
    leaves = pc.if_else(pc.equal(item_categories(items), UNKNOWN_CATEGORY), None, item_categories(items)).to_pylist()
    listed = items.column("categories").to_pylist() if "categories" in items.column_names else [None] * len(leaves)
    paths: list[tuple[str, ...]] = [()]
    for place in places.tolist():
        leaf, path = (leaves[place], listed[place]) if place >= 0 else (None, None)
        paths.append(tuple(path) if path and leaf else (leaf,) if leaf else ())
    number: dict[tuple[str, ...], int] = {}
    ancestors = [[number.setdefault(path[: depth + 1], len(number)) for depth in range(len(path))] for path in paths]
    member = np.repeat(np.arange(len(paths)), [len(above) for above in ancestors])
    sets = ItemSets.of_members(
        np.fromiter(chain.from_iterable(ancestors), np.int64), member, len(number) + 1, len(paths)
    )
    if (sets.sizes > 1).sum() < 2:
        raise TrainingDataError(
            "There are no categories to draw from: fewer than two of them have two items. Give 'category' in the "
            "items' SQL of the data set."
        )
    sizes = sets.sizes
    nothing = len(number)  # the empty set, for items without a category
    chosen = [
        next((one for one in reversed(above) if sizes[one] >= minimum_items), above[0] if above else nothing)
        for above in ancestors
    ]
    return sets, np.array(chosen, np.int64)

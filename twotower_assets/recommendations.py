"""What is served, asked for from a terminal: lists for a user, items like an item, from the champion's index.

How an index is searched lives in `retrieval`; which version is the champion is decided by its asset.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import duckdb

from twotower_assets.lake.queries import read_query
from twotower_assets.platform import Platform

if TYPE_CHECKING:
    from twotower_assets.retrieval.index import ItemIndex


class NothingServedError(LookupError):
    """There is no champion, or it does not know the user or item."""


@dataclass(frozen=True)
class Suggestion:
    """One place of a list."""

    rank: int
    item_id: str
    title: str | None
    category: str
    bucket: str
    score: float

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)


def recommend(platform: Platform, user_id: str, k: int, popularity_weight: float | None = None) -> list[Suggestion]:
    """The k best items that the user has not clicked, best first, at γ (default: the setting).

    Raises `NothingServedError` without a champion or for an unknown user, `ItemIndexError` or `ArtifactError` where
    the champion's index is damaged or gone.
    """
    import numpy as np

    gamma = platform.settings.popularity_weight if popularity_weight is None else popularity_weight
    with platform.lake.reader() as con:
        index, trained_weight = _champion_index(con, platform)
        row = con.execute(read_query("serving/user_vector.sql"), {"user_id": user_id}).fetchone()
        if row is None:
            raise NothingServedError(
                f"the served model does not know the user '{user_id}'. Known users: "
                '`twotower sql "SELECT user_id FROM served_user_embeddings LIMIT 5"`'
            )
        seen = {item for (item,) in con.execute(read_query("serving/seen_items.sql"), {"user_id": user_id}).fetchall()}
        scores, places = index.search(
            np.asarray([row[0]], np.float32), min(k + len(seen), len(index)), gamma - trained_weight
        )
        kept = [
            (index.item_ids[place], float(score))
            for place, score in zip(places[0], scores[0], strict=True)
            if place >= 0 and index.item_ids[place] not in seen
        ]
        return _described(con, kept[:k])


def popularity_warning(platform: Platform, popularity_weight: float | None = None) -> str | None:
    """What somebody who asks for γ (default: the setting) should know, where γ₀ of the served recipe is unknown.

    Raises `NothingServedError` without a champion.
    """
    gamma = platform.settings.popularity_weight if popularity_weight is None else popularity_weight
    with platform.lake.reader() as con:
        index, trained_weight = _champion_index(con, platform)
        if index.extra.get("trained_weight_is_known", True):
            return None
        row = con.execute(read_query("serving/missing_popularity.sql"), {"popularity_weight": gamma}).fetchone()
    told = (
        "γ₀ of the served recipe is unknown, as some of its negatives are not corrected for; γ is relative, "
        f"{trained_weight:g} being the score as it was trained."
    )
    if row is None:
        return f"{told} δ is not known at γ = {gamma:g}; it is measured at 0, ½ and 1."
    delta, low, high = row
    told += f" At γ = {gamma:g} the score misses δ = {delta:+.2f} [{low:+.2f}, {high:+.2f}] of log q."
    if low > 0 and gamma < 1:
        told += " It is too low for popular items already, and a lower γ takes away more: raise γ."
    return told


def similar(platform: Platform, item_id: str, k: int) -> list[Suggestion]:
    """The k items whose vectors are nearest to the item's, best first. Raises as `recommend` does."""
    from twotower_assets.retrieval.index import ItemIndexError

    with platform.lake.reader() as con:
        index, _ = _champion_index(con, platform)
        try:
            position = index.position_of(item_id)
        except ItemIndexError as error:
            raise NothingServedError(
                f"the served model does not know the item '{item_id}'. Known items: "
                '`twotower sql "SELECT item_id FROM served_item_embeddings LIMIT 5"`'
            ) from error
        scores, places = index.similar_items(position, min(k, len(index) - 1))
        found = zip(places.ravel(), scores.ravel(), strict=True)
        return _described(con, [(index.item_ids[place], float(score)) for place, score in found if place >= 0])


def _champion_index(con: duckdb.DuckDBPyConnection, platform: Platform) -> tuple[ItemIndex, float]:
    from twotower_assets.retrieval.storage import load_index

    row = con.execute("SELECT index_version FROM champion").fetchone()
    if row is None:
        raise NothingServedError(
            "nothing is served yet: no model was trained, or none passed its gates. The checks and the report of the "
            "last run of training_job say which; `make demo` or `twotower materialize training_job` runs it"
        )
    index = load_index(platform.artifacts.open("ann_index", row[0]).folder)
    return index, float(index.extra["trained_popularity_weight"])


def _described(con: duckdb.DuckDBPyConnection, found: list[tuple[str, float]]) -> list[Suggestion]:
    if not found:
        return []
    rows = con.execute(read_query("serving/item_titles.sql"), {"item_ids": [item for item, _ in found]}).fetchall()
    return [
        Suggestion(rank, item_id, title, category, bucket, score)
        for rank, ((item_id, title, category, bucket), (_, score)) in enumerate(zip(rows, found, strict=True), 1)
    ]

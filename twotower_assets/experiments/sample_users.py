"""A few users with their lists at γ = 0, ½ and 1, so that readers can look at recommendations beside the metrics.

A fixed rule, stated on the page, chooses the users, so that no flattering example is picked by hand. Why an item is
suggested is computed in `evaluation.reasons`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from twotower_assets.core.popularity import KEY_WEIGHTS
from twotower_assets.experiments.evaluate_model import ModelEvaluation

if TYPE_CHECKING:
    import numpy as np

    from twotower_assets.evaluation.scores import ScoreBlock
    from twotower_assets.reporting.report_data import SampleUser

LENGTH, HISTORY = 8, 8
TASTE_CLICKS = 10
"""Minimum clicks for a user's taste to be described by the mean popularity of the clicked items."""
RULE = (
    "These users were chosen by rule, from the users with a click in the hold-out: those with the most, the median "
    f"and the fewest clicks before it; of the users with at least {TASTE_CLICKS} clicks, those whose clicked items "
    "are the least and the most popular on average; and one without any earlier click. Ties go to the first id."
)


def sample_users(evaluation: ModelEvaluation) -> list[SampleUser]:
    """The users that `RULE` names, each once, under the first of its descriptions."""
    from twotower_assets.core.buckets import BUCKETS, popularity_buckets
    from twotower_assets.evaluation.ranking import top_k
    from twotower_assets.reporting.report_data import RecommendedItem, SampleUser

    view, items = evaluation.view, evaluation.hold_out.items
    chosen: dict[int, str] = {}
    for row, description in _chosen_rows(evaluation):
        chosen.setdefault(row, description)
    rows = _array(list(chosen))
    ids = items["item_id"].to_pylist()
    names = [title or item for title, item in zip(items["title"].to_pylist(), ids, strict=True)]
    name_of = dict(zip(ids, names, strict=True))
    buckets = popularity_buckets(evaluation.counts)
    lists = {
        gamma: top_k(_subset(evaluation.served(gamma), rows), len(rows), view.seen.take(rows), LENGTH)
        for gamma in KEY_WEIGHTS
    }
    found = []
    for chosen_index, (row, description) in enumerate(chosen.items()):
        seen, relevant = (
            items_of_user.take(_array([row])).values.tolist() for items_of_user in (view.seen, view.relevant)
        )
        listed = {
            gamma: [item for item in found_lists[chosen_index].tolist() if item >= 0]
            for gamma, found_lists in lists.items()
        }
        reasons = _reasons(evaluation, seen, {item for items in listed.values() for item in items})
        shown = {
            gamma: [
                RecommendedItem(
                    item_id=ids[item],
                    title=names[item],
                    bucket=BUCKETS[buckets[item]],
                    reasons=[names[reason] for reason in reasons[item]],
                    hit=item in relevant,
                )
                for item in listed_items
            ]
            for gamma, listed_items in listed.items()
        }
        clicked = [name_of.get(item) or item for item in reversed(view.histories[row].as_py()[-HISTORY:])]
        found.append(SampleUser(view.user_ids[row].as_py(), clicked, shown, description, len(seen)))
    return found


def _chosen_rows(evaluation: ModelEvaluation) -> Iterator[tuple[int, str]]:
    """Rows of the view and why they are shown, in the order of `RULE`."""
    import numpy as np

    seen = evaluation.view.seen
    clicks = seen.sizes()
    findable = evaluation.view.relevant.sizes() > 0
    candidates = np.flatnonzero((clicks > 0) & findable)
    if len(candidates):
        by_clicks = candidates[np.argsort(clicks[candidates], kind="stable")]
        yield int(candidates[np.argmax(clicks[candidates])]), "the most clicks"
        yield int(by_clicks[(len(by_clicks) - 1) // 2]), "the median number of clicks"
        yield int(by_clicks[0]), "the fewest clicks"
    popularity = np.bincount(seen.rows(), evaluation.counts[seen.values], len(clicks)) / np.maximum(clicks, 1)
    frequent = candidates[clicks[candidates] >= TASTE_CLICKS]
    if len(frequent):
        yield int(frequent[np.argmin(popularity[frequent])]), "the least popular taste"
        yield int(frequent[np.argmax(popularity[frequent])]), "the most popular taste"
    for row in np.flatnonzero((clicks == 0) & findable)[:1]:
        yield int(row), "no click before"


def _reasons(evaluation: ModelEvaluation, seen: list[int], listed: set[int]) -> dict[int, list[int]]:
    """For each listed item, the most similar clicked items, all as positions in the catalogue."""
    from twotower_assets.evaluation.reasons import nearest_in_history

    explained = sorted(listed)
    return dict(zip(explained, nearest_in_history(evaluation.item_vectors, seen, explained), strict=True))


def _array(rows: list[int]) -> np.ndarray:
    import numpy as np

    return np.asarray(rows, np.int64)


def _subset(scores: ScoreBlock, users: np.ndarray) -> ScoreBlock:
    """The scores of some users, renumbered from 0."""

    def score(rows: Any) -> Any:
        return scores(users[rows])

    return score

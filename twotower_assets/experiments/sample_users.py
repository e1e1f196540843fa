"""A few users with their lists at γ = 0, ½ and 1, for people to look at before they believe numbers.

Who is shown follows from a rule that the page states, so that nobody picked the flattering ones. Why an item is
suggested is computed in `evaluation.reasons`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from twotower_assets.core.popularity import KEY_WEIGHTS
from twotower_assets.experiments.evaluate_model import Judged

if TYPE_CHECKING:
    import numpy as np

    from twotower_assets.evaluation.scores import ScoreBlock
    from twotower_assets.reporting.report_data import SampleUser

LENGTH, HISTORY = 8, 8
TASTE_CLICKS = 10
"""Clicks from which the mean popularity of what a user clicked says something of the user."""
RULE = (
    "These users were chosen by rule, from the users with a click in the hold-out: those with the most, the median "
    f"and the fewest clicks before it; of the users with at least {TASTE_CLICKS} clicks, those whose clicked items "
    "are the least and the most popular on average; and one without any earlier click. Ties go to the first id."
)


def sample_users(judged: Judged) -> list[SampleUser]:
    """The users that `RULE` names, each once, under the first of its descriptions."""
    from twotower_assets.core.buckets import BUCKETS, popularity_buckets
    from twotower_assets.evaluation.ranking import top_k
    from twotower_assets.reporting.report_data import RecommendedItem, SampleUser

    view, items = judged.view, judged.hold_out.items
    chosen: dict[int, str] = {}
    for row, description in _told_apart(judged):
        chosen.setdefault(row, description)
    rows = _array(list(chosen))
    ids = items["item_id"].to_pylist()
    names = [title or item for title, item in zip(items["title"].to_pylist(), ids, strict=True)]
    name_of = dict(zip(ids, names, strict=True))
    buckets = popularity_buckets(judged.counts)
    lists = {
        gamma: top_k(_only(judged.served(gamma), rows), len(rows), view.seen.take(rows), LENGTH)
        for gamma in KEY_WEIGHTS
    }
    found = []
    for position, (row, description) in enumerate(chosen.items()):
        seen, relevant = (one.take(_array([row])).values.tolist() for one in (view.seen, view.relevant))
        reasons = _reasons(judged, seen, {place for one in lists.values() for place in one[position].tolist()})
        shown = {
            gamma: [
                RecommendedItem(
                    item_id=ids[place],
                    title=names[place],
                    bucket=BUCKETS[buckets[place]],
                    reasons=[names[reason] for reason in reasons[place]],
                    hit=place in relevant,
                )
                for place in one[position].tolist()
                if place >= 0
            ]
            for gamma, one in lists.items()
        }
        clicked = [name_of.get(item) or item for item in reversed(view.histories[row].as_py()[-HISTORY:])]
        found.append(SampleUser(view.user_ids[row].as_py(), clicked, shown, description, len(seen)))
    return found


def _told_apart(judged: Judged) -> Iterator[tuple[int, str]]:
    """Rows of the view and why they are shown, in the order of `RULE`."""
    import numpy as np

    seen = judged.view.seen
    clicks = seen.sizes()
    findable = judged.view.relevant.sizes() > 0
    able = np.flatnonzero((clicks > 0) & findable)
    if len(able):
        by_clicks = able[np.argsort(clicks[able], kind="stable")]
        yield int(able[np.argmax(clicks[able])]), "the most clicks"
        yield int(by_clicks[(len(by_clicks) - 1) // 2]), "the median number of clicks"
        yield int(by_clicks[0]), "the fewest clicks"
    popularity = np.bincount(seen.rows(), judged.counts[seen.values], len(clicks)) / np.maximum(clicks, 1)
    steady = able[clicks[able] >= TASTE_CLICKS]
    if len(steady):
        yield int(steady[np.argmin(popularity[steady])]), "the least popular taste"
        yield int(steady[np.argmax(popularity[steady])]), "the most popular taste"
    for row in np.flatnonzero((clicks == 0) & findable)[:1]:
        yield int(row), "no click before"


def _reasons(judged: Judged, seen: list[int], listed: set[int]) -> dict[int, list[int]]:
    """For each listed item, the clicked ones that it is most like, all as positions in the catalogue."""
    from twotower_assets.evaluation.reasons import nearest_in_history

    asked = sorted(place for place in listed if place >= 0)
    return dict(zip(asked, nearest_in_history(judged.item_vectors, seen, asked), strict=True))


def _array(rows: list[int]) -> np.ndarray:
    import numpy as np

    return np.asarray(rows, np.int64)


def _only(scores: ScoreBlock, users: np.ndarray) -> ScoreBlock:
    """The scores of some users, renumbered from 0."""

    def score(rows: Any) -> Any:
        return scores(users[rows])

    return score

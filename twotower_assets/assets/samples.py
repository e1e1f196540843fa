"""A few users with their lists at γ = 0, ½ and 1, for people to look at before they believe numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twotower_assets.assets.model_evaluation import DIAGNOSED_WEIGHTS, SEED, Judged

if TYPE_CHECKING:
    import numpy as np

    from twotower_assets.evaluation.scores import ScoreBlock
    from twotower_assets.reporting.report_data import SampleUser

USERS, LENGTH, HISTORY = 5, 8, 8


def sample_users(judged: Judged) -> list[SampleUser]:
    """Users drawn with a fixed seed among those with a history, or among all where nobody has one."""
    import numpy as np

    from twotower_assets.evaluation.buckets import BUCKET_NAMES, popularity_buckets
    from twotower_assets.evaluation.ranking import top_k
    from twotower_assets.reporting.report_data import RecommendedItem, SampleUser

    view, items = judged.view, judged.hold_out.items
    candidates = np.flatnonzero(view.seen.sizes())
    candidates = candidates if len(candidates) else np.arange(len(view))
    drawn = np.sort(np.random.default_rng(SEED).choice(candidates, min(USERS, len(candidates)), replace=False))
    ids, titles = items["item_id"].to_pylist(), items["title"].to_pylist()
    title_of = dict(zip(ids, titles, strict=True))
    buckets = popularity_buckets(judged.counts)
    lists = {
        gamma: top_k(_only(judged.served(gamma), drawn), len(drawn), view.seen.take(drawn), LENGTH)
        for gamma in DIAGNOSED_WEIGHTS
    }
    return [
        SampleUser(
            user_id=view.user_ids[int(row)].as_py(),
            history=[title_of.get(item) or item for item in reversed(view.histories[int(row)].as_py()[-HISTORY:])],
            lists={
                gamma: [
                    RecommendedItem(ids[place], titles[place], BUCKET_NAMES[buckets[place]])
                    for place in lists[gamma][position]
                    if place >= 0
                ]
                for gamma in DIAGNOSED_WEIGHTS
            },
        )
        for position, row in enumerate(drawn)
    ]


def _only(scores: ScoreBlock, users: np.ndarray) -> ScoreBlock:
    """The scores of some users, renumbered from 0."""

    def score(rows: Any) -> Any:
        return scores(users[rows])

    return score

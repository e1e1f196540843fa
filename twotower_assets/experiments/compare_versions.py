"""Two versions of the model on the same users: what the gate, the report and `twotower compare` set side by side.

Both rank the whole catalogue for the users of the first version's hold-out, as they would be served. What is made of
the numbers is decided by whoever asks; which version is meant by a name, in `versions`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.metric_rows import KS, WIDE_K, K
from twotower_assets.core.popularity import log_q
from twotower_assets.experiments.hold_out import HoldOut, HoldOutRule, read_hold_out
from twotower_assets.lake.artifacts import Artifact
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from twotower_assets.experiments.evaluate_model import Judged

MINIMUM_CATEGORY_USERS = 20
"""Users with a held-out click in a category, below which its recall is not compared."""
MOVERS = 10
"""Items given that won, and as many that lost, the most places in lists."""
PAIRED = (("recall", K), ("ndcg", K), ("recall", WIDE_K))
SEED = 0


class ComparisonError(ExpectedError, RuntimeError):
    """Two versions cannot be compared; the message says why, and what can be."""


@dataclass(frozen=True)
class Compared:
    """Two versions side by side.

    Attributes:
        version: the first, on whose hold-out both are judged.
        other_version: the other.
        hold_out_day: the day of the first.
        hold_out: its rule as a phrase.
        popularity_weight: γ of the lists.
        users: users with a held-out click, who are judged.
        rows: under the columns of the table `version_comparisons`.
        movers: the items that stand in more, or fewer, lists of the first; columns item_id, title, category, bucket,
            lists, other_lists and change = lists − other_lists; largest gain first.
    """

    version: str
    other_version: str
    hold_out_day: date
    hold_out: str
    popularity_weight: float
    users: int
    rows: pl.DataFrame
    movers: pl.DataFrame


def compared(workspace: Workspace, version: str, other_version: str) -> Compared:
    """Judge two versions of the model on the hold-out of the first, at the γ that is served.

    Raises:
        ComparisonError: they are the same, or the other was trained on clicks of that hold-out.
        ArtifactError, CheckpointError: a checkpoint is gone or damaged.
        HoldOutError: no click is left to judge by.
    """
    from twotower_assets.evaluation.ranking import top_k
    from twotower_assets.experiments.evaluate_model import judge_checkpoint
    from twotower_assets.two_tower.checkpoint import load_checkpoint

    if version == other_version:
        raise ComparisonError(f"{version} cannot be compared with itself; name two versions")
    artifacts = [workspace.artifacts.open("tower_checkpoint", name) for name in (version, other_version)]
    checkpoints = [load_checkpoint(artifact.folder) for artifact in artifacts]
    hold_out, others = (hold_out_of(workspace, artifact) for artifact in artifacts)
    _refuse_what_was_trained_on(hold_out, others, version, other_version)
    counted, gamma = workspace.settings.popularity_from, workspace.settings.popularity_weight
    own, other = (judge_checkpoint(checkpoint, hold_out, counted) for checkpoint in checkpoints)
    other = replace(other, log_q=_served_log_q(hold_out, others, counted))
    lists = [top_k(one.served(gamma), len(own.view), own.view.seen, WIDE_K) for one in (own, other)]
    day = date.fromisoformat(artifacts[0].manifest["model_day"])
    keys = {"model_version": version, "other_version": other_version, "hold_out_day": day}
    return Compared(
        version=version,
        other_version=other_version,
        hold_out_day=day,
        hold_out=_rule_of(artifacts[0]).description,
        popularity_weight=gamma,
        users=int((own.view.relevant.sizes() > 0).sum()),
        rows=_frame([{**keys, **row} for row in _rows(own, *lists)]),
        movers=_movers(own, *lists),
    )


def _rule_of(artifact: Artifact) -> HoldOutRule:
    return HoldOutRule(**artifact.manifest["details"])


def hold_out_of(workspace: Workspace, artifact: Artifact) -> HoldOut:
    """The clicks of a version of `tower_checkpoint`, split as they were when it was trained."""
    day, snapshot = date.fromisoformat(artifact.manifest["model_day"]), artifact.manifest["lake_snapshot"]
    with workspace.lake.reader(snapshot) as con:
        return read_hold_out(con, _rule_of(artifact), day, snapshot)


def _refuse_what_was_trained_on(hold_out: HoldOut, others: HoldOut, version: str, other_version: str) -> None:
    """Raise `ComparisonError` where clicks to judge by were among those that the other learned, or was chosen, by."""
    import polars as pl

    click = ["user_id", "item_id", "clicked_at"]
    held_out = hold_out.pairs.filter(pl.col("part") == "test")
    learned = others.pairs.filter(pl.col("part") != "test")
    if known := len(held_out.join(learned, on=click, how="semi")):
        raise ComparisonError(
            f"{other_version} was trained on {known} of the {len(held_out)} clicks that are held out for {version}, so "
            f"it would be asked what it was told. Compare on its own hold-out: `twotower compare {other_version} "
            f"{version}`"
        )


def _served_log_q(hold_out: HoldOut, others: HoldOut, counted: str) -> np.ndarray:
    """log q as the other version is served with, from its own training clicks, for the items of this hold-out."""
    import numpy as np
    import polars as pl

    popularity = log_q(others.item_popularity(counted, "train"))
    places = others.positions(pl.Series(hold_out.items["item_id"]))
    return np.asarray(np.where(places >= 0, popularity[places], popularity.min()))


def _rows(own: Judged, lists: np.ndarray, other_lists: np.ndarray) -> Iterator[dict[str, Any]]:
    """The metrics of both, without the versions: means over users, then numbers of the whole catalogue."""
    from twotower_assets.evaluation.comparison import paired_difference
    from twotower_assets.evaluation.popularity_metrics import coverage_at_k, exposure_counts, gini
    from twotower_assets.evaluation.ranking import recall_at_k, restrict
    from twotower_assets.evaluation.summary import user_values

    view, n_items = own.view, len(own.counts)
    both = (user_values(one, view.relevant, view.seen, own.counts, KS) for one in (lists, other_lists))
    for (metric, k, bucket, values), (*_, other_values) in zip(*both, strict=True):
        if (metric, k) in PAIRED and (k == K or bucket == "all"):
            yield _row(metric, k, bucket, paired_difference(values, other_values, seed=SEED))
    for category, inside in _categories(own):
        relevant = restrict(view.relevant, inside)
        if int((relevant.sizes() > 0).sum()) >= MINIMUM_CATEGORY_USERS:
            recalls = (recall_at_k(one, relevant, K) for one in (lists, other_lists))
            yield _row("category_recall", K, category, paired_difference(*recalls, seed=SEED))
    coverages = [coverage_at_k(one, n_items, K) for one in (lists, other_lists)]
    ginis = [float(gini(exposure_counts(one, n_items, K))) for one in (lists, other_lists)]
    for metric, (value, other_value) in (("coverage", coverages), ("gini", ginis)):
        numbers = {"value": value, "other_value": other_value, "difference": value - other_value}
        yield {"metric": metric, "k": K, "bucket": "all", **numbers, "low": None, "high": None, "users": len(view)}


def _row(metric: str, k: int, bucket: str, found: Any) -> dict[str, Any]:
    numbers = {name: getattr(found, name) for name in ("value", "other_value", "difference", "low", "high", "users")}
    return {"metric": metric, "k": k, "bucket": bucket, **numbers}


def _categories(own: Judged) -> Iterator[tuple[str, np.ndarray]]:
    """Every category, and which items of the catalogue are of it, bool [n_items]."""
    import polars as pl

    categories = pl.Series(own.hold_out.items["category"]).cast(pl.String).fill_null("unknown")
    for name in categories.unique().sort():
        yield name, (categories == name).to_numpy()


def _movers(own: Judged, lists: np.ndarray, other_lists: np.ndarray) -> pl.DataFrame:
    import polars as pl

    from twotower_assets.core.buckets import BUCKETS, popularity_buckets
    from twotower_assets.evaluation.popularity_metrics import exposure_counts

    exposures = [exposure_counts(one, len(own.counts), K) for one in (lists, other_lists)]
    items = pl.DataFrame(
        {
            "item_id": pl.Series(own.hold_out.items["item_id"]).cast(pl.String),
            "title": pl.Series(own.hold_out.items["title"]).cast(pl.String),
            "category": pl.Series(own.hold_out.items["category"]).cast(pl.String).fill_null("unknown"),
            "bucket": [BUCKETS[number] for number in popularity_buckets(own.counts)],
            "lists": exposures[0],
            "other_lists": exposures[1],
            "change": exposures[0] - exposures[1],
        }
    ).sort(["change", "item_id"], descending=[True, False])
    gained, lost = items.filter(pl.col("change") > 0), items.filter(pl.col("change") < 0)
    return pl.concat([gained.head(MOVERS), lost.tail(MOVERS)])


def _frame(rows: list[dict[str, Any]]) -> pl.DataFrame:
    from twotower_assets.lake.staging import as_frame

    return as_frame("version_comparisons", rows)

"""Two versions of the model, compared on the same users. The gate, the report and `twotower compare` use it.

Both rank the whole catalogue for the users of the first version's hold-out, as they would be served. What follows from
the numbers is up to the caller; `versions` resolves names to versions.
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

    from twotower_assets.experiments.evaluate_model import ModelEvaluation

MINIMUM_CATEGORY_USERS = 20
"""A category's recall is compared only if at least this many users have a held-out click in it."""
MOVERS = 10
"""How many items to list that gained the most exposure, and how many that lost the most."""
PAIRED = (("recall", K), ("ndcg", K), ("recall", WIDE_K))
SEED = 0


class ComparisonError(ExpectedError, RuntimeError):
    """Two versions cannot be compared; the message says why and what to compare instead."""


@dataclass(frozen=True)
class VersionComparison:
    """Two versions side by side.

    Attributes:
        version: the first, on whose hold-out both are evaluated.
        other_version: the other.
        hold_out_day: the day of the first.
        hold_out: its rule as a phrase.
        popularity_weight: γ of the lists.
        users: users with a held-out click.
        rows: rows of the table `version_comparisons`.
        movers: items in more, or fewer, lists of the first than of the other; columns item_id, title, category, bucket,
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


def compare_versions(workspace: Workspace, version: str, other_version: str) -> VersionComparison:
    """Evaluate two versions of the model on the hold-out of the first, at the served γ.

    Raises:
        ComparisonError: they are the same, or the other was trained on clicks of that hold-out.
        ArtifactError, CheckpointError: a checkpoint is gone or damaged.
        HoldOutError: no test click is left.
    """
    from twotower_assets.evaluation.ranking import top_k
    from twotower_assets.experiments.evaluate_model import evaluate_checkpoint
    from twotower_assets.two_tower.checkpoint import load_checkpoint

    if version == other_version:
        raise ComparisonError(f"{version} cannot be compared with itself; name two versions")
    artifacts = [workspace.artifacts.open("tower_checkpoint", name) for name in (version, other_version)]
    checkpoints = [load_checkpoint(artifact.folder, artifact.content_hash) for artifact in artifacts]
    hold_out, others = (hold_out_of(workspace, artifact) for artifact in artifacts)
    _require_unseen_test_clicks(hold_out, others, version, other_version)
    counted, gamma = workspace.settings.popularity_from, workspace.settings.popularity_weight
    first, other = (evaluate_checkpoint(checkpoint, hold_out, counted) for checkpoint in checkpoints)
    other = replace(other, log_q=_served_log_q(hold_out, others, counted))
    lists = [top_k(model.served(gamma), len(first.view), first.view.seen, WIDE_K) for model in (first, other)]
    day = date.fromisoformat(artifacts[0].manifest["model_day"])
    keys = {"model_version": version, "other_version": other_version, "hold_out_day": day}
    return VersionComparison(
        version=version,
        other_version=other_version,
        hold_out_day=day,
        hold_out=_rule_of(artifacts[0]).description,
        popularity_weight=gamma,
        users=int((first.view.relevant.sizes() > 0).sum()),
        rows=_frame([{**keys, **row} for row in _rows(first, *lists)]),
        movers=_movers(first, *lists),
    )


def _rule_of(artifact: Artifact) -> HoldOutRule:
    return HoldOutRule(**artifact.manifest["details"])


def hold_out_of(workspace: Workspace, artifact: Artifact) -> HoldOut:
    """The clicks of a version of `tower_checkpoint`, split as they were when it was trained."""
    day, snapshot = date.fromisoformat(artifact.manifest["model_day"]), artifact.manifest["lake_snapshot"]
    with workspace.lake.reader(snapshot) as con:
        return read_hold_out(con, _rule_of(artifact), day, snapshot)


def _require_unseen_test_clicks(hold_out: HoldOut, others: HoldOut, version: str, other_version: str) -> None:
    """Raise `ComparisonError` if the other version was trained or validated on test clicks of this hold-out."""
    import polars as pl

    click = ["user_id", "item_id", "clicked_at"]
    held_out = hold_out.pairs.filter(pl.col("split") == "test")
    learned = others.pairs.filter(pl.col("split") != "test")
    if known := len(held_out.join(learned, on=click, how="semi")):
        raise ComparisonError(
            f"{other_version} was trained on {known} of the {len(held_out)} clicks held out for {version}, so its "
            f"recall would be too high. Compare on the hold-out of {other_version}: "
            f"`twotower compare {other_version} {version}`"
        )


def _served_log_q(hold_out: HoldOut, others: HoldOut, counted: str) -> np.ndarray:
    """log q of the other version, from its training clicks, for the items of this hold-out."""
    import numpy as np
    import polars as pl

    popularity = log_q(others.item_popularity(counted, "train"))
    positions = others.positions(pl.Series(hold_out.items["item_id"]))
    return np.asarray(np.where(positions >= 0, popularity[positions], popularity.min()))


def _rows(first: ModelEvaluation, lists: np.ndarray, other_lists: np.ndarray) -> Iterator[dict[str, Any]]:
    """Rows of metrics without version columns: means over users, then metrics of the whole catalogue."""
    from twotower_assets.evaluation.comparison import paired_difference
    from twotower_assets.evaluation.popularity_metrics import coverage_at_k, exposure_counts, gini
    from twotower_assets.evaluation.ranking import recall_at_k, restrict
    from twotower_assets.evaluation.summary import user_values

    view, n_items = first.view, len(first.counts)
    both = (user_values(ranked, view.relevant, view.seen, first.counts, KS) for ranked in (lists, other_lists))
    for (metric, k, bucket, values), (*_, other_values) in zip(*both, strict=True):
        if (metric, k) in PAIRED and (k == K or bucket == "all"):
            yield _row(metric, k, bucket, paired_difference(values, other_values, seed=SEED))
    for category, inside in _categories(first):
        relevant = restrict(view.relevant, inside)
        if int((relevant.sizes() > 0).sum()) >= MINIMUM_CATEGORY_USERS:
            recalls = (recall_at_k(ranked, relevant, K) for ranked in (lists, other_lists))
            yield _row("category_recall", K, category, paired_difference(*recalls, seed=SEED))
    coverages = [coverage_at_k(ranked, n_items, K) for ranked in (lists, other_lists)]
    ginis = [float(gini(exposure_counts(ranked, n_items, K))) for ranked in (lists, other_lists)]
    for metric, (value, other_value) in (("coverage", coverages), ("gini", ginis)):
        numbers = {"value": value, "other_value": other_value, "difference": value - other_value}
        yield {"metric": metric, "k": K, "bucket": "all", **numbers, "low": None, "high": None, "users": len(view)}


def _row(metric: str, k: int, bucket: str, found: Any) -> dict[str, Any]:
    numbers = {name: getattr(found, name) for name in ("value", "other_value", "difference", "low", "high", "users")}
    return {"metric": metric, "k": k, "bucket": bucket, **numbers}


def _categories(first: ModelEvaluation) -> Iterator[tuple[str, np.ndarray]]:
    """Every category with a mask of its items, bool [n_items]."""
    import polars as pl

    categories = pl.Series(first.hold_out.items["category"]).cast(pl.String).fill_null("unknown")
    for name in categories.unique().sort():
        yield name, (categories == name).to_numpy()


def _movers(first: ModelEvaluation, lists: np.ndarray, other_lists: np.ndarray) -> pl.DataFrame:
    import polars as pl

    from twotower_assets.core.buckets import BUCKETS, popularity_buckets
    from twotower_assets.evaluation.popularity_metrics import exposure_counts

    exposures = [exposure_counts(ranked, len(first.counts), K) for ranked in (lists, other_lists)]
    items = pl.DataFrame(
        {
            "item_id": pl.Series(first.hold_out.items["item_id"]).cast(pl.String),
            "title": pl.Series(first.hold_out.items["title"]).cast(pl.String),
            "category": pl.Series(first.hold_out.items["category"]).cast(pl.String).fill_null("unknown"),
            "bucket": [BUCKETS[number] for number in popularity_buckets(first.counts)],
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

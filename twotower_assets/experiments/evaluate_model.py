"""A checkpoint judged on its test clicks: the rows of every report table, beside the baselines.

The metrics themselves live in `evaluation`; here they are asked for, model by model and γ by γ.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from twotower_assets.core.metric_rows import KS, WIDE_K, K
from twotower_assets.core.popularity import KEY_WEIGHTS, check_popularity_weight, log_q, log_q_weight
from twotower_assets.experiments.hold_out import HoldOut, HoldOutError, UsersView

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from twotower_assets.core.ragged import Ragged
    from twotower_assets.evaluation.scores import ScoreBlock
    from twotower_assets.two_tower.checkpoint import Checkpoint

SEED = 0


@dataclass(frozen=True)
class Lists:
    """The recommendation lists of one model at one γ (None for a baseline): int64 [users, k], best first."""

    model: str
    popularity_weight: float | None
    lists: np.ndarray


@dataclass(frozen=True)
class Judged:
    """A checkpoint with the users it is judged on, its vectors and the training clicks per catalogue item."""

    checkpoint: Checkpoint
    hold_out: HoldOut
    view: UsersView
    item_vectors: np.ndarray
    scores: ScoreBlock
    counts: np.ndarray
    log_q: np.ndarray

    def served(self, popularity_weight: float) -> ScoreBlock:
        """The scores that serve γ: s + (γ − γ₀)·log q. Raises `ValueError` for a γ that is not from 0 to 1."""
        from twotower_assets.evaluation.scores import served_scores

        return served_scores(self.scores, self.log_q, popularity_weight, self.checkpoint.trained_popularity_weight)


def judge_checkpoint(
    checkpoint: Checkpoint,
    hold_out: HoldOut,
    popularity_from: str = "clicks",
    trained_on: tuple[str, ...] = ("train",),
    known: tuple[str, ...] = ("train", "validation"),
) -> Judged:
    """Make ready to judge a model of the parts `trained_on`, log q being that of `popularity_from` in them, on the
    test part; `known` parts are in histories, and not recommended again.

    Raises `HoldOutError` where nobody has a test click that could be found."""
    view = hold_out.view(known, "test", checkpoint.config.history_length)
    if not len(view.relevant.values):
        raise HoldOutError(
            "no test click is left to evaluate with: the last days have no click on an item that is new to its user. "
            "Materialize the features of those days, or choose another partition"
        )
    return scored_for(checkpoint, hold_out, view, popularity_from, trained_on)


def scored_for(
    checkpoint: Checkpoint,
    hold_out: HoldOut,
    view: UsersView,
    popularity_from: str = "clicks",
    trained_on: tuple[str, ...] = ("train",),
) -> Judged:
    """A model of the parts `trained_on` with its scores of the catalogue for the users of `view`."""
    from twotower_assets.evaluation.scores import inner_products

    users = checkpoint.embed_users(view.user_ids, view.histories, hold_out.users)
    item_vectors = checkpoint.embed_items(hold_out.items)
    return Judged(
        checkpoint=checkpoint,
        hold_out=hold_out,
        view=view,
        item_vectors=item_vectors,
        scores=inner_products(
            users,
            item_vectors,
            checkpoint.inverse_temperature,
            checkpoint.item_bias(hold_out.items),
        ),
        counts=hold_out.item_clicks(*trained_on),
        log_q=log_q(hold_out.item_popularity(popularity_from, *trained_on)),
    )


def recommendation_lists(judged: Judged, weights: list[float]) -> list[Lists]:
    """Lists of the model at every γ, then of the baselines: trained on the same clicks, scoring the same profiles."""
    from twotower_assets.evaluation.ranking import top_k

    found = [
        Lists("two_tower", gamma, top_k(judged.served(gamma), len(judged.view), judged.view.seen, WIDE_K))
        for gamma in weights
    ]
    for name, scores in _baselines(judged):
        found.append(Lists(name, None, top_k(scores, len(judged.view), judged.view.seen, WIDE_K)))
    return found


def _baselines(judged: Judged) -> list[tuple[str, ScoreBlock]]:
    import polars as pl

    from twotower_assets.evaluation.baselines import EASE_MAX_ITEMS, ease, most_popular

    n_items = len(judged.counts)
    found = [("most_popular", most_popular(judged.counts))]
    if n_items <= EASE_MAX_ITEMS:
        train = judged.hold_out.pairs.filter(pl.col("part") == "train")
        users = train["user_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
        items = judged.hold_out.positions(train["item_id"])
        found.append(("ease", ease(users, items, int(users.max()) + 1, n_items, profiles=judged.view.seen)))
    return found


def metric_rows(judged: Judged, lists: list[Lists]) -> list[dict[str, Any]]:
    """Rows of `model_metrics`, without day and version."""
    from twotower_assets.evaluation.summary import evaluate_lists

    view = judged.view
    return [
        asdict(row) | {name: _finite(getattr(row, name)) for name in ("value", "low", "high")}
        for one in lists
        for row in evaluate_lists(
            one.lists,
            view.relevant,
            view.seen,
            judged.counts,
            model=one.model,
            popularity_weight=one.popularity_weight,
            seed=SEED,
        )
    ]


def paired_rows(judged: Judged, own: Lists, others: Mapping[str, Lists]) -> pl.DataFrame:
    """Some lists less each of the others, paired by user: rows of `reporting.frames.DIFFERENCES`."""
    import polars as pl

    from twotower_assets.evaluation.comparison import paired_difference
    from twotower_assets.evaluation.summary import user_values

    def of_users(one: Lists) -> dict[tuple[str, int, str], np.ndarray]:
        view = judged.view
        measured = user_values(one.lists, view.relevant, view.seen, judged.counts, KS)
        return {(metric, k, bucket): values for metric, k, bucket, values in measured if metric in {"recall", "ndcg"}}

    ours, theirs = of_users(own), {name: of_users(one) for name, one in others.items()}
    return pl.DataFrame(
        [
            {"other": other, "metric": metric, "k": k, "bucket": bucket}
            | asdict(paired_difference(values, its[metric, k, bucket], seed=SEED))
            for other, its in theirs.items()
            for (metric, k, bucket), values in ours.items()
        ],
        infer_schema_length=None,
    )


def exposure_rows(judged: Judged, lists: list[Lists]) -> list[dict[str, Any]]:
    """Rows of `exposure_by_bucket`, without day and version."""
    from twotower_assets.evaluation.popularity_metrics import exposure_by_bucket

    return [
        {
            "model": one.model,
            "popularity_weight": one.popularity_weight,
            "bucket": row.bucket,
            "exposure_share": row.exposure_share,
            "click_share": row.click_share,
            "catalogue_share": row.item_share,
        }
        for one in lists
        for row in exposure_by_bucket(one.lists, judged.counts, K)
    ]


def category_rows(judged: Judged, served: Lists) -> list[dict[str, Any]]:
    """Rows of `category_coverage`, without day and version, for the served lists."""
    import polars as pl

    from twotower_assets.evaluation.popularity_metrics import exposure_counts

    items = pl.DataFrame(
        {
            "category": pl.Series(judged.hold_out.items["category"]).fill_null("unknown"),
            "exposure": exposure_counts(served.lists, len(judged.counts), K),
            "clicks": judged.counts,
        }
    )
    return (
        items.group_by("category")
        .agg(
            pl.len().alias("items"),
            (pl.col("exposure") > 0).sum().alias("items_recommended"),
            pl.col("exposure").sum(),
            pl.col("clicks").sum(),
        )
        .with_columns(
            (pl.col("exposure") / pl.col("exposure").sum()).alias("exposure_share"),
            (pl.col("clicks") / pl.col("clicks").sum()).alias("click_share"),
        )
        .sort("category")
        .drop("exposure", "clicks")
        .to_dicts()
    )


def lorenz_points(judged: Judged, lists: list[Lists]) -> pl.DataFrame:
    """Lorenz curves of the exposure: columns model, item_share, exposure_share."""
    import polars as pl

    from twotower_assets.evaluation.popularity_metrics import exposure_counts, lorenz_curve

    curves = []
    for one in lists:
        items, exposure = lorenz_curve(exposure_counts(one.lists, len(judged.counts), K))
        curves.append(
            pl.DataFrame({"item_share": items, "exposure_share": exposure}).with_columns(model=pl.lit(one.model))
        )
    return pl.concat(curves).select("model", "item_share", "exposure_share")


def diagnostic_rows(judged: Judged, served_weight: float) -> list[dict[str, Any]]:
    """Rows of `popularity_diagnostics` at γ = 0, ½, 1 and the served one, without day and version."""
    import numpy as np

    from twotower_assets.evaluation.missing_popularity import missing_popularity, slope_on_log_q
    from twotower_assets.evaluation.segment_pmi import segment_mean_scores, segment_pmi_correlation

    check_popularity_weight(served_weight)
    view = judged.view
    segments, clicks = _segments(judged)
    rows = []
    missing = missing_popularity(
        judged.scores, view.relevant, judged.log_q, excluded=view.seen, clicked_at=view.clicked_at, seed=SEED
    )
    slopes = slope_on_log_q(judged.scores, len(view), judged.log_q, excluded=view.seen)
    slope = float(np.nanmean(slopes)) if np.isfinite(slopes).any() else np.nan
    of_segments = segment_mean_scores(judged.scores, segments, len(clicks)) if (segments >= 0).any() else None
    for gamma in sorted({*KEY_WEIGHTS, served_weight}):
        # Of log q: so much less is missing, the slope is steeper and mean scores are higher by it.
        added = float(log_q_weight(gamma, judged.checkpoint.trained_popularity_weight))
        correlation = (
            np.nan
            if of_segments is None
            else segment_pmi_correlation(of_segments + added * judged.log_q, clicks).correlation
        )
        rows.append(
            {
                "popularity_weight": gamma,
                "delta": _finite(missing.delta - added),
                "delta_low": _finite(missing.low - added),
                "delta_high": _finite(missing.high - added),
                "slope": _finite(slope + added),
                "pmi_correlation": _finite(correlation),
            }
        )
    return rows


def _segments(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Each user's leading category among known clicks (−1 without any), and clicks per segment and item."""
    import numpy as np
    import polars as pl

    from twotower_assets.evaluation.segment_pmi import segment_item_counts

    seen: Ragged = judged.view.seen
    categories = pl.Series(judged.hold_out.items["category"]).fill_null("unknown").rank("dense").to_numpy() - 1
    clicked = pl.DataFrame({"row": seen.rows(), "segment": categories[seen.values].astype(np.int64)})
    leading = clicked.group_by("row").agg(pl.col("segment").mode().min())
    segments = np.full(len(judged.view), -1, np.int64)
    segments[leading["row"].to_numpy()] = leading["segment"].to_numpy()
    n_segments = int(categories.max()) + 1
    return segments, segment_item_counts(seen, segments, n_segments, len(judged.counts))


def _finite(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None


def left_and_masked(report: Any) -> dict[str, float]:
    """Negatives left, and those masked, per pair, under the names of the tables' columns."""
    masked = report.masked_per_positive
    return {
        "negatives_per_positive": report.negatives_per_positive,
        "masked_accidental_hits": masked["accidental_hit"],
        "masked_clicked": masked["clicked"],
        "masked_same_request": masked["same_request"],
        "masked_positive_aware": masked["positive_aware"],
    }

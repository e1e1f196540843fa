"""A checkpoint evaluated on its test clicks, beside the baselines: the rows of every report table.

The metrics are defined in `evaluation`; this module computes them for each model and γ.
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
class RecommendationLists:
    """The recommendation lists of one model at one γ (None for a baseline): int64 [users, k], best first."""

    model: str
    popularity_weight: float | None
    lists: np.ndarray


@dataclass(frozen=True)
class ModelEvaluation:
    """What the metrics of a checkpoint are computed from.


    Attributes:
        checkpoint: the model.
        hold_out: the clicks that it was trained on and is evaluated on.
        view: the users with test clicks.
        item_vectors: float32 [n_items, d].
        scores: trained scores of the users of `view` on every item.
        counts: training clicks per item, int64 [n_items].
        log_q: of the model's training split, float64 [n_items].
    """

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


def evaluate_checkpoint(
    checkpoint: Checkpoint,
    hold_out: HoldOut,
    popularity_from: str = "clicks",
    trained_on: tuple[str, ...] = ("train",),
    known: tuple[str, ...] = ("train", "validation"),
) -> ModelEvaluation:
    """Embed the users with test clicks and all items, ready for the metrics on the test split.

    Args:
        checkpoint: the model.
        hold_out: the clicks with their splits.
        popularity_from: what log q counts in the splits `trained_on`, `clicks` or `impressions`.
        trained_on: splits that the model was trained on.
        known: splits whose clicks make up the histories, and are not recommended again.

    Raises:
        HoldOutError: no user has a test click that a list could contain.
    """
    view = hold_out.view(known, "test", checkpoint.config.history_length)
    if not len(view.relevant.values):
        raise HoldOutError(
            "no test click is left to evaluate with: the last days have no click on an item that is new to its user. "
            "Materialize the features of those days, or choose another partition"
        )
    return embed_view(checkpoint, hold_out, view, popularity_from, trained_on)


def embed_view(
    checkpoint: Checkpoint,
    hold_out: HoldOut,
    view: UsersView,
    popularity_from: str = "clicks",
    trained_on: tuple[str, ...] = ("train",),
) -> ModelEvaluation:
    """Embed the users of `view` and all items, for a model trained on the splits `trained_on`."""
    from twotower_assets.evaluation.scores import inner_products

    users = checkpoint.embed_users(view.user_ids, view.histories, hold_out.users)
    item_vectors = checkpoint.embed_items(hold_out.items)
    return ModelEvaluation(
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


def recommendation_lists(evaluation: ModelEvaluation, weights: list[float]) -> list[RecommendationLists]:
    """Lists of the model at every γ, then of the baselines, which see the same training clicks and profiles."""
    from twotower_assets.evaluation.ranking import top_k

    found = [
        RecommendationLists(
            "two_tower", gamma, top_k(evaluation.served(gamma), len(evaluation.view), evaluation.view.seen, WIDE_K)
        )
        for gamma in weights
    ]
    for name, scores in _baselines(evaluation):
        found.append(RecommendationLists(name, None, top_k(scores, len(evaluation.view), evaluation.view.seen, WIDE_K)))
    return found


def _baselines(evaluation: ModelEvaluation) -> list[tuple[str, ScoreBlock]]:
    import polars as pl

    from twotower_assets.evaluation.baselines import EASE_MAX_ITEMS, ease, most_popular

    n_items = len(evaluation.counts)
    found = [("most_popular", most_popular(evaluation.counts))]
    if n_items <= EASE_MAX_ITEMS:
        train = evaluation.hold_out.pairs.filter(pl.col("split") == "train")
        users = train["user_id"].rank("dense").cast(pl.Int64).to_numpy() - 1
        items = evaluation.hold_out.positions(train["item_id"])
        found.append(("ease", ease(users, items, int(users.max()) + 1, n_items, profiles=evaluation.view.seen)))
    return found


def metric_rows(evaluation: ModelEvaluation, lists: list[RecommendationLists]) -> list[dict[str, Any]]:
    """Rows of `model_metrics`, without day and version."""
    from twotower_assets.evaluation.summary import evaluate_lists

    view = evaluation.view
    return [
        asdict(row) | {name: _finite(getattr(row, name)) for name in ("value", "low", "high")}
        for model_lists in lists
        for row in evaluate_lists(
            model_lists.lists,
            view.relevant,
            view.seen,
            evaluation.counts,
            model=model_lists.model,
            popularity_weight=model_lists.popularity_weight,
            seed=SEED,
        )
    ]


def paired_rows(
    evaluation: ModelEvaluation, reference: RecommendationLists, others: Mapping[str, RecommendationLists]
) -> pl.DataFrame:
    """The metrics of `reference` minus those of each other, paired by user: rows of `reporting.frames.DIFFERENCES`."""
    import polars as pl

    from twotower_assets.evaluation.comparison import paired_difference
    from twotower_assets.evaluation.summary import user_values

    def ranking_values(model_lists: RecommendationLists) -> dict[tuple[str, int, str], np.ndarray]:
        view = evaluation.view
        measured = user_values(model_lists.lists, view.relevant, view.seen, evaluation.counts, KS)
        return {(metric, k, bucket): values for metric, k, bucket, values in measured if metric in {"recall", "ndcg"}}

    reference_values = ranking_values(reference)
    other_values = {name: ranking_values(model_lists) for name, model_lists in others.items()}
    return pl.DataFrame(
        [
            {"other": other, "metric": metric, "k": k, "bucket": bucket}
            | asdict(paired_difference(values, compared[metric, k, bucket], seed=SEED))
            for other, compared in other_values.items()
            for (metric, k, bucket), values in reference_values.items()
        ],
        infer_schema_length=None,
    )


def exposure_rows(evaluation: ModelEvaluation, lists: list[RecommendationLists]) -> list[dict[str, Any]]:
    """Rows of `exposure_by_bucket`, without day and version."""
    from twotower_assets.evaluation.popularity_metrics import exposure_by_bucket

    return [
        {
            "model": model_lists.model,
            "popularity_weight": model_lists.popularity_weight,
            "bucket": row.bucket,
            "exposure_share": row.exposure_share,
            "click_share": row.click_share,
            "catalogue_share": row.item_share,
        }
        for model_lists in lists
        for row in exposure_by_bucket(model_lists.lists, evaluation.counts, K)
    ]


def category_rows(evaluation: ModelEvaluation, served: RecommendationLists) -> list[dict[str, Any]]:
    """Rows of `category_coverage`, without day and version, for the served lists."""
    import polars as pl

    from twotower_assets.evaluation.popularity_metrics import exposure_counts

    items = pl.DataFrame(
        {
            "category": pl.Series(evaluation.hold_out.items["category"]).fill_null("unknown"),
            "exposure": exposure_counts(served.lists, len(evaluation.counts), K),
            "clicks": evaluation.counts,
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


def lorenz_points(evaluation: ModelEvaluation, lists: list[RecommendationLists]) -> pl.DataFrame:
    """Lorenz curves of the exposure: columns model, item_share, exposure_share."""
    import polars as pl

    from twotower_assets.evaluation.popularity_metrics import exposure_counts, lorenz_curve

    curves = []
    for model_lists in lists:
        items, exposure = lorenz_curve(exposure_counts(model_lists.lists, len(evaluation.counts), K))
        points = pl.DataFrame({"item_share": items, "exposure_share": exposure})
        curves.append(points.with_columns(model=pl.lit(model_lists.model)))
    return pl.concat(curves).select("model", "item_share", "exposure_share")


def diagnostic_rows(evaluation: ModelEvaluation, served_weight: float) -> list[dict[str, Any]]:
    """Rows of `popularity_diagnostics` at γ = 0, ½, 1 and the served one, without day and version."""
    import numpy as np

    from twotower_assets.evaluation.missing_popularity import missing_popularity, slope_on_log_q
    from twotower_assets.evaluation.segment_pmi import segment_mean_scores, segment_pmi_correlation

    check_popularity_weight(served_weight)
    view = evaluation.view
    segments, clicks = _segments(evaluation)
    rows = []
    missing = missing_popularity(
        evaluation.scores, view.relevant, evaluation.log_q, excluded=view.seen, clicked_at=view.clicked_at, seed=SEED
    )
    slopes = slope_on_log_q(evaluation.scores, len(view), evaluation.log_q, excluded=view.seen)
    slope = float(np.nanmean(slopes)) if np.isfinite(slopes).any() else np.nan
    mean_scores = segment_mean_scores(evaluation.scores, segments, len(clicks)) if (segments >= 0).any() else None
    for gamma in sorted({*KEY_WEIGHTS, served_weight}):
        # Serving adds this much log q: δ falls by it, the slope and the mean scores rise by it.
        added = float(log_q_weight(gamma, evaluation.checkpoint.trained_popularity_weight))
        correlation = (
            np.nan
            if mean_scores is None
            else segment_pmi_correlation(mean_scores + added * evaluation.log_q, clicks).correlation
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


def _segments(evaluation: ModelEvaluation) -> tuple[np.ndarray, np.ndarray]:
    """Each user's most clicked category among known clicks (−1 without clicks), and clicks per segment and item."""
    import numpy as np
    import polars as pl

    from twotower_assets.evaluation.segment_pmi import segment_item_counts

    seen: Ragged = evaluation.view.seen
    categories = pl.Series(evaluation.hold_out.items["category"]).fill_null("unknown").rank("dense").to_numpy() - 1
    clicked = pl.DataFrame({"row": seen.rows(), "segment": categories[seen.values].astype(np.int64)})
    leading = clicked.group_by("row").agg(pl.col("segment").mode().min())
    segments = np.full(len(evaluation.view), -1, np.int64)
    segments[leading["row"].to_numpy()] = leading["segment"].to_numpy()
    n_segments = int(categories.max()) + 1
    return segments, segment_item_counts(seen, segments, n_segments, len(evaluation.counts))


def _finite(value: float) -> float | None:
    return value if value == value and abs(value) != float("inf") else None


def negative_counts(report: Any) -> dict[str, float]:
    """Negatives left and negatives masked per pair, by column name of the tables."""
    masked = report.masked_per_positive
    return {
        "negatives_per_positive": report.negatives_per_positive,
        "masked_accidental_hits": masked["accidental_hit"],
        "masked_clicked": masked["clicked"],
        "masked_same_request": masked["same_request"],
        "masked_positive_aware": masked["positive_aware"],
    }

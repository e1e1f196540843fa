"""The content of the popularity report, as one frozen dataclass.

The fields, their tables and the checks of their columns belong here. Sentences and charts do not.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import polars as pl

from twotower_assets.core.metric_rows import MODELS, WIDE_K, K
from twotower_assets.core.popularity import check_popularity_weight
from twotower_assets.reporting import frames

PREDECESSOR = "predecessor"
"""The name of the previously served version in `ReportData.differences`."""


def at_weight(weight: float) -> str:
    """Return the name of the same model at another popularity weight γ in `ReportData.differences`."""
    return f"two_tower at {weight:g}"


class RecommendedItem(NamedTuple):
    """One item of a recommended list.

    Attributes:
        item_id: the item.
        title: None where the catalogue has none.
        bucket: its popularity bucket.
        reasons: titles of the clicked items that are nearest to it, the nearest first.
        hit: whether the user clicked it in the hold-out.
    """

    item_id: int | str
    title: str | None
    bucket: str
    reasons: Sequence[str] = ()
    hit: bool = False


class Setting(NamedTuple):
    """One training setting: its name, its value and default as text, and its meaning."""

    name: str
    value: str
    default: str
    meaning: str


class LineageEntry(NamedTuple):
    """One input of the report: its name, version, lake snapshot and a short note."""

    name: str
    version: str | None
    snapshot: int | None
    detail: str = ""


@dataclass(frozen=True)
class SampleUser:
    """One user: the titles clicked last, newest first, and the recommended list at each popularity weight γ.

    `chosen_as` is the reason for showing this user, as a phrase; `clicks` counts all clicks before the hold-out.
    """

    user_id: int | str
    history: Sequence[str]
    lists: Mapping[float, Sequence[RecommendedItem]]
    chosen_as: str = ""
    clicks: int | None = None


@dataclass(frozen=True)
class ReportData:
    """Everything that the popularity report shows. Tables may be empty (`pl.DataFrame()`), numbers null.

    Shares are in [0, 1]. The model is named `two_tower`, the baselines `most_popular` and `ease`; other names
    are shown unchanged. `popularity_weight` is γ, and null for baselines.

    Attributes:
        title: heading of the page.
        dataset: name of the data set.
        as_of: the day (partition) that the model was trained up to.
        model_version: version of the checkpoint.
        served_popularity_weight: the γ served by default; the summary and the tables that compare models
            use the rows at this γ.
        hold_out: how test clicks were held out, as a phrase.
        data_notes: what a reader must know about the data, one sentence each.
        metrics: model, popularity_weight, metric, k, bucket, value, low, high, users. `metric` is one of
            recall, ndcg, mrr, hit_rate, coverage, gini, average_recommendation_popularity, aplt, novelty,
            popularity_lift, calibration; `bucket` one of all, head, mid, tail, cold, beyond_head; `low` and
            `high` bound the bootstrap interval; `users` is the number of users averaged over.
        exposure: model, popularity_weight, bucket, exposure_share (of list positions), click_share (of
            clicks), catalogue_share (of items).
        lorenz: model, item_share, exposure_share; cumulative, least shown items first, for the served γ.
        categories: category, items, items_recommended (in at least one list), exposure_share, click_share.
        popularity_diagnostics: popularity_weight, delta, delta_low, delta_high, slope, pmi_correlation.
        curves: epoch, loss, validation_metric, pairs_per_second.
        index_quality: popularity_weight, recall_at_k (of exact search), k, queries_per_second.
        differences: other, metric, k, bucket, value, other_value, difference, low, high, users: this version as served
            minus `other` on the same users; `low` and `high` bound the interval, which is paired by user. `other` is
            a baseline, `predecessor`, or this version at another γ (`at_weight`). `metric` is as in `metrics`, or
            category_recall with the category as `bucket`.
        predecessor_version: the version served before; empty where there is none.
        predecessor_note: why there is no comparison with it, as a sentence; empty where there is one.
        samples: a few users with their lists.
        samples_rule: how these users were chosen, as a sentence.
        settings: the training settings.
        lineage: the inputs of the report.
        window: first and last day of the clicks, both those trained on and those held out.
        counts: sizes by name: users, items, training_pairs, test_clicks, days.
        k: the cut-off of the headline metrics.
        wide_k: the cut-off at which retrieval hands over to ranking.
        interval_level: the confidence level of the intervals, the share of bootstrap resamples that they contain.
        recipe: the training recipe; empty where it has no name.
        trained_popularity_weight: γ₀, the popularity weight that training left in the score; where it is unknown,
            the weight that γ is relative to.
        trained_weight_is_known: whether γ₀ follows from the recipe; it does not with uncorrected negatives.
    """

    title: str
    dataset: str
    as_of: dt.date
    model_version: str
    served_popularity_weight: float
    hold_out: str = ""
    data_notes: Sequence[str] = ()
    metrics: pl.DataFrame = field(default_factory=pl.DataFrame)
    exposure: pl.DataFrame = field(default_factory=pl.DataFrame)
    lorenz: pl.DataFrame = field(default_factory=pl.DataFrame)
    categories: pl.DataFrame = field(default_factory=pl.DataFrame)
    popularity_diagnostics: pl.DataFrame = field(default_factory=pl.DataFrame)
    curves: pl.DataFrame = field(default_factory=pl.DataFrame)
    index_quality: pl.DataFrame = field(default_factory=pl.DataFrame)
    differences: pl.DataFrame = field(default_factory=pl.DataFrame)
    predecessor_version: str = ""
    predecessor_note: str = ""
    samples: Sequence[SampleUser] = ()
    samples_rule: str = ""
    settings: Sequence[Setting] = ()
    window: tuple[dt.date, dt.date] | None = None
    lineage: Sequence[tuple[str, str | None, int | None, str]] = ()
    counts: Mapping[str, float | None] = field(default_factory=dict)
    k: int = K
    wide_k: int = WIDE_K
    interval_level: float = 0.95
    recipe: str = ""
    trained_popularity_weight: float = 1.0
    trained_weight_is_known: bool = True

    def __post_init__(self) -> None:
        """Convert every table to the columns and types of its contract.

        Raises:
            ValueError: a table lacks a column or has one of the wrong type, or the served γ is not from 0 to 1.
        """
        check_popularity_weight(self.served_popularity_weight)
        for contract in (
            frames.METRICS,
            frames.EXPOSURE,
            frames.LORENZ,
            frames.CATEGORIES,
            frames.POPULARITY_DIAGNOSTICS,
            frames.CURVES,
            frames.INDEX_QUALITY,
            frames.DIFFERENCES,
        ):
            object.__setattr__(self, contract.name, contract.conform(getattr(self, contract.name)))

    def served(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Keep the rows of `frame` at the served γ, and those without a γ."""
        weight = pl.col("popularity_weight")
        return frame.filter(weight.is_null() | ((weight - self.served_popularity_weight).abs() < 1e-9))

    def metric(
        self, model: str, metric: str, k: int | None = None, bucket: str = "all"
    ) -> tuple[float | None, float | None, float | None]:
        """Return value, low and high of one metric of one model at the served γ; None for what was not measured."""
        rows = self.served(self.metrics).filter(
            (pl.col("model") == model)
            & (pl.col("metric") == metric)
            & (pl.col("bucket") == bucket)
            & (pl.col("k").is_null() | (pl.col("k") == (self.k if k is None else k)))
        )
        return rows.select("value", "low", "high").row(0) if len(rows) else (None, None, None)

    def difference(self, other: str, metric: str, bucket: str = "all", k: int | None = None) -> dict[str, Any]:
        """Return the row of `differences` for one metric, by column; every number is None where it was not measured."""
        rows = self.differences.filter(
            other=other, metric=metric, bucket=bucket, k=self.k if k is None else k
        ).drop_nulls("difference")
        columns = ("value", "other_value", "difference", "low", "high", "users")
        return rows.select(columns).row(0, named=True) if len(rows) else dict.fromkeys(columns)

    @property
    def models(self) -> list[str]:
        """The models in `metrics`: the two-tower model first, then baselines, then others."""
        found = self.metrics["model"].drop_nulls().unique(maintain_order=True).to_list()
        return [model for model in MODELS if model in found] + [model for model in found if model not in MODELS]

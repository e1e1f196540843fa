"""What the popularity report needs to know, as one frozen value.

The fields, their tables and their checks belong here. How they are worded or drawn does not.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl

from twotower_assets.reporting import frames


class RecommendedItem(NamedTuple):
    """One place of a list: the item, its title (None where the catalogue has none) and its bucket."""

    item_id: int | str
    title: str | None
    bucket: str


class LineageEntry(NamedTuple):
    """One thing that the report was made from: its name, version, lake snapshot and a few words."""

    name: str
    version: str | None
    snapshot: int | None
    detail: str = ""


@dataclass(frozen=True)
class SampleUser:
    """One user: the titles clicked last, newest first, and the list that each popularity weight γ gives."""

    user_id: int | str
    history: Sequence[str]
    lists: Mapping[float, Sequence[tuple[int | str, str | None, str]]]


@dataclass(frozen=True)
class ReportData:
    """Everything that the popularity report shows. Tables may be empty (`pl.DataFrame()`), numbers null.

    Shares lie in [0, 1]. The model is named `two_tower`, the baselines `most_popular` and `ease`; other names
    are shown as they are. `popularity_weight` is γ, and null for baselines.

    Attributes:
        title: heading of the page.
        dataset: name of the data set.
        as_of: the day (partition) that the model was trained up to.
        model_version: version of the checkpoint.
        served_popularity_weight: the γ served by default; the summary and the tables that compare models
            speak of its rows.
        hold_out: how test clicks were held out, as a phrase.
        data_notes: what a reader must know of the data, one sentence each.
        metrics: model, popularity_weight, metric, k, bucket, value, low, high, users. `metric` is one of
            recall, ndcg, mrr, hit_rate, coverage, gini, average_recommendation_popularity, aplt, novelty,
            popularity_lift, calibration; `bucket` one of all, head, mid, tail, cold, beyond_head; `low` and
            `high` bound the bootstrap interval; `users` is the number of users averaged over.
        exposure: model, popularity_weight, bucket, exposure_share (of places in lists), click_share (of
            clicks), catalogue_share (of items).
        lorenz: model, item_share, exposure_share; cumulative, least shown items first, for the served γ.
        categories: category, items, items_recommended (in at least one list), exposure_share, click_share.
        popularity_diagnostics: popularity_weight, delta, delta_low, delta_high, slope, pmi_correlation.
        curves: epoch, loss, validation_metric, pairs_per_second.
        index_quality: popularity_weight, recall_at_k (of exact search), k, queries_per_second.
        samples: a few users with their lists.
        lineage: what the report was made from.
        counts: sizes by name: users, items, training_pairs, test_clicks, days.
        k: the cut-off of the headline metrics.
        wide_k: the cut-off at which retrieval hands over to ranking.
        interval_level: the share of bootstrap samples that an interval holds.
        recipe: the training recipe; empty where it has no name.
        trained_popularity_weight: γ₀, the popularity weight that training left in the score; where it is not known,
            the one that γ is taken relative to.
        trained_weight_is_known: whether γ₀ follows from the recipe; it does not with margin negatives.
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
    samples: Sequence[SampleUser] = ()
    lineage: Sequence[tuple[str, str | None, int | None, str]] = ()
    counts: Mapping[str, float | None] = field(default_factory=dict)
    k: int = 20
    wide_k: int = 100
    interval_level: float = 0.95
    recipe: str = ""
    trained_popularity_weight: float = 1.0
    trained_weight_is_known: bool = True

    def __post_init__(self) -> None:
        """Hold every table to its contract.

        Raises:
            ValueError: a table lacks a column or has one of the wrong type.
        """
        for contract in (
            frames.METRICS,
            frames.EXPOSURE,
            frames.LORENZ,
            frames.CATEGORIES,
            frames.POPULARITY_DIAGNOSTICS,
            frames.CURVES,
            frames.INDEX_QUALITY,
        ):
            object.__setattr__(self, contract.name, contract.conform(getattr(self, contract.name)))

    def served(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Keep the rows of `frame` that speak of what is served: those at the default γ and without a γ."""
        weight = pl.col("popularity_weight")
        return frame.filter(weight.is_null() | ((weight - self.served_popularity_weight).abs() < 1e-9))

    def metric(
        self, model: str, metric: str, k: int | None = None, bucket: str = "all"
    ) -> tuple[float | None, float | None, float | None]:
        """Give value, low and high of one metric of one model as served; None for what was not measured."""
        rows = self.served(self.metrics).filter(
            (pl.col("model") == model)
            & (pl.col("metric") == metric)
            & (pl.col("bucket") == bucket)
            & (pl.col("k").is_null() | (pl.col("k") == (self.k if k is None else k)))
        )
        return rows.select("value", "low", "high").row(0) if len(rows) else (None, None, None)

    @property
    def models(self) -> list[str]:
        """The models in `metrics`: the two-tower model first, then baselines, then others."""
        known = ["two_tower", "most_popular", "ease"]
        found = self.metrics["model"].drop_nulls().unique(maintain_order=True).to_list()
        return [model for model in known if model in found] + [model for model in found if model not in known]

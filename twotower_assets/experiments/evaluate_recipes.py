"""Recipes evaluated on the same test clicks: the rows of the tables that compare them.

The metrics and their comparison are defined in `evaluation`; this module computes them for each seed and γ.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from twotower_assets.core.buckets import ALL, BEYOND_HEAD
from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.metric_rows import KS, WIDE_K, K
from twotower_assets.core.popularity import REPORTED_WEIGHTS, check_popularity_weight
from twotower_assets.experiments.evaluate_model import diagnostic_rows, evaluate_checkpoint, negative_counts
from twotower_assets.experiments.hold_out import HoldOut, HoldOutRule
from twotower_assets.lake.staging import as_frame
from twotower_assets.lake.tables import RECIPES, names

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from twotower_assets.experiments.train_recipe import TrainedModel

MetricKey = tuple[str, int, str]
"""Metric, k and bucket."""

RUN_TABLES = [name for name in names(RECIPES) if name != "negative_sampling_comparison"]
"""Tables that hold the training runs of one recipe."""
RECALL, RECALL_BEYOND_HEAD = ("recall", K, ALL), ("recall", K, BEYOND_HEAD)


class BaselineError(ExpectedError, LookupError):
    """The baseline of a comparison was not trained, or not evaluated at the served γ."""


@dataclass(frozen=True)
class TrainingEvaluation:
    """One training run with its metrics: a row of `negative_sampling_runs`, and its rows of the other `RUN_TABLES`."""

    run: dict[str, Any]
    metrics: list[dict[str, Any]]
    diagnostics: list[dict[str, Any]]
    user_ids: list[str]
    user_values: dict[MetricKey, np.ndarray]


def evaluate_training(
    trained: TrainedModel,
    hold_out: HoldOut,
    popularity_from: str,
    served_weight: float,
    trained_on: tuple[str, ...] = ("train",),
    known: tuple[str, ...] = ("train", "validation"),
) -> TrainingEvaluation:
    """Evaluate a trained model on the test split at several γ, and keep the values per user at the served γ.

    Raises `HoldOutError` if no user has a test click, `ValueError` if the served weight is not from 0 to 1.
    """
    import numpy as np

    from twotower_assets.evaluation.ranking import top_k
    from twotower_assets.evaluation.summary import catalogue_values, user_values

    check_popularity_weight(served_weight)
    evaluation = evaluate_checkpoint(trained.checkpoint, hold_out, popularity_from, trained_on, known)
    view = evaluation.view
    metrics: list[dict[str, Any]] = []
    values_at_served: dict[MetricKey, np.ndarray] = {}
    for gamma in sorted({*REPORTED_WEIGHTS, served_weight}):
        lists = top_k(evaluation.served(gamma), len(view), view.seen, WIDE_K)
        for metric, k, bucket, values in user_values(lists, view.relevant, view.seen, evaluation.counts, KS):
            defined = ~np.isnan(values)
            mean = float(values[defined].mean()) if defined.any() else None
            metrics.append(_metric(gamma, (metric, k, bucket), mean, int(defined.sum())))
            if gamma == served_weight:
                values_at_served[metric, k, bucket] = values
        for metric, k, bucket, value in catalogue_values(lists, view.seen, evaluation.counts, KS):
            metrics.append(_metric(gamma, (metric, k, bucket), value if np.isfinite(value) else None, len(view)))
    diagnostics = diagnostic_rows(evaluation, served_weight)
    return TrainingEvaluation(_run(trained), metrics, diagnostics, view.user_ids.to_pylist(), values_at_served)


def _metric(gamma: float, key: MetricKey, value: float | None, users: int) -> dict[str, Any]:
    return {
        "popularity_weight": gamma,
        **dict(zip(("metric", "k", "bucket"), key, strict=True)),
        "value": value,
        "users": users,
    }


def _run(trained: TrainedModel) -> dict[str, Any]:
    config, result = trained.config, trained.result
    best = result.reports[result.best_epoch - 1]
    return {
        "seed": config.seed,
        "status": "trained",
        "reason": None,
        "settings": config.model_dump_json(),
        "trained_popularity_weight": config.trained_popularity_weight,
        "trained_weight_is_known": config.trained_weight_is_known,
        "inverse_temperature": trained.checkpoint.inverse_temperature,
        "epochs": len(result.reports),
        "best_epoch": result.best_epoch,
        "loss": best.loss,
        "validation_metric": best.validation_metric,
        "seconds": trained.seconds,
        "pairs_per_second": best.pairs_per_second,
        "repeat_share": best.repeat_share,
        **negative_counts(best),
    }


@dataclass
class RecipeResults:
    """The evaluations of a recipe's seeds, or why it cannot be trained. `shared` holds the columns of every row."""

    shared: Mapping[str, Any]
    reason: str | None = None
    settings: str = "{}"
    evaluations: list[TrainingEvaluation] = field(default_factory=list)

    def add(self, evaluation: TrainingEvaluation) -> None:
        """Add one seed."""
        self.evaluations.append(evaluation)

    def summary(self, seed: int) -> str:
        """The results of a seed as a phrase for the log."""
        evaluation = next(found for found in self.evaluations if found.run["seed"] == seed)
        return f"recall@{K} {_mean(evaluation.user_values[RECALL]):.4f}, {evaluation.run['seconds']:.0f} s of training"

    def tables(self) -> dict[str, pl.DataFrame]:
        """Rows by table, under its declared columns."""
        from twotower_assets.lake.tables import TABLES

        if self.reason is not None:
            nulls = dict.fromkeys(TABLES["negative_sampling_runs"].column_names)
            row = {"seed": 0, "status": "not applicable", "reason": self.reason, "settings": self.settings}
            runs = [{**nulls, **row, **self.shared}]
        else:
            runs = [{**evaluation.run, **self.shared} for evaluation in self.evaluations]
        return {
            "negative_sampling_runs": as_frame("negative_sampling_runs", runs),
            "negative_sampling_metrics": as_frame("negative_sampling_metrics", self._rows("metrics")),
            "negative_sampling_user_metrics": self.user_metrics(),
            "negative_sampling_diagnostics": as_frame("negative_sampling_diagnostics", self._rows("diagnostics")),
        }

    def user_metrics(self) -> pl.DataFrame:
        """Rows of `negative_sampling_user_metrics`: one per metric and user with a value, built column by column."""
        import polars as pl

        if not self.evaluations:
            return as_frame("negative_sampling_user_metrics", [])
        users = pl.Series("user_id", self.evaluations[0].user_ids, dtype=pl.String)
        return pl.concat(
            pl.DataFrame({"user_id": users, "value": values})
            .filter(pl.col("value").is_not_nan())
            .select(
                pl.lit(self.shared["recipe"]).alias("recipe"),
                pl.lit(metric).alias("metric"),
                pl.lit(k, dtype=pl.Int64).alias("k"),
                pl.lit(bucket).alias("bucket"),
                "user_id",
                "value",
            )
            for (metric, k, bucket), values in self.user_means().items()
        )

    def _rows(self, kind: str) -> list[dict[str, Any]]:
        return [
            {"recipe": self.shared["recipe"], "seed": evaluation.run["seed"], **row}
            for evaluation in self.evaluations
            for row in getattr(evaluation, kind)
        ]

    def user_means(self) -> dict[MetricKey, np.ndarray]:
        """Mean over the seeds of every user's values, by metric, k and bucket; NaN for users without a value."""
        import numpy as np

        by_key: dict[MetricKey, list[np.ndarray]] = defaultdict(list)
        for evaluation in self.evaluations:
            for key, values in evaluation.user_values.items():
                by_key[key].append(values)
        return {key: np.mean(values, axis=0) for key, values in by_key.items()}

    def headline(self, served_weight: float) -> dict[str, Any]:
        """The headline metrics of the partition, as shown in Dagster."""
        if self.reason is not None:
            return {"status": "not applicable", "reason": self.reason}
        means = self.user_means()
        deltas = [
            row["delta"]
            for evaluation in self.evaluations
            for row in evaluation.diagnostics
            if row["popularity_weight"] == served_weight and row["delta"] is not None
        ]
        return {
            "status": "trained",
            "recall_at_20": _mean(means[RECALL]),
            "ndcg_at_20": _mean(means["ndcg", K, "all"]),
            "recall_at_100": _mean(means["recall", WIDE_K, "all"]),
            "beyond_head_at_20": _mean(means[RECALL_BEYOND_HEAD]),
            **({"delta": sum(deltas) / len(deltas)} if deltas else {}),
            "seconds": sum(evaluation.run["seconds"] for evaluation in self.evaluations) / len(self.evaluations),
            "seeds": len(self.evaluations),
        }


def _mean(values: np.ndarray) -> float:
    return _mean_or_none(values) or 0.0


def _mean_or_none(values: np.ndarray) -> float | None:
    import numpy as np

    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def data_fingerprint(hold_out: HoldOut, rule: HoldOutRule) -> str:
    """A hash of the pairs, hold-out rule, catalogue, users and exposures; equal runs are comparable."""
    import polars as pl

    tables = (hold_out.items, hold_out.users, hold_out.impressions, hold_out.exposures)
    frames = [hold_out.pairs, *(pl.DataFrame(pl.from_arrow(table)) for table in tables if table is not None)]
    sums = [frame.hash_rows().sum() for frame in frames]
    return hashlib.sha256(f"{asdict(rule)} {sums}".encode()).hexdigest()[:16]


def comparable_runs(runs: pl.DataFrame, baseline: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """The runs comparable with the baseline's, including not applicable ones; and for each excluded recipe the reason.

    Raises `BaselineError` where the baseline was not trained.
    """
    import polars as pl

    baseline_runs = runs.filter((pl.col("recipe") == baseline) & (pl.col("status") == "trained"))
    if not len(baseline_runs):
        raise BaselineError(
            f"the baseline recipe '{baseline}' was not trained; materialize recipes/negative_sampling_runs for it first"
        )
    expected = baseline_runs.row(0, named=True)
    seeds = sorted(baseline_runs["seed"])
    excluded: dict[str, str] = {}
    for (recipe,), group in runs.group_by("recipe", maintain_order=True):
        found = group.row(0, named=True)
        if found["data_fingerprint"] != expected["data_fingerprint"]:
            excluded[str(recipe)] = "trained on other data than the baseline; materialize it again"
        elif found["status"] != "trained":
            continue
        elif sorted(group["seed"]) != seeds:
            excluded[str(recipe)] = f"trained with seeds {sorted(group['seed'])}, the baseline with {seeds}"
        elif found["changes"] != expected["changes"]:
            excluded[str(recipe)] = (
                f"trained with the changes {found['changes']}, the baseline with {expected['changes']}"
            )
        elif _served(found) != _served(expected):
            excluded[str(recipe)] = f"evaluated at {_served(found)}, the baseline at {_served(expected)}"
    return runs.filter(~pl.col("recipe").is_in(list(excluded))), excluded


def require_served_weight(runs: pl.DataFrame, baseline: str, popularity_weight: float, popularity_from: str) -> None:
    """Raise `BaselineError` if the baseline was not evaluated at the served γ, `ValueError` if γ is not from 0 to 1."""
    check_popularity_weight(popularity_weight)
    evaluated = runs.filter((runs["recipe"] == baseline) & (runs["status"] == "trained")).row(0, named=True)
    served = {"popularity_weight": popularity_weight, "popularity_from": popularity_from}
    if _served(evaluated) != _served(served):
        raise BaselineError(
            f"the baseline recipe '{baseline}' was evaluated at {_served(evaluated)}, but {_served(served)} is served; "
            "materialize recipes/negative_sampling_runs again"
        )


def _served(run: Mapping[str, Any]) -> str:
    return f"γ = {run['popularity_weight']:g} of {run['popularity_from']}"


def comparison_rows(
    metrics: pl.DataFrame, users: pl.DataFrame, baseline: str, served_weight: float
) -> list[dict[str, Any]]:
    """Rows of `negative_sampling_comparison`, in alphabetical order of recipes.

    Raises `ValueError` if γ is not from 0 to 1.
    """
    import numpy as np
    import polars as pl

    from twotower_assets.evaluation.comparison import compare

    check_popularity_weight(served_weight)
    keys = ["metric", "k", "bucket"]
    served = metrics.filter(pl.col("popularity_weight") == served_weight)
    users_by_key = users.partition_by(keys, as_dict=True)
    rows = []
    for (metric, k, bucket), group in served.group_by(keys, maintain_order=True):
        seed_values = {
            str(recipe): seeds["value"].to_numpy().astype(np.float64)
            for (recipe,), seeds in group.sort("recipe", "seed").group_by("recipe", maintain_order=True)
        }
        wide = users_by_key.get((metric, k, bucket), users.clear()).pivot("recipe", index="user_id", values="value")
        wide = wide.sort("user_id")
        paired = wide.columns[1:] if baseline in wide.columns else []
        compared = compare({name: wide[name].to_numpy() for name in paired}, baseline) if paired else {}
        for recipe, values in seed_values.items():
            comparison, mean = compared.get(recipe), _mean_or_none(values)
            base = _mean_or_none(seed_values[baseline])
            gain = (mean / base - 1) * 100 if recipe != baseline and base and mean is not None else None
            known = values[np.isfinite(values)]
            rows.append(
                {
                    "recipe": recipe,
                    "metric": metric,
                    "k": k,
                    "bucket": bucket,
                    "baseline": baseline,
                    "value": comparison.value if comparison else mean,
                    "low": comparison.low if comparison else None,
                    "high": comparison.high if comparison else None,
                    "seed_deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
                    "gain_percent": comparison.gain_percent if comparison else gain,
                    "gain_low": comparison.gain_low if comparison else None,
                    "gain_high": comparison.gain_high if comparison else None,
                    "users": comparison.users if comparison else int(group["users"][0]),
                    "seeds": len(values),
                }
            )
    return rows

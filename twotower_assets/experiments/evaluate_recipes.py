"""Recipes judged on the same test clicks: the rows of the tables that compare them.

The metrics and the comparison itself live in `evaluation`; here they are asked for, seed by seed and γ by γ.
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
from twotower_assets.experiments.evaluate_model import diagnostic_rows, judge_checkpoint, left_and_masked
from twotower_assets.experiments.hold_out import HoldOut, HoldOutRule
from twotower_assets.lake.staging import as_frame
from twotower_assets.lake.tables import RECIPES, names

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    from twotower_assets.experiments.train_recipe import Trained

Place = tuple[str, int, str]
"""Metric, k and bucket."""

RUN_TABLES = [name for name in names(RECIPES) if name != "negative_sampling_comparison"]
"""What a recipe writes of its own trainings."""
RECALL, RECALL_BEYOND_HEAD = ("recall", K, ALL), ("recall", K, BEYOND_HEAD)


class BaselineError(ExpectedError, LookupError):
    """The baseline of a comparison was not trained, or not evaluated as is served."""


@dataclass(frozen=True)
class Judgement:
    """One training, judged: a row of `negative_sampling_runs`, and the rows of the tables beside it."""

    run: dict[str, Any]
    metrics: list[dict[str, Any]]
    diagnostics: list[dict[str, Any]]
    user_ids: list[str]
    user_values: dict[Place, np.ndarray]


def judge(
    trained: Trained,
    hold_out: HoldOut,
    popularity_from: str,
    served_weight: float,
    trained_on: tuple[str, ...] = ("train",),
    known: tuple[str, ...] = ("train", "validation"),
) -> Judgement:
    """Measure a model on the test part, at several γ, per user at the served one.

    Raises `HoldOutError` where nobody has a test click, `ValueError` for what is no γ.
    """
    import numpy as np

    from twotower_assets.evaluation.ranking import top_k
    from twotower_assets.evaluation.summary import catalogue_values, user_values

    check_popularity_weight(served_weight)
    judged = judge_checkpoint(trained.checkpoint, hold_out, popularity_from, trained_on, known)
    view = judged.view
    metrics: list[dict[str, Any]] = []
    of_users: dict[Place, np.ndarray] = {}
    for gamma in sorted({*REPORTED_WEIGHTS, served_weight}):
        lists = top_k(judged.served(gamma), len(view), view.seen, WIDE_K)
        for metric, k, bucket, values in user_values(lists, view.relevant, view.seen, judged.counts, KS):
            there = ~np.isnan(values)
            mean = float(values[there].mean()) if there.any() else None
            metrics.append(_metric(gamma, (metric, k, bucket), mean, int(there.sum())))
            if gamma == served_weight:
                of_users[metric, k, bucket] = values
        for metric, k, bucket, value in catalogue_values(lists, view.seen, judged.counts, KS):
            metrics.append(_metric(gamma, (metric, k, bucket), value if np.isfinite(value) else None, len(view)))
    diagnostics = diagnostic_rows(judged, served_weight)
    return Judgement(_run(trained), metrics, diagnostics, view.user_ids.to_pylist(), of_users)


def _metric(gamma: float, place: Place, value: float | None, users: int) -> dict[str, Any]:
    return {
        "popularity_weight": gamma,
        **dict(zip(("metric", "k", "bucket"), place, strict=True)),
        "value": value,
        "users": users,
    }


def _run(trained: Trained) -> dict[str, Any]:
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
        **left_and_masked(best),
    }


@dataclass
class Measured:
    """All seeds of a recipe, or the reason why it cannot be trained; `shared` is what their rows have in common."""

    shared: Mapping[str, Any]
    reason: str | None = None
    settings: str = "{}"
    judgements: list[Judgement] = field(default_factory=list)

    def add(self, judgement: Judgement) -> None:
        """One seed more."""
        self.judgements.append(judgement)

    def told(self, seed: int) -> str:
        """The numbers of a seed as a phrase."""
        one = next(one for one in self.judgements if one.run["seed"] == seed)
        return f"recall@{K} {_mean(one.user_values[RECALL]):.4f}, {one.run['seconds']:.0f} s of training"

    def tables(self) -> dict[str, pl.DataFrame]:
        """Rows by table, under its declared columns."""
        from twotower_assets.lake.tables import TABLES

        if self.reason is not None:
            nothing = dict.fromkeys(TABLES["negative_sampling_runs"].column_names)
            row = {"seed": 0, "status": "not applicable", "reason": self.reason, "settings": self.settings}
            runs = [{**nothing, **row, **self.shared}]
        else:
            runs = [{**one.run, **self.shared} for one in self.judgements]
        return {
            "negative_sampling_runs": as_frame("negative_sampling_runs", runs),
            "negative_sampling_metrics": as_frame("negative_sampling_metrics", self._rows("metrics")),
            "negative_sampling_user_metrics": self.of_users(),
            "negative_sampling_diagnostics": as_frame("negative_sampling_diagnostics", self._rows("diagnostics")),
        }

    def of_users(self) -> pl.DataFrame:
        """Rows of `negative_sampling_user_metrics`, one a metric and user that counts: made as columns, being many."""
        import polars as pl

        if not self.judgements:
            return as_frame("negative_sampling_user_metrics", [])
        users = pl.Series("user_id", self.judgements[0].user_ids, dtype=pl.String)
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
            {"recipe": self.shared["recipe"], "seed": one.run["seed"], **row}
            for one in self.judgements
            for row in getattr(one, kind)
        ]

    def user_means(self) -> dict[Place, np.ndarray]:
        """Mean over the seeds of every user's values, by metric, k and bucket; NaN for users that do not count."""
        import numpy as np

        by_place: dict[Place, list[np.ndarray]] = defaultdict(list)
        for one in self.judgements:
            for place, values in one.user_values.items():
                by_place[place].append(values)
        return {place: np.mean(values, axis=0) for place, values in by_place.items()}

    def headline(self, served_weight: float) -> dict[str, Any]:
        """The numbers that a person wants to see at the partition."""
        if self.reason is not None:
            return {"status": "not applicable", "reason": self.reason}
        means = self.user_means()
        deltas = [
            row["delta"]
            for one in self.judgements
            for row in one.diagnostics
            if row["popularity_weight"] == served_weight and row["delta"] is not None
        ]
        return {
            "status": "trained",
            "recall_at_20": _mean(means[RECALL]),
            "ndcg_at_20": _mean(means["ndcg", K, "all"]),
            "recall_at_100": _mean(means["recall", WIDE_K, "all"]),
            "beyond_head_at_20": _mean(means[RECALL_BEYOND_HEAD]),
            **({"delta": sum(deltas) / len(deltas)} if deltas else {}),
            "seconds": sum(one.run["seconds"] for one in self.judgements) / len(self.judgements),
            "seeds": len(self.judgements),
        }


def _mean(values: np.ndarray) -> float:
    return _mean_or_none(values) or 0.0


def _mean_or_none(values: np.ndarray) -> float | None:
    import numpy as np

    return float(np.nanmean(values)) if np.isfinite(values).any() else None


def data_fingerprint(hold_out: HoldOut, rule: HoldOutRule) -> str:
    """Equal for trainings on the same pairs, hold-out, catalogue, users and exposures."""
    import polars as pl

    tables = (hold_out.items, hold_out.users, hold_out.impressions, hold_out.exposures)
    frames = [hold_out.pairs, *(pl.DataFrame(pl.from_arrow(table)) for table in tables if table is not None)]
    sums = [frame.hash_rows().sum() for frame in frames]
    return hashlib.sha256(f"{asdict(rule)} {sums}".encode()).hexdigest()[:16]


def comparable_runs(runs: pl.DataFrame, baseline: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """The runs that can be compared with the baseline's, the not applicable ones among them; why others cannot.

    Raises `BaselineError` where the baseline was not trained.
    """
    import polars as pl

    of_baseline = runs.filter((pl.col("recipe") == baseline) & (pl.col("status") == "trained"))
    if not len(of_baseline):
        raise BaselineError(
            f"the baseline recipe '{baseline}' was not trained; materialize recipes/negative_sampling_runs for it first"
        )
    wanted = of_baseline.row(0, named=True)
    seeds = sorted(of_baseline["seed"])
    left_out: dict[str, str] = {}
    for (recipe,), group in runs.group_by("recipe", maintain_order=True):
        own = group.row(0, named=True)
        if own["data_fingerprint"] != wanted["data_fingerprint"]:
            left_out[str(recipe)] = "trained on other data than the baseline; materialize it again"
        elif own["status"] != "trained":
            continue
        elif sorted(group["seed"]) != seeds:
            left_out[str(recipe)] = f"trained with seeds {sorted(group['seed'])}, the baseline with {seeds}"
        elif own["changes"] != wanted["changes"]:
            left_out[str(recipe)] = f"trained with the changes {own['changes']}, the baseline with {wanted['changes']}"
        elif _served(own) != _served(wanted):
            left_out[str(recipe)] = f"judged at {_served(own)}, the baseline at {_served(wanted)}"
    return runs.filter(~pl.col("recipe").is_in(list(left_out))), left_out


def require_served(runs: pl.DataFrame, baseline: str, popularity_weight: float, popularity_from: str) -> None:
    """Raises `BaselineError` where the baseline was judged at another γ than is served; `ValueError` for no γ."""
    check_popularity_weight(popularity_weight)
    judged = runs.filter((runs["recipe"] == baseline) & (runs["status"] == "trained")).row(0, named=True)
    served = {"popularity_weight": popularity_weight, "popularity_from": popularity_from}
    if _served(judged) != _served(served):
        raise BaselineError(
            f"the baseline recipe '{baseline}' was judged at {_served(judged)}, but {_served(served)} is served; "
            "materialize recipes/negative_sampling_runs again"
        )


def _served(run: Mapping[str, Any]) -> str:
    return f"γ = {run['popularity_weight']:g} of {run['popularity_from']}"


def compared_rows(
    metrics: pl.DataFrame, users: pl.DataFrame, baseline: str, served_weight: float
) -> list[dict[str, Any]]:
    """Rows of `negative_sampling_comparison`, recipes in alphabetical order; `ValueError` for what is no γ."""
    import numpy as np
    import polars as pl

    from twotower_assets.evaluation.comparison import compare

    check_popularity_weight(served_weight)
    keys = ["metric", "k", "bucket"]
    served = metrics.filter(pl.col("popularity_weight") == served_weight)
    of_place = users.partition_by(keys, as_dict=True)
    rows = []
    for (metric, k, bucket), group in served.group_by(keys, maintain_order=True):
        of_recipe = {
            str(recipe): one["value"].to_numpy().astype(np.float64)
            for (recipe,), one in group.sort("recipe", "seed").group_by("recipe", maintain_order=True)
        }
        wide = of_place.get((metric, k, bucket), users.clear()).pivot("recipe", index="user_id", values="value")
        wide = wide.sort("user_id")
        paired = wide.columns[1:] if baseline in wide.columns else []
        compared = compare({name: wide[name].to_numpy() for name in paired}, baseline) if paired else {}
        for recipe, values in of_recipe.items():
            one, mean = compared.get(recipe), _mean_or_none(values)
            base = _mean_or_none(of_recipe[baseline])
            gain = (mean / base - 1) * 100 if recipe != baseline and base and mean is not None else None
            known = values[np.isfinite(values)]
            rows.append(
                {
                    "recipe": recipe,
                    "metric": metric,
                    "k": k,
                    "bucket": bucket,
                    "baseline": baseline,
                    "value": one.value if one else mean,
                    "low": one.low if one else None,
                    "high": one.high if one else None,
                    "seed_deviation": float(np.std(known, ddof=1)) if len(known) > 1 else None,
                    "gain_percent": one.gain_percent if one else gain,
                    "gain_low": one.gain_low if one else None,
                    "gain_high": one.gain_high if one else None,
                    "users": one.users if one else int(group["users"][0]),
                    "seeds": len(values),
                }
            )
    return rows

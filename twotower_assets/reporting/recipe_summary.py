"""Training recipes side by side, as Markdown: what δ means for each, which one to use and why, and a table of all.

Sentences and tables of the comparison of recipes belong here. Those of one model's report are in `sentences` and
`report_tables`, charts in `recipe_charts`. Nothing here computes a metric, an interval or a gain.
"""

import math
from typing import NamedTuple

import polars as pl

from twotower_assets.core.metric_rows import WIDE_K, K
from twotower_assets.core.popularity import check_popularity_weight
from twotower_assets.reporting import formatting, frames, sentences
from twotower_assets.reporting.theme import printable, weight_text


class _Result(NamedTuple):
    """The result of one recipe in one metric; None where there is no such row or number."""

    value: float | None = None
    deviation: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def gain_text(self) -> str:
        """The gain with its interval, as `+3.1 % [+1.0, +5.2]`."""
        if self.gain is None:
            return formatting.ABSENT
        return f"{formatting.signed(self.gain, 1)} % {formatting.bracketed(self.low, self.high, 1, sign=True)}".strip()


def delta_sentence(
    recipe: str, gamma: float, delta: float | None, low: float | None = None, high: float | None = None
) -> str:
    """State what the missing popularity δ of a recipe means, also where δ was not determined.

    Args:
        recipe: its name.
        gamma: γ of the scores that δ was fitted on. Raises `ValueError` if it is not in [0, 1].
        delta: δ; None or NaN where the clicks do not determine it.
        low: lower end of its interval.
        high: upper end.
    """
    check_popularity_weight(gamma)
    meaning = sentences.delta_sentence(delta, low, high) or "the held-out clicks do not determine δ."
    return f"{_code(recipe)} at γ = {weight_text(gamma)}: {meaning}"


def recommendation(runs: pl.DataFrame, comparison: pl.DataFrame, baseline: str) -> str:
    """State which recipe to use, and on what evidence.

    The candidate is the trained recipe with the highest validation metric, mean over seeds; the test split is not used
    to choose it. It is recommended where its gain in recall@20 over the baseline, on the test split and paired by user,
    has an interval above 0. Otherwise the baseline stays.

    Args:
        runs: see `frames.RECIPE_RUNS`.
        comparison: see `frames.RECIPE_COMPARISON`.
        baseline: the recipe that the others are compared with.
    """
    runs, comparison = frames.RECIPE_RUNS.conform(runs), frames.RECIPE_COMPARISON.conform(comparison)
    trained = runs.filter(pl.col("status") == "trained")
    by_recipe = (
        trained.group_by("recipe")
        .agg(pl.col("validation_metric", "seconds").mean())
        .with_columns(is_baseline=pl.col("recipe") == baseline)
        .sort(["validation_metric", "is_baseline", "recipe"], descending=[True, True, False], nulls_last=True)
    )
    means = {recipe: (metric, seconds) for recipe, metric, seconds, _ in by_recipe.iter_rows()}
    if baseline not in means:
        return f"Nothing can be recommended: the baseline {_code(baseline)} was not trained."
    scope = _scope(trained)
    ranked = by_recipe.drop_nulls("validation_metric")
    if ranked.is_empty():
        return (
            f"Nothing can be recommended without choosing on the test split: no recipe has a validation metric "
            f"(the hold-out has no validation split). {scope}"
        )
    if means[baseline][0] is None:
        return f"Nothing can be recommended: the baseline {_code(baseline)} has no validation metric. {scope}"
    candidate = str(ranked["recipe"][0])
    if candidate == baseline:
        return _baseline_is_best(ranked, baseline, scope)
    result = _result(comparison, candidate, "recall", K)
    best = (
        f"it has the highest recall@{K} on the validation split, {formatting.decimal(means[candidate][0])} against "
        f"{formatting.decimal(means[baseline][0])}"
    )
    evidence = _test_evidence(comparison, candidate, baseline)
    if result.gain is None or result.low is None or result.low <= 0:
        reason = _why_no_gain(result)
        return f"Keep {_code(baseline)}. The candidate is {_code(candidate)}: {best}; but {evidence}, {reason}. {scope}"
    return " ".join(
        [
            f"Use {_code(candidate)} instead of {_code(baseline)}: {best}, and {evidence}.",
            _beyond_the_head(comparison, candidate),
            _cost(means[candidate][1], means[baseline][1]),
            scope,
        ]
    )


def comparison_table(
    comparison: pl.DataFrame, runs: pl.DataFrame, diagnostics: pl.DataFrame, popularity_weight: float = 1.0
) -> str:
    """Return the comparison as Markdown: a line per recipe, best recall@20 first, then the recipes not applicable.

    Args:
        comparison: see `frames.RECIPE_COMPARISON`.
        runs: see `frames.RECIPE_RUNS`.
        diagnostics: see `frames.RECIPE_DIAGNOSTICS`; δ is its mean over seeds.
        popularity_weight: γ of the δ that is shown: the served one. Raises `ValueError` if it is not in [0, 1].
    """
    check_popularity_weight(popularity_weight)
    comparison, runs = frames.RECIPE_COMPARISON.conform(comparison), frames.RECIPE_RUNS.conform(runs)
    at_weight = (pl.col("popularity_weight") - popularity_weight).abs() < 1e-9
    deltas = _means(frames.RECIPE_DIAGNOSTICS.conform(diagnostics).filter(at_weight), "delta")
    trained = runs.filter(pl.col("status") == "trained")
    seconds = _means(trained, "seconds")
    baselines = set(comparison["baseline"].drop_nulls())
    recipes = {*comparison["recipe"].drop_nulls(), *trained["recipe"].drop_nulls()}
    recall = {recipe: _result(comparison, recipe, "recall", K) for recipe in recipes}
    ranked = sorted(recipes, key=lambda recipe: (-_or_lowest(recall[recipe].value), recipe))
    heads = (
        "recipe",
        f"recall@{K} (±)",
        "gain % [low, high]",
        f"NDCG@{K}",
        f"recall@{WIDE_K}",
        f"beyond head@{K}",
        f"coverage@{K}",
        "δ",
        "s per training",
    )
    lines = [
        (
            f"**{_code(recipe)}** (baseline)" if recipe in baselines else _code(recipe),
            _with_deviation(recall[recipe]),
            recall[recipe].gain_text.replace(" %", ""),
            formatting.decimal(_result(comparison, recipe, "ndcg", K).value),
            formatting.decimal(_result(comparison, recipe, "recall", WIDE_K).value),
            formatting.decimal(_result(comparison, recipe, "recall", K, "beyond_head").value),
            formatting.decimal(_result(comparison, recipe, "coverage", K).value),
            formatting.signed(deltas.get(recipe)),
            formatting.decimal(seconds.get(recipe), 1),
        )
        for recipe in ranked
    ]
    table = [" | ".join(line) for line in (heads, ("---", *["---:"] * (len(heads) - 1)), *lines)]
    legend = (
        f"± is the standard deviation over seeds; [low, high] is the 95 % interval over users of the gain in recall@{K}"
        f", paired by user; δ at γ = {weight_text(popularity_weight)}."
    )
    blocks = ["\n".join(f"| {line} |" for line in table), legend]
    not_applicable = runs.filter(pl.col("status") != "trained").unique("recipe", keep="first").sort("recipe")
    if len(not_applicable):
        reasons = (
            f"- {_code(recipe)}: {_plain(reason)}" for recipe, reason in not_applicable["recipe", "reason"].iter_rows()
        )
        blocks.append("\n".join(["Not applicable here:", "", *reasons]))
    return "\n\n".join(blocks)


def diagnostics_table(diagnostics: pl.DataFrame, popularity_weight: float = 1.0) -> str:
    """Return how much popularity each recipe's scores hold, as Markdown: a table by recipe and γ, then the sentences.

    Args:
        diagnostics: see `frames.RECIPE_DIAGNOSTICS`; means over seeds are shown, of the ends of intervals too.
        popularity_weight: γ that the sentences are about: the served one. Raises `ValueError` if it is not in [0, 1].
    """
    check_popularity_weight(popularity_weight)
    numbers = ("delta", "delta_low", "delta_high", "slope", "pmi_correlation")
    means = (
        frames.RECIPE_DIAGNOSTICS.conform(diagnostics)
        .group_by("recipe", "popularity_weight")
        .agg(pl.col(name).fill_nan(None).mean() for name in numbers)
        .sort("recipe", "popularity_weight")
    )
    lines = [("recipe", "γ", "δ [low, high]", "slope on log q", "correlation with PMI"), ("---", *["---:"] * 4)]
    meanings = []
    for recipe, weight, delta, low, high, slope, correlation in means.iter_rows():
        delta_text = f"{formatting.signed(delta)} {formatting.bracketed(low, high) or ''}".strip()
        slope_text, correlation_text = formatting.signed(slope), formatting.signed(correlation)
        lines.append((_code(recipe), weight_text(weight), delta_text, slope_text, correlation_text))
        if abs(weight - popularity_weight) < 1e-9:
            meanings.append(f"- {delta_sentence(recipe, weight, delta, low, high)}")
    return "\n\n".join(["\n".join(f"| {' | '.join(line)} |" for line in lines), "\n".join(meanings)])


def _baseline_is_best(ranked: pl.DataFrame, baseline: str, scope: str) -> str:
    """The recommendation where the baseline itself is the best on the validation split."""
    metric = formatting.decimal(ranked["validation_metric"][0])
    second = (
        f"; next is {_code(ranked['recipe'][1])} with {formatting.decimal(ranked['validation_metric'][1])}"
        if len(ranked) > 1
        else ""
    )
    return (
        f"Keep {_code(baseline)}: no other recipe has a higher recall@{K} on the validation split "
        f"({metric}, mean over seeds{second}). {scope}"
    )


def _why_no_gain(result: _Result) -> str:
    """Why a gain does not count: it has no interval, or its interval is not above 0."""
    if result.low is None or result.high is None:
        return "and a gain without an interval does not count"
    return "so it loses" if result.high < 0 else "so no gain is shown"


def _test_evidence(comparison: pl.DataFrame, candidate: str, baseline: str) -> str:
    """The candidate's recall@20 on the test split."""
    result, baseline_result = (_result(comparison, recipe, "recall", K) for recipe in (candidate, baseline))
    if result.gain is None:
        return f"on the test split its gain over {_code(baseline)} in recall@{K} is not known"
    return (
        f"on the test split, which was not used to choose it, its recall@{K} is {formatting.decimal(result.value)} "
        f"against {formatting.decimal(baseline_result.value)}, {result.gain_text} "
        "(95 % interval over users, paired by user)"
    )


def _beyond_the_head(comparison: pl.DataFrame, candidate: str) -> str:
    """The candidate's gain beyond the head, with a warning where it loses there."""
    result = _result(comparison, candidate, "recall", K, "beyond_head")
    if result.gain is None:
        return "Its change beyond the head is not known."
    if result.high is not None and result.high < 0:
        return f"Warning: the gain comes with a loss beyond the head, {result.gain_text} in recall@{K} there."
    return f"Beyond the head its recall@{K} changes by {result.gain_text}."


def _cost(seconds: float | None, baseline_seconds: float | None) -> str:
    """The candidate's training time relative to the baseline's."""
    if not seconds or not baseline_seconds:
        return "Its training time is not known."
    return (
        f"Training takes {formatting.decimal(seconds / baseline_seconds, 2)} times as long "
        f"({formatting.decimal(seconds, 1)} s against {formatting.decimal(baseline_seconds, 1)} s)."
    )


def _scope(trained: pl.DataFrame) -> str:
    """How many recipes were compared and on how many seeds, with a caution where there is only one seed."""
    counts = trained.group_by("recipe").agg(pl.col("seed").n_unique())["seed"].sort().to_list()
    fewest, most = counts[0], counts[-1]
    recipes = "1 recipe" if len(counts) == 1 else f"{len(counts)} recipes"
    seeds = str(most) if fewest == most else f"{fewest} to {most}"
    compared = f"Compared: {recipes}, {seeds} seed{'' if most == 1 else 's'} each."
    return f"{compared} One seed does not show how much trainings vary from seed to seed." if fewest == 1 else compared


def _result(comparison: pl.DataFrame, recipe: str, metric: str, k: int, bucket: str = "all") -> _Result:
    """The numbers of one recipe, metric, cut-off and bucket."""
    rows = comparison.filter(recipe=recipe, metric=metric, k=k, bucket=bucket)
    columns = ("value", "seed_deviation", "gain_percent", "gain_low", "gain_high")
    return _Result(*rows.select(columns).row(0)) if len(rows) else _Result()


def _means(frame: pl.DataFrame, column: str) -> dict[str, float]:
    """Mean of a column over seeds, by recipe."""
    means = frame.group_by("recipe").agg(pl.col(column).mean())
    return dict(means.drop_nulls().iter_rows())


def _with_deviation(result: _Result) -> str:
    """The value, ± its standard deviation over seeds where there is one."""
    deviation = "" if result.deviation is None else f" ± {formatting.decimal(result.deviation)}"
    return formatting.decimal(result.value) + deviation


def _or_lowest(value: float | None) -> float:
    """The value, or −∞ where it was not measured, so that it ranks last."""
    return -math.inf if value is None else value


def _code(name: str) -> str:
    """A name as Markdown code that breaks no table."""
    return "`" + _plain(name).replace("`", "'").replace("|", "/") + "`"


def _plain(text: str | None) -> str:
    """Text on one line."""
    return " ".join(printable(text or "no reason is given").split())

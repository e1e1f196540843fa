"""Training recipes side by side in words: what δ says of each, which one to use and why, and the table of all.

Sentences and tables of the comparison of recipes belong here; those of one model's report are in `words` and
`tables`, charts in `recipe_charts`. Nothing here computes a metric, an interval or a gain.
"""

import math
from typing import NamedTuple

import polars as pl

from twotower_assets.core.metric_rows import WIDE_K, K
from twotower_assets.core.popularity import check_popularity_weight
from twotower_assets.reporting import frames, words
from twotower_assets.reporting.theme import printable, weight_text

"""Depths of the headline metrics, and of what retrieval hands over to ranking."""


class _Row(NamedTuple):
    """What the comparison says of one recipe in one metric; None where there is no such row or number."""

    value: float | None = None
    deviation: float | None = None
    gain: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def gain_told(self) -> str:
        """The gain with its interval, as `+3.1 % [+1.0, +5.2]`."""
        if self.gain is None:
            return words.ABSENT
        return f"{words.signed(self.gain, 1)} % {words.bracketed(self.low, self.high, 1, sign=True)}".strip()


def delta_sentence(
    recipe: str, gamma: float, delta: float | None, low: float | None = None, high: float | None = None
) -> str:
    """Say what the missing popularity δ of a recipe means: one sentence, whether or not δ was determined.

    Args:
        recipe: its name.
        gamma: γ of the scores that δ was fitted on. Raises `ValueError` for what is no γ.
        delta: δ; None or NaN where the clicks do not determine it.
        low: lower end of its interval.
        high: upper end.
    """
    check_popularity_weight(gamma)
    reading = words.delta_sentence(delta, low, high) or "the held-out clicks do not determine δ."
    return f"{_code(recipe)} at γ = {weight_text(gamma)}: {reading}"


def recommendation(runs: pl.DataFrame, comparison: pl.DataFrame, baseline: str) -> str:
    """Say which recipe to use, and on what evidence.

    The candidate is the trained recipe with the highest validation metric, mean over seeds; the test part has no say
    in that. It is recommended where its gain in recall@20 over the baseline, on the test part and paired by user, has
    an interval above 0. Otherwise the baseline stays.

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
    among = _among(trained)
    chosen = by_recipe.drop_nulls("validation_metric")
    if chosen.is_empty():
        return (
            f"Nothing can be recommended without choosing on the test part: no recipe has a validation metric "
            f"(the hold-out has no validation part). {among}"
        )
    if means[baseline][0] is None:
        return f"Nothing can be recommended: the baseline {_code(baseline)} has no validation metric. {among}"
    candidate = str(chosen["recipe"][0])
    if candidate == baseline:
        return _nothing_better(chosen, baseline, among)
    found = _row_of(comparison, candidate, "recall", K)
    best = (
        f"it has the highest recall@{K} on the validation part, {words.decimal(means[candidate][0])} against "
        f"{words.decimal(means[baseline][0])}"
    )
    tested = _tested(comparison, candidate, baseline)
    if found.gain is None or found.low is None or found.low <= 0:
        reason = _why_no_gain(found)
        return f"Keep {_code(baseline)}. The candidate is {_code(candidate)}: {best}; but {tested}, {reason}. {among}"
    return " ".join(
        [
            f"Use {_code(candidate)} in place of {_code(baseline)}: {best}, and {tested}.",
            *_besides(comparison, candidate),
            _cost(means[candidate][1], means[baseline][1]),
            among,
        ]
    )


def comparison_table(
    comparison: pl.DataFrame, runs: pl.DataFrame, diagnostics: pl.DataFrame, popularity_weight: float = 1.0
) -> str:
    """Give the comparison as Markdown: a line per recipe, best recall@20 first, then the recipes not applicable.

    Args:
        comparison: see `frames.RECIPE_COMPARISON`.
        runs: see `frames.RECIPE_RUNS`.
        diagnostics: see `frames.RECIPE_DIAGNOSTICS`; δ is its mean over seeds.
        popularity_weight: γ of the δ that is shown: the served one. Raises `ValueError` for what is no γ.
    """
    check_popularity_weight(popularity_weight)
    comparison, runs = frames.RECIPE_COMPARISON.conform(comparison), frames.RECIPE_RUNS.conform(runs)
    at = (pl.col("popularity_weight") - popularity_weight).abs() < 1e-9
    deltas = _means(frames.RECIPE_DIAGNOSTICS.conform(diagnostics).filter(at), "delta")
    trained = runs.filter(pl.col("status") == "trained")
    seconds = _means(trained, "seconds")
    baselines = set(comparison["baseline"].drop_nulls())
    recipes = {*comparison["recipe"].drop_nulls(), *trained["recipe"].drop_nulls()}
    recall = {recipe: _row_of(comparison, recipe, "recall", K) for recipe in recipes}
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
            recall[recipe].gain_told.replace(" %", ""),
            words.decimal(_row_of(comparison, recipe, "ndcg", K).value),
            words.decimal(_row_of(comparison, recipe, "recall", WIDE_K).value),
            words.decimal(_row_of(comparison, recipe, "recall", K, "beyond_head").value),
            words.decimal(_row_of(comparison, recipe, "coverage", K).value),
            words.signed(deltas.get(recipe)),
            words.decimal(seconds.get(recipe), 1),
        )
        for recipe in ranked
    ]
    table = [" | ".join(line) for line in (heads, ("---", *["---:"] * (len(heads) - 1)), *lines)]
    legend = (
        f"± is the standard deviation over seeds; [low, high] is the 95 % interval over users of the gain in recall@{K}"
        f", paired by user; δ at γ = {weight_text(popularity_weight)}."
    )
    parts = ["\n".join(f"| {line} |" for line in table), legend]
    barred = runs.filter(pl.col("status") != "trained").unique("recipe", keep="first").sort("recipe")
    if len(barred):
        reasons = (f"- {_code(recipe)}: {_plain(reason)}" for recipe, reason in barred["recipe", "reason"].iter_rows())
        parts.append("\n".join(["Not applicable here:", "", *reasons]))
    return "\n\n".join(parts)


def diagnostics_table(diagnostics: pl.DataFrame, popularity_weight: float = 1.0) -> str:
    """Give what each recipe's scores hold of popularity as Markdown: a line per recipe and γ, then one sentence each.

    Args:
        diagnostics: see `frames.RECIPE_DIAGNOSTICS`; means over seeds are shown, of the ends of intervals too.
        popularity_weight: γ that the sentences speak of: the served one. Raises `ValueError` for what is no γ.
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
    sentences = []
    for recipe, weight, delta, low, high, slope, correlation in means.iter_rows():
        told = f"{words.signed(delta)} {words.bracketed(low, high) or ''}".strip()
        lines.append((_code(recipe), weight_text(weight), told, words.signed(slope), words.signed(correlation)))
        if abs(weight - popularity_weight) < 1e-9:
            sentences.append(f"- {delta_sentence(recipe, weight, delta, low, high)}")
    return "\n\n".join(["\n".join(f"| {' | '.join(line)} |" for line in lines), "\n".join(sentences)])


def _nothing_better(chosen: pl.DataFrame, baseline: str, among: str) -> str:
    """Words for a baseline that is itself the best on the validation part."""
    own = words.decimal(chosen["validation_metric"][0])
    second = (
        f"; next is {_code(chosen['recipe'][1])} with {words.decimal(chosen['validation_metric'][1])}"
        if len(chosen) > 1
        else ""
    )
    return (
        f"Keep {_code(baseline)}: no other recipe has a higher recall@{K} on the validation part "
        f"({own}, mean over seeds{second}). {among}"
    )


def _why_no_gain(found: _Row) -> str:
    """Why a gain does not count: there is no interval, or it is not above 0."""
    if found.low is None or found.high is None:
        return "and without an interval no gain is shown"
    return "so it loses" if found.high < 0 else "so no gain is shown"


def _tested(comparison: pl.DataFrame, candidate: str, baseline: str) -> str:
    """What the test part says of the candidate in recall@20."""
    found, own = (_row_of(comparison, recipe, "recall", K) for recipe in (candidate, baseline))
    if found.gain is None:
        return f"on the test part its gain over {_code(baseline)} in recall@{K} is not known"
    return (
        f"on the test part, which had no say in the choice, its recall@{K} is {words.decimal(found.value)} against "
        f"{words.decimal(own.value)}, {found.gain_told} (95 % interval over users, paired by user)"
    )


def _besides(comparison: pl.DataFrame, candidate: str) -> list[str]:
    """What the candidate does beyond the head, with a warning where it loses there."""
    found = _row_of(comparison, candidate, "recall", K, "beyond_head")
    if found.gain is None:
        return ["Its change beyond the head is not known."]
    if found.high is not None and found.high < 0:
        return [f"Warning: the gain comes with a loss beyond the head, {found.gain_told} in recall@{K} there."]
    return [f"Beyond the head its recall@{K} changes by {found.gain_told}."]


def _cost(seconds: float | None, baseline_seconds: float | None) -> str:
    """The candidate's training time beside the baseline's."""
    if not seconds or not baseline_seconds:
        return "What it costs to train is not known."
    return (
        f"Training takes {words.decimal(seconds / baseline_seconds, 2)} times as long "
        f"({words.decimal(seconds, 1)} s against {words.decimal(baseline_seconds, 1)} s)."
    )


def _among(trained: pl.DataFrame) -> str:
    """How many recipes were compared, on how many seeds, and what the intervals leave out."""
    counts = trained.group_by("recipe").agg(pl.col("seed").n_unique())["seed"].sort().to_list()
    fewest, most = counts[0], counts[-1]
    recipes = "1 recipe" if len(counts) == 1 else f"{len(counts)} recipes"
    seeds = str(most) if fewest == most else f"{fewest} to {most}"
    told = f"Compared: {recipes}, {seeds} seed{'' if most == 1 else 's'} each."
    return f"{told} One seed does not show how much a training differs from the next." if fewest == 1 else told


def _row_of(comparison: pl.DataFrame, recipe: str, metric: str, k: int, bucket: str = "all") -> _Row:
    """The numbers of one recipe, metric, depth and bucket."""
    found = comparison.filter(recipe=recipe, metric=metric, k=k, bucket=bucket)
    columns = ("value", "seed_deviation", "gain_percent", "gain_low", "gain_high")
    return _Row(*found.select(columns).row(0)) if len(found) else _Row()


def _means(frame: pl.DataFrame, column: str) -> dict[str, float]:
    """Mean of a column over seeds, by recipe."""
    means = frame.group_by("recipe").agg(pl.col(column).mean())
    return dict(means.drop_nulls().iter_rows())


def _with_deviation(row: _Row) -> str:
    """The value, ± its standard deviation over seeds where there is one."""
    deviation = "" if row.deviation is None else f" ± {words.decimal(row.deviation)}"
    return words.decimal(row.value) + deviation


def _or_lowest(value: float | None) -> float:
    """The value; what was not measured ranks last."""
    return -math.inf if value is None else value


def _code(name: str) -> str:
    """A name as Markdown code that breaks no table."""
    return "`" + _plain(name).replace("`", "'").replace("|", "/") + "`"


def _plain(text: str | None) -> str:
    """Text on one line."""
    return " ".join(printable(text or "no reason is given").split())

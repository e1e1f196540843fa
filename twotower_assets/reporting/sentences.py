"""The sentences of the popularity report: the summary, warnings, limitations and comparisons.

Whatever puts a measured result into a sentence belongs here. Numbers are printed by `formatting`, tables are in
`report_tables`, the page is put together in `report`.
"""

import math
from typing import NamedTuple

import polars as pl

from twotower_assets.reporting.formatting import NO_BREAK, bracketed, decimal, percent, points, signed
from twotower_assets.reporting.report_data import PREDECESSOR, ReportData, at_weight
from twotower_assets.reporting.theme import model_name, weight_text

_BASELINES = ("most_popular", "ease")


class Finding(NamedTuple):
    """One result of the report: its number alone, and the full sentence."""

    figure: str
    sentence: str


def delta_sentence(delta: float | None, low: float | None = None, high: float | None = None) -> str | None:
    """State what the missing popularity δ means; None where δ was not fitted.

    Where the interval contains 0, the model is calibrated. Otherwise the sign of δ gives the direction of the error.
    Without an interval the sign alone decides, and the sentence says that there is no interval.
    """
    if delta is None or not math.isfinite(delta):
        return None
    bounds = bracketed(low, high)
    measured = f"δ = {signed(delta)} {bounds or '(no interval)'}"
    if bounds and low is not None and high is not None and low <= 0 <= high:
        return f"{measured}: this model is calibrated as click probability within measurement error."
    if delta == 0:
        return f"{measured}: this model is calibrated as click probability."
    verb = "under-scores" if delta > 0 else "over-scores"
    return f"{measured}: this model {verb} popular items as click probability."


def findings(data: ReportData) -> list[Finding]:
    """Return the summary, most important first, without the findings whose numbers are missing."""
    candidates = (
        _recall(data),
        _predecessor(data),
        _beyond_the_head(data),
        _coverage(data),
        _head_exposure(data),
        _missing_popularity(data),
        _better_weight(data),
    )
    return [finding for finding in candidates if finding is not None]


def summary_sentences(data: ReportData) -> list[str]:
    """Return the sentences of the summary, warnings last, for use outside the page."""
    return [finding.sentence for finding in findings(data)] + warnings(data)


def warnings(data: ReportData) -> list[str]:
    """Return warnings for a model whose trained weight γ₀ is unknown; empty where γ₀ is known."""
    if data.trained_weight_is_known:
        return []
    base, served = weight_text(data.trained_popularity_weight), data.served_popularity_weight
    sentences = [
        "This recipe's γ₀ is unknown, because some of its negatives are uncorrected. "
        f"γ is therefore relative to {base}, the weight that it would train to without them; "
        "the measured δ shows how much popularity is missing."
    ]
    rows = data.served(data.popularity_diagnostics).drop_nulls(["delta", "delta_low"])
    if served < 1 and not rows.is_empty():
        delta, low, high = rows.select("delta", "delta_low", "delta_high").row(0)
        if low > 0:
            measured = " ".join(["δ =", signed(delta), bracketed(low, high)]).strip()
            sentence = (
                f"At the served γ = {weight_text(served)}, {measured}: lowering γ removes popularity that the model "
                "already lacks."
            )
            if low > 1 - served:
                sentence += (
                    f" More is missing than the {decimal(1 - served, 2)} that this γ removes: popularity is "
                    "discounted twice."
                )
            sentences.append(sentence)
    return sentences


def trained_weight(data: ReportData) -> str:
    """Return γ₀, the popularity weight that training left in the score, as text, also where it is unknown."""
    weight = weight_text(data.trained_popularity_weight)
    return f"γ₀ = {weight}" if data.trained_weight_is_known else f"γ₀ unknown, assumed to be {weight}"


def gini_sentence(data: ReportData) -> str | None:
    """State the Gini coefficients of exposure; None where the model's was not measured."""
    gini = {model: data.metric(model, "gini")[0] for model in data.models}
    ours = gini.pop("two_tower", None)
    if ours is None:
        return None
    others = [f"{name_in_sentence(model)} {decimal(value, 2)}" for model, value in gini.items() if value is not None]
    baselines = f" ({', '.join(others)})" if others else ""
    return (
        f"The Gini coefficient of exposure is {decimal(ours, 2)}{baselines}. It is 0 when every item is shown equally "
        "often, and 1 when only one item is shown."
    )


def predecessor_sentence(data: ReportData) -> str:
    """Compare the model with the version served before it, or state why there is no comparison."""
    if not data.predecessor_version:
        return "No other version was served before this one, so there is nothing to compare it with."
    if data.predecessor_note:
        version = data.predecessor_version
        return f"There is no comparison with {version}, the version served before: {data.predecessor_note}"
    recall = data.difference(PREDECESSOR, "recall")
    if recall["difference"] is None:
        return f"The recall of {data.predecessor_version}, the version served before, was not measured."
    return (
        f"Recall@{data.k} compared with {data.predecessor_version}, the version served before, on the same held-out "
        f"clicks: {_difference_text(recall['difference'], recall['low'], recall['high'])}."
    )


def limitations(data: ReportData) -> list[str]:
    """State what the model must not be used for, from the measurements, and what offline metrics cannot answer."""
    sentences = []
    rows = data.served(data.popularity_diagnostics).drop_nulls(["delta", "delta_low", "delta_high"])
    if not rows.is_empty():
        delta, low, high = rows.select("delta", "delta_low", "delta_high").row(0)
        if not low <= 0 <= high:
            sentences.append(
                f"Forecasting clicks: its scores are not click probabilities (δ{NO_BREAK}={NO_BREAK}{signed(delta)}, "
                "not 0)."
            )
    cold = data.exposure.filter(bucket="cold")["catalogue_share"].drop_nulls()
    if len(cold) and cold[0] > 0:
        recall = data.metric("two_tower", "recall", bucket="cold")[0]
        found = f", and finds {percent(recall)} of the clicks on them" if recall is not None else ""
        sentences.append(
            f"Launching new items: {percent(cold[0])} of the catalogue has no training click. The model knows these "
            f"items only by their category and features{found}."
        )
    return [
        *sentences,
        "Users without an earlier click: the model knows only their features from the users table.",
        "Predicting the effect of changing the lists: an item that was never shown could not be clicked, so these "
        "logs cannot answer that. Test on live traffic.",
    ]


def slope_sentences(data: ReportData) -> list[str]:
    """Explain the slope on log q and the correlation with PMI at the served γ; empty where neither was measured."""
    rows = data.served(data.popularity_diagnostics)
    if rows.is_empty():
        return []
    slope, correlation = rows.select("slope", "pmi_correlation").row(0)
    at, sentences = f"At γ = {weight_text(data.served_popularity_weight)}", []
    if slope is not None:
        sentences.append(
            f"{at}, when one item is clicked ten times as often as another, its score differs by "
            f"{signed(slope * math.log(10))} on average (slope {signed(slope)} on log q; the slope of log q itself is "
            "1, that of a score that ignores popularity is 0)."
        )
    if correlation is not None:
        sentences.append(
            f"{at}, the correlation of mean scores with the PMI between user segments and items is "
            f"{signed(correlation)}. Near 1 the score measures affinity; near 0 popularity dominates it. "
            "The correlation falls as γ rises, by design."
        )
    return sentences


def _recall(data: ReportData) -> Finding | None:
    value, low, high = data.metric("two_tower", "recall")
    if value is None:
        return None
    sentence = (
        f"On average, the model finds {percent(value)} of a user's held-out clicks "
        f"in its top {data.k} recommendations{_baseline_values(data, 'finds', 'recall', 'all')}."
    )
    return Finding(percent(value), sentence + _against_best_baseline(data, low, high))


def _predecessor(data: ReportData) -> Finding | None:
    recall = data.difference(PREDECESSOR, "recall")
    if recall["difference"] is None:
        return None
    sentence = (
        f"Recall compared with the version served before it, on the same held-out clicks: "
        f"{_difference_text(recall['difference'], recall['low'], recall['high'])}"
    )
    beyond = data.difference(PREDECESSOR, "recall", "beyond_head")
    if beyond["difference"] is not None:
        sentence += "; beyond the head, " + _difference_text(beyond["difference"], beyond["low"], beyond["high"])
    return Finding(f"{points(recall['difference'])}{NO_BREAK}pt", sentence + ".")


def _difference_text(difference: float, low: float | None, high: float | None) -> str:
    """Describe a difference of recalls in points; no direction where its interval contains 0."""
    if low is not None and high is not None and low <= 0 <= high:
        return f"no clear difference: {points(difference)} points {bracketed(100 * low, 100 * high, 1, sign=True)}"
    ends = sorted((abs(low), abs(high))) if low is not None and high is not None else (None, None)
    decimals = 2 if ends[0] is not None and round(100 * ends[0], 1) == 0 else 1
    bounds = "" if ends[0] is None or ends[1] is None else bracketed(100 * ends[0], 100 * ends[1], decimals)
    size = f"{decimal(abs(100 * difference), decimals)} points {'more' if difference > 0 else 'less'}"
    return f"{size} {bounds}".strip()


def _against_best_baseline(data: ReportData, low: float | None, high: float | None) -> str:
    """Compare with the best baseline: by the paired difference where it was measured, else by the two intervals."""
    baselines = [(data.metric(model, "recall"), model) for model in data.models if model in _BASELINES]
    measured = [(value, bounds, model) for (value, *bounds), model in baselines if value is not None]
    if not measured:
        return ""
    _, (baseline_low, baseline_high), model = max(measured, key=lambda baseline: baseline[0])
    paired = data.difference(model, "recall")
    if paired["difference"] is not None:
        difference = _difference_text(paired["difference"], paired["low"], paired["high"])
        return f" Compared with {name_in_sentence(model)}, paired by user: {difference}."
    if low is None or high is None or baseline_low is None or baseline_high is None:
        return ""
    level = percent(data.interval_level)
    if low > baseline_high:
        return f" Its {level} interval is entirely above that of {name_in_sentence(model)}."
    if high < baseline_low:
        return f" Its {level} interval is entirely below that of {name_in_sentence(model)}."
    return f" Its {level} interval overlaps that of {name_in_sentence(model)}: the difference may be noise."


def _beyond_the_head(data: ReportData) -> Finding | None:
    value = data.metric("two_tower", "recall", bucket="beyond_head")[0]
    if value is None:
        return None
    sentence = (
        f"Of the held-out clicks beyond the head, that is on less popular items, it finds {percent(value)}"
        f"{_baseline_values(data, 'finds', 'recall', 'beyond_head')}."
    )
    return Finding(percent(value), sentence)


def _coverage(data: ReportData) -> Finding | None:
    value = data.metric("two_tower", "coverage")[0]
    if value is None:
        return None
    baselines = _baseline_values(data, "shows", "coverage", "all")
    return Finding(
        percent(value), f"Over all users together, its lists show {percent(value)} of the catalogue{baselines}."
    )


def _head_exposure(data: ReportData) -> Finding | None:
    rows = data.served(data.exposure).filter((pl.col("model") == "two_tower") & (pl.col("bucket") == "head"))
    if rows.is_empty() or rows["exposure_share"][0] is None:
        return None
    shown, clicked, catalogue = rows.select("exposure_share", "click_share", "catalogue_share").row(0)
    sentence = f"Head items fill {percent(shown)} of its list positions"
    if clicked is not None:
        sentence += f" and receive {percent(clicked)} of the clicks"
    if catalogue is not None:
        sentence += f"; they make up {percent(catalogue)} of the catalogue"
    return Finding(percent(shown), sentence + ".")


def _missing_popularity(data: ReportData) -> Finding | None:
    rows = data.served(data.popularity_diagnostics)
    if rows.is_empty():
        return None
    delta, low, high = rows.select("delta", "delta_low", "delta_high").row(0)
    sentence = delta_sentence(delta, low, high)
    if sentence is None:
        return None
    if low is None or high is None or not low <= 0 <= high:
        sentence += f" Popular items rank {'lower' if delta > 0 else 'higher'} in its lists than their clicks warrant."
    return Finding(f"δ{NO_BREAK}{signed(delta)}", f"At γ = {weight_text(data.served_popularity_weight)}, {sentence}")


def _better_weight(data: ReportData) -> Finding | None:
    """Name the γ that finds most beyond the head, among those whose recall is not clearly below the served one's."""
    served = data.served_popularity_weight
    ours = data.metrics.filter((pl.col("model") == "two_tower") & (pl.col("k") == data.k)).drop_nulls("value")
    coverage = dict(ours.filter(metric="coverage").select("popularity_weight", "value").iter_rows())
    compared = {}
    for weight in ours["popularity_weight"].drop_nulls().unique().sort():
        recall, beyond = (data.difference(at_weight(weight), "recall", bucket) for bucket in ("all", "beyond_head"))
        if recall["low"] is not None and beyond["difference"] is not None and {weight, served} <= coverage.keys():
            compared[weight] = recall, beyond
    if not compared:
        return None
    better = {weight: pair for weight, pair in compared.items() if pair[0]["low"] <= 0 and pair[1]["high"] < 0}
    if not better:
        return Finding(
            f"γ{NO_BREAK}{weight_text(served)}",
            "No other measured γ finds clearly more beyond the head without clearly lower recall overall.",
        )
    best = min(better, key=lambda weight: better[weight][1]["difference"])
    recall, beyond = better[best]
    sentence = (
        f"With γ = {weight_text(best)} instead of {weight_text(served)} it would find "
        f"{percent(beyond['other_value'])} beyond the head instead of {percent(beyond['value'])}, and show "
        f"{percent(coverage[best])} of the catalogue instead of {percent(coverage[served])}, at a recall that is not "
        f"clearly lower ({points(-recall['difference'])} points "
        f"{bracketed(-100 * recall['high'], -100 * recall['low'], 1, sign=True)})."
    )
    return Finding(f"γ{NO_BREAK}{weight_text(best)}", sentence)


def _baseline_values(data: ReportData, verb: str, metric: str, bucket: str) -> str:
    """Return the baselines' values, to be appended to a sentence."""
    values = [(model, data.metric(model, metric, bucket=bucket)[0]) for model in data.models if model in _BASELINES]
    measured = [(name_in_sentence(model), percent(value)) for model, value in values if value is not None]
    if not measured:
        return ""
    (first, share), *rest = measured
    return "; " + ", ".join([f"{first} {verb} {share}", *(" ".join(pair) for pair in rest)])


def name_in_sentence(model: str) -> str:
    """Return the name of a model as it is written within a sentence."""
    name = model_name(model)
    return name if name.isupper() else name.lower()

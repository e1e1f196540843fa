"""Numbers as text, and the sentences of the summary.

Whatever puts a measured number into words belongs here. Tables are in `tables`, the page in `report`.
"""

import math
from typing import NamedTuple

import polars as pl

from twotower_assets.reporting.report_data import PREDECESSOR, ReportData, at_weight
from twotower_assets.reporting.theme import model_name, weight_text

ABSENT = "–"
"""What stands where a number was not measured."""
_NO_BREAK = "\N{NO-BREAK SPACE}"
_BASELINES = ("most_popular", "ease")


class Finding(NamedTuple):
    """One thing the report found: the number by itself, and a sentence that says it whole."""

    figure: str
    sentence: str


def decimal(value: float | None, places: int = 3) -> str:
    """Write a number with a fixed count of decimals, `–` where there is none."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:,.{places}f}".replace("-", "−")


def signed(value: float | None, places: int = 2) -> str:
    """Write a number with its sign, `–` where there is none; what rounds to zero has no sign."""
    if value is None or not math.isfinite(value):
        return ABSENT
    rounded = round(value, places)
    return decimal(abs(rounded), places) if rounded == 0 else f"{value:+,.{places}f}".replace("-", "−")


def percent(share: float | None, places: int | None = None) -> str:
    """Write a share in per cent: whole numbers, one decimal below 10 % or as many as asked; `–` where there is none."""
    if share is None or not math.isfinite(share):
        return ABSENT
    number = 100 * share
    if places is None:
        places = 0 if number == 0 or abs(number) >= 9.95 else 1
    return f"{number:.{places}f}{_NO_BREAK}%".replace("-", "−")


def whole(value: float | None) -> str:
    """Write a count with separators, `–` where there is none."""
    return decimal(value, 0)


def interval(low: float | None, high: float | None, places: int = 3, *, sign: bool = False) -> str:
    """Write an interval as `low–high`, as `low to high` where there are signs, as nothing without a bound."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if sign or low < 0:
        write = signed if sign else decimal
        return f"{write(low, places)} to {write(high, places)}"
    return f"{decimal(low, places)}–{decimal(high, places)}"


def bracketed(low: float | None, high: float | None, places: int = 2, *, sign: bool = False) -> str:
    """Write an interval as `[low, high]`, as nothing without a bound; with `sign`, both ends carry theirs."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    write = signed if sign else decimal
    return f"[{write(low, places)}, {write(high, places)}]"


def points(share: float | None, places: int = 1) -> str:
    """Write a difference of shares in percentage points with its sign, `–` where there is none."""
    return ABSENT if share is None else signed(100 * share, places)


def delta_sentence(delta: float | None, low: float | None = None, high: float | None = None) -> str | None:
    """Say what the missing popularity δ means; None where δ was not fitted.

    The interval decides: where it holds 0 the model is calibrated, otherwise the sign of δ says which way it
    errs. Without an interval the sign alone speaks, and the sentence says so.
    """
    if delta is None or not math.isfinite(delta):
        return None
    bounds = bracketed(low, high)
    known = f"δ = {signed(delta)} {bounds or '(no interval)'}"
    if bounds and low is not None and high is not None and low <= 0 <= high:
        return f"{known}: this model is calibrated as click probability within the error."
    if delta == 0:
        return f"{known}: this model is calibrated as click probability."
    verb = "under-scores" if delta > 0 else "over-scores"
    return f"{known}: this model {verb} popular items as click probability."


def findings(data: ReportData) -> list[Finding]:
    """Give the summary, most important first; a finding whose numbers are missing is left out."""
    made = (
        _recall(data),
        _predecessor(data),
        _beyond_the_head(data),
        _coverage(data),
        _head_exposure(data),
        _missing_popularity(data),
        _other_weight(data),
    )
    return [finding for finding in made if finding is not None]


def summary_sentences(data: ReportData) -> list[str]:
    """Give the sentences of the summary alone, warnings last, for places that hold no page."""
    return [finding.sentence for finding in findings(data)] + warnings(data)


def warnings(data: ReportData) -> list[str]:
    """Say what a reader of γ must beware of: a trained weight γ₀ that is not known, and what that does to δ."""
    if data.trained_weight_is_known:
        return []
    base, served = weight_text(data.trained_popularity_weight), data.served_popularity_weight
    found = [
        f"γ₀ of this recipe is unknown (it has margin negatives): γ is relative to {base}, the weight that it would "
        "train to without them; the measured δ tells what popularity is missing."
    ]
    rows = data.served(data.popularity_diagnostics).drop_nulls(["delta", "delta_low"])
    if served < 1 and not rows.is_empty():
        delta, low, high = rows.select("delta", "delta_low", "delta_high").row(0)
        if low > 0:
            known = " ".join(["δ =", signed(delta), bracketed(low, high)]).strip()
            sentence = (
                f"At the served γ = {weight_text(served)}, {known}: lowering γ takes away popularity that the model "
                "already lacks."
            )
            if low > 1 - served:
                sentence += (
                    f" More is missing than the {decimal(1 - served, 2)} that this γ leaves out: popularity is "
                    "discounted twice."
                )
            found.append(sentence)
    return found


def trained_weight(data: ReportData) -> str:
    """Give γ₀, the popularity weight that training left in the score, or that it is not known."""
    weight = weight_text(data.trained_popularity_weight)
    return f"γ₀ = {weight}" if data.trained_weight_is_known else f"γ₀ unknown, taken as {weight}"


def gini_sentence(data: ReportData) -> str | None:
    """Say the Gini coefficients of exposure; None where the model's was not measured."""
    gini = {model: data.metric(model, "gini")[0] for model in data.models}
    ours = gini.pop("two_tower", None)
    if ours is None:
        return None
    others = [f"{named(model)} {decimal(value, 2)}" for model, value in gini.items() if value is not None]
    beside = f" ({', '.join(others)})" if others else ""
    return (
        f"The Gini coefficient of exposure is {decimal(ours, 2)}{beside}; 0 shows every item equally often, "
        "1 shows one item only."
    )


def predecessor_sentence(data: ReportData) -> str:
    """Say how the model does beside the version served before it, or why that cannot be said."""
    if not data.predecessor_version:
        return "No other version was served before this one, so there is nothing to compare it with."
    if data.predecessor_note:
        version = data.predecessor_version
        return f"There is no comparison with {version}, the version served before: {data.predecessor_note}"
    found = data.difference(PREDECESSOR, "recall")
    if found["difference"] is None:
        return f"The recall of {data.predecessor_version}, the version served before, was not measured."
    return (
        f"Recall@{data.k} beside {data.predecessor_version}, the version served before, on the same held-out clicks: "
        f"{_more_or_less(found['difference'], found['low'], found['high'])}."
    )


def not_for(data: ReportData) -> list[str]:
    """Say what the model must not be used for, as far as the measurements tell, and what offline numbers leave open."""
    found = []
    rows = data.served(data.popularity_diagnostics).drop_nulls(["delta", "delta_low", "delta_high"])
    if not rows.is_empty():
        delta, low, high = rows.select("delta", "delta_low", "delta_high").row(0)
        if not low <= 0 <= high:
            found.append(
                f"Forecasting clicks: its scores are no click probabilities (δ{_NO_BREAK}={_NO_BREAK}{signed(delta)}, "
                "not 0)."
            )
    cold = data.exposure.filter(bucket="cold")["catalogue_share"].drop_nulls()
    if len(cold) and cold[0] > 0:
        recall = data.metric("two_tower", "recall", bucket="cold")[0]
        told = f", and finds {percent(recall)} of the clicks on them" if recall is not None else ""
        found.append(
            f"Launching items: {percent(cold[0])} of the catalogue has no training click; the model knows such items "
            f"by category and features alone{told}."
        )
    return [
        *found,
        "People without an earlier click: it knows of them only what the table of users says.",
        "Predicting what a change of the lists will do: these are logged clicks, and what was never shown could not be "
        "clicked. A test on live traffic decides.",
    ]


def slope_sentences(data: ReportData) -> list[str]:
    """Say what the slope on log q and the correlation with PMI tell of the model as served."""
    rows = data.served(data.popularity_diagnostics)
    if rows.is_empty():
        return []
    slope, correlation = rows.select("slope", "pmi_correlation").row(0)
    at, said = f"At γ = {weight_text(data.served_popularity_weight)}", []
    if slope is not None:
        said.append(
            f"{at}, where one item is clicked ten times as often as another, its score differs by "
            f"{signed(slope * math.log(10))} on average (slope {signed(slope)} on log q; log q itself has 1, a "
            "score that ignores popularity 0)."
        )
    if correlation is not None:
        said.append(
            f"{at}, mean scores correlate {signed(correlation)} with the PMI counted between user segments and items; "
            "near 1 the score is affinity, near 0 popularity drowns it. The correlation falls as γ rises, by design."
        )
    return said


def _recall(data: ReportData) -> Finding | None:
    value, low, high = data.metric("two_tower", "recall")
    if value is None:
        return None
    sentence = (
        f"Of the items a person clicked in the hold-out, the model finds {percent(value)} "
        f"in its first {data.k} suggestions{_beside(data, 'finds', 'recall', 'all')}."
    )
    return Finding(percent(value), sentence + _compared(data, low, high))


def _predecessor(data: ReportData) -> Finding | None:
    found = data.difference(PREDECESSOR, "recall")
    if found["difference"] is None:
        return None
    sentence = (
        f"Recall beside the version served before it, on the same held-out clicks: "
        f"{_more_or_less(found['difference'], found['low'], found['high'])}"
    )
    beyond = data.difference(PREDECESSOR, "recall", "beyond_head")
    if beyond["difference"] is not None:
        sentence += "; beyond the head, " + _more_or_less(beyond["difference"], beyond["low"], beyond["high"])
    return Finding(f"{points(found['difference'])}{_NO_BREAK}pt", sentence + ".")


def _more_or_less(difference: float, low: float | None, high: float | None) -> str:
    """Put a difference of recalls into words, as clear as its interval is."""
    if low is not None and high is not None and low <= 0 <= high:
        return f"no clear difference: {points(difference)} points {bracketed(100 * low, 100 * high, 1, sign=True)}"
    ends = sorted((abs(low), abs(high))) if low is not None and high is not None else (None, None)
    places = 2 if ends[0] is not None and round(100 * ends[0], 1) == 0 else 1
    bounds = "" if ends[0] is None or ends[1] is None else bracketed(100 * ends[0], 100 * ends[1], places)
    size = f"{decimal(abs(100 * difference), places)} points {'more' if difference > 0 else 'less'}"
    return f"{size} {bounds}".strip()


def _compared(data: ReportData, low: float | None, high: float | None) -> str:
    """Say how far the model is from the best baseline: paired by user where that was measured, else by intervals."""
    rivals = [(data.metric(model, "recall"), model) for model in data.models if model in _BASELINES]
    measured = [(value, bounds, model) for (value, *bounds), model in rivals if value is not None]
    if not measured:
        return ""
    _, (rival_low, rival_high), model = max(measured, key=lambda rival: rival[0])
    paired = data.difference(model, "recall")
    if paired["difference"] is not None:
        more = _more_or_less(paired["difference"], paired["low"], paired["high"])
        return f" Beside {named(model)}, user by user: {more}."
    if low is None or high is None or rival_low is None or rival_high is None:
        return ""
    level = percent(data.interval_level)
    if low > rival_high:
        return f" Its {level} interval lies clear above that of {named(model)}."
    if high < rival_low:
        return f" Its {level} interval lies clear below that of {named(model)}."
    return f" Its {level} interval overlaps that of {named(model)}: read the difference with care."


def _beyond_the_head(data: ReportData) -> Finding | None:
    value = data.metric("two_tower", "recall", bucket="beyond_head")[0]
    if value is None:
        return None
    sentence = (
        f"Of the clicked items beyond the head, which are the less popular ones, it finds {percent(value)}"
        f"{_beside(data, 'finds', 'recall', 'beyond_head')}."
    )
    return Finding(percent(value), sentence)


def _coverage(data: ReportData) -> Finding | None:
    value = data.metric("two_tower", "coverage")[0]
    if value is None:
        return None
    beside = _beside(data, "shows", "coverage", "all")
    return Finding(
        percent(value), f"Over all users together, its lists show {percent(value)} of the catalogue{beside}."
    )


def _head_exposure(data: ReportData) -> Finding | None:
    rows = data.served(data.exposure).filter((pl.col("model") == "two_tower") & (pl.col("bucket") == "head"))
    if rows.is_empty() or rows["exposure_share"][0] is None:
        return None
    shown, clicked, catalogue = rows.select("exposure_share", "click_share", "catalogue_share").row(0)
    sentence = f"Head items take {percent(shown)} of the places in its lists"
    if clicked is not None:
        sentence += f" and receive {percent(clicked)} of the clicks"
    if catalogue is not None:
        sentence += f"; they are {percent(catalogue)} of the catalogue"
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
        sentence += f" Popular items stand {'lower' if delta > 0 else 'higher'} in its lists than their clicks warrant."
    return Finding(f"δ{_NO_BREAK}{signed(delta)}", f"At γ = {weight_text(data.served_popularity_weight)}, {sentence}")


def _other_weight(data: ReportData) -> Finding | None:
    """Say which γ finds most beyond the head among those that do not recall clearly less than the served one."""
    served = data.served_popularity_weight
    ours = data.metrics.filter((pl.col("model") == "two_tower") & (pl.col("k") == data.k)).drop_nulls("value")
    coverage = dict(ours.filter(metric="coverage").select("popularity_weight", "value").iter_rows())
    gains = {}
    for weight in ours["popularity_weight"].drop_nulls().unique().sort():
        recall, beyond = (data.difference(at_weight(weight), "recall", bucket) for bucket in ("all", "beyond_head"))
        if recall["low"] is not None and beyond["difference"] is not None and {weight, served} <= coverage.keys():
            gains[weight] = recall, beyond
    if not gains:
        return None
    better = {weight: pair for weight, pair in gains.items() if pair[0]["low"] <= 0 and pair[1]["high"] < 0}
    if not better:
        return Finding(
            f"γ{_NO_BREAK}{weight_text(served)}",
            "No other measured γ finds clearly more beyond the head without recalling clearly less overall.",
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
    return Finding(f"γ{_NO_BREAK}{weight_text(best)}", sentence)


def _beside(data: ReportData, verb: str, metric: str, bucket: str) -> str:
    """Continue a sentence with the baselines' values."""
    values = [(model, data.metric(model, metric, bucket=bucket)[0]) for model in data.models if model in _BASELINES]
    known = [(named(model), percent(value)) for model, value in values if value is not None]
    if not known:
        return ""
    (first, share), *rest = known
    return "; " + ", ".join([f"{first} {verb} {share}", *(" ".join(pair) for pair in rest)])


def named(model: str) -> str:
    """Give the name of a model within a sentence."""
    name = model_name(model)
    return name if name.isupper() else name.lower()

"""Numbers as text, and the sentences of the summary.

Whatever puts a measured number into words belongs here. Tables are in `tables`, the page in `report`.
"""

import math
from typing import NamedTuple

import polars as pl

from twotower_assets.reporting.report_data import ReportData
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


def percent(share: float | None) -> str:
    """Write a share in per cent: whole numbers, one decimal below 10 %, `–` where there is none."""
    if share is None or not math.isfinite(share):
        return ABSENT
    number = 100 * share
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
        _beyond_the_head(data),
        _coverage(data),
        _head_exposure(data),
        _missing_popularity(data),
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
    others = [f"{_named(model)} {decimal(value, 2)}" for model, value in gini.items() if value is not None]
    beside = f" ({', '.join(others)})" if others else ""
    return (
        f"The Gini coefficient of exposure is {decimal(ours, 2)}{beside}; 0 shows every item equally often, "
        "1 shows one item only."
    )


def _recall(data: ReportData) -> Finding | None:
    value, low, high = data.metric("two_tower", "recall")
    if value is None:
        return None
    sentence = (
        f"Of the items a person clicked in the hold-out, the model finds {percent(value)} "
        f"in its first {data.k} suggestions{_beside(data, 'finds', 'recall', 'all')}."
    )
    return Finding(percent(value), sentence + _compared(data, low, high))


def _compared(data: ReportData, low: float | None, high: float | None) -> str:
    """Say whether the model's interval is clear of the best baseline's."""
    rivals = [(data.metric(model, "recall"), model) for model in data.models if model in _BASELINES]
    measured = [(value, bounds, model) for (value, *bounds), model in rivals if value is not None]
    if not measured or low is None or high is None:
        return ""
    _, (rival_low, rival_high), model = max(measured, key=lambda rival: rival[0])
    if rival_low is None or rival_high is None:
        return ""
    level = percent(data.interval_level)
    if low > rival_high:
        return f" Its {level} interval lies clear above that of {_named(model)}."
    if high < rival_low:
        return f" Its {level} interval lies clear below that of {_named(model)}."
    return f" Its {level} interval overlaps that of {_named(model)}: read the difference with care."


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
    return Finding(f"δ{_NO_BREAK}{signed(delta)}", f"At γ = {weight_text(data.served_popularity_weight)}, {sentence}")


def _beside(data: ReportData, verb: str, metric: str, bucket: str) -> str:
    """Continue a sentence with the baselines' values."""
    values = [(model, data.metric(model, metric, bucket=bucket)[0]) for model in data.models if model in _BASELINES]
    known = [(_named(model), percent(value)) for model, value in values if value is not None]
    if not known:
        return ""
    (first, share), *rest = known
    return "; " + ", ".join([f"{first} {verb} {share}", *(" ".join(pair) for pair in rest)])


def _named(model: str) -> str:
    name = model_name(model)
    return name if name.isupper() else name.lower()

"""Numbers as text: decimals, signs, per cent, intervals.

How one number or interval is printed belongs here. Sentences are in `sentences` and `recipe_summary`, tables in
`report_tables`.
"""

import math

ABSENT = "–"
"""Printed in place of a number that was not measured."""
NO_BREAK = "\N{NO-BREAK SPACE}"


def decimal(value: float | None, decimals: int = 3) -> str:
    """Format a number with a fixed count of decimals; `–` for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return ABSENT
    return f"{value:,.{decimals}f}".replace("-", "−")


def signed(value: float | None, decimals: int = 2) -> str:
    """Format a number with its sign, without one where it rounds to zero; `–` for None, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return ABSENT
    rounded = round(value, decimals)
    return decimal(abs(rounded), decimals) if rounded == 0 else f"{value:+,.{decimals}f}".replace("-", "−")


def percent(share: float | None, decimals: int | None = None) -> str:
    """Format a share in per cent; `–` for None, NaN and infinity.

    Args:
        share: usually in [0, 1].
        decimals: None prints whole numbers, and one decimal below 10 %.
    """
    if share is None or not math.isfinite(share):
        return ABSENT
    number = 100 * share
    if decimals is None:
        decimals = 0 if number == 0 or abs(number) >= 9.95 else 1
    return f"{number:.{decimals}f}{NO_BREAK}%".replace("-", "−")


def whole(value: float | None) -> str:
    """Format a count with thousands separators; `–` for None, NaN and infinity."""
    return decimal(value, 0)


def interval(low: float | None, high: float | None, decimals: int = 3, *, sign: bool = False) -> str:
    """Format an interval as `low–high`, or as `low to high` where there are signs; empty where a bound is missing."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    if sign or low < 0:
        write = signed if sign else decimal
        return f"{write(low, decimals)} to {write(high, decimals)}"
    return f"{decimal(low, decimals)}–{decimal(high, decimals)}"


def bracketed(low: float | None, high: float | None, decimals: int = 2, *, sign: bool = False) -> str:
    """Format an interval as `[low, high]`; empty where a bound is missing. `sign` prints the sign of both bounds."""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return ""
    write = signed if sign else decimal
    return f"[{write(low, decimals)}, {write(high, decimals)}]"


def points(share: float | None, decimals: int = 1) -> str:
    """Format a difference of shares in percentage points, with its sign; `–` for None."""
    return ABSENT if share is None else signed(100 * share, decimals)

"""Parts that charts are put together from: single panels, rows as Altair's data, scales.

Pieces without a place of their own on the page belong here. Whole charts are in `charts`, looks in `theme`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from twotower_assets.reporting import theme
from twotower_assets.reporting.theme import INK, WIDTH

_BLUE, _ORANGE, _TEAL = theme.SERIES_COLOURS.values()


def curve_panel(rows: pl.DataFrame, title: str, colour: str) -> Any:
    """Draw one quantity over epochs, its last value written out.

    Args:
        rows: columns epoch, value, in order.
    """
    import altair as alt

    x = alt.X(
        "epoch:Q",
        title="Epoch",
        axis=alt.Axis(tickMinStep=1, tickCount=6, format="d"),
        scale=alt.Scale(nice=False),
    )
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False), axis=alt.Axis(tickCount=4))
    base = alt.Chart(values(thin(rows, 100), "epoch", "value")).encode(x=x, y=y)
    last = alt.Chart(values(rows.tail(1), "epoch", "value")).encode(x=x, y=y)
    chart = base.mark_line(color=colour, strokeWidth=2.2) + last.mark_point(
        filled=True, size=50, color=colour, opacity=1
    )
    chart += last.mark_text(align="right", dy=-10).encode(text=alt.Text("value:Q", format=".3~f"))
    return chart.properties(width=WIDTH, height=110, title=title)


def tradeoff_panel(rows: pl.DataFrame, title: str, y_title: str, *, first: bool, served: float | None = None) -> Any:
    """Draw recall against another quantity, the model along γ as a line with γ at its points, baselines as points.

    Args:
        rows: columns model, series, weight (null for baselines), across (the quantity), value (recall).
        title: of the quantity.
        y_title: of recall; the panel has a labelled y axis only where it is the `first` of its line.
        served: the weight whose point has a ring around it.
    """
    import altair as alt

    names, colours = theme.series_scale(rows)
    colour = alt.Color("series:N", sort=names, scale=alt.Scale(domain=names, range=colours))
    shape = alt.Shape("series:N", sort=names, scale=alt.Scale(domain=names, range=cycle(theme.SHAPES, names)))
    x = alt.X("across:Q", title=title, scale=alt.Scale(zero=False, padding=14), axis=alt.Axis(tickCount=4, format="~g"))
    axis = alt.Axis(tickCount=4, format="~g") if first else alt.Axis(tickCount=4, labels=False, minExtent=0)
    y = alt.Y("value:Q", title=y_title if first else None, scale=alt.Scale(zero=False, padding=14), axis=axis)
    dial = rows.drop_nulls("weight").sort("weight")
    run, rise = (dial[column][-1] - dial[column][0] if len(dial) else 0.0 for column in ("across", "value"))
    rising = run * rise > 0  # then γ stands on the left of its dot, off the line
    dial = dial.with_columns(text=pl.Series([theme.weight_text(weight) for weight in dial["weight"]], dtype=pl.String))
    data = alt.Chart(values(dial, "series", "weight", "across", "value", "text")).encode(x=x, y=y)
    here = dial.clear() if served is None else dial.filter(weight=served)
    ring = alt.Chart(values(here, "across", "value")).encode(x=x, y=y)
    fixed = alt.Chart(values(rows.filter(pl.col("weight").is_null()), "series", "across", "value"))
    chart = (
        data.mark_line(strokeWidth=2).encode(color=colour, order="weight:Q")
        + data.mark_point(filled=True, size=44, opacity=1).encode(color=colour, shape=shape)
        + ring.mark_point(filled=False, size=150, strokeWidth=1.6, color=INK, opacity=1)
        + data.mark_text(align="right" if rising else "left", dx=-5 if rising else 5, dy=-7).encode(text="text:N")
        + fixed.mark_point(filled=True, size=64, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    )
    return chart.properties(width=135, height=130)


def dumbbells(base: Any, y: Any) -> Any:
    """Join click share and exposure share of each category by a line."""
    import altair as alt

    legend = alt.Scale(domain=["clicks", "lists"], range=[_ORANGE, _BLUE])
    axis = alt.Axis(format=".0%", tickCount=3)
    clicks = base.transform_calculate(mark="'clicks'").mark_point(filled=True, size=56, opacity=1)
    lists = base.transform_calculate(mark="'lists'").mark_point(filled=True, size=60, opacity=1)
    colour = alt.Color("mark:N", scale=legend)
    shape = alt.Shape("mark:N", scale=alt.Scale(domain=["clicks", "lists"], range=["square", "circle"]))
    x = alt.X("exposure_share:Q", title="Share of clicks and of places", axis=axis, scale=alt.Scale(zero=True))
    return (
        base.mark_rule(color=INK).encode(x=x, x2="click_share:Q", y=y)
        + clicks.encode(x="click_share:Q", y=y, color=colour, shape=shape)
        + lists.encode(x=x, y=y, color=colour, shape=shape)
    )


def unbeaten(points: pl.DataFrame) -> pl.DataFrame:
    """Keep the points such that no other has as much or more of both and is not the same.

    Args:
        points: columns across, value; others are dropped.

    Returns:
        The same two columns, least `across` first.
    """
    ranked = points.select("across", "value").unique().sort("across", "value", descending=True)
    better = pl.col("value") > pl.col("value").cum_max().shift(1)
    return ranked.filter(better.fill_null(True)).reverse()


def stacked(bars: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """Turn shares into where each block starts, ends and has its middle, and its text where there is room."""
    place = {bucket: number for number, bucket in enumerate(order)}
    ordered = bars.sort(
        pl.col("bucket").replace_strict(place, default=len(place), return_dtype=pl.Int64), maintain_order=True
    )
    return ordered.with_columns(end=pl.col("share").cum_sum().over("series").clip(0, 1)).with_columns(
        start=(pl.col("end") - pl.col("share")).clip(0, 1),
        middle=(pl.col("end") - pl.col("share") / 2).clip(0, 1),
        text=pl.when(pl.col("share") >= 0.08)
        .then(pl.format("{}%", (100 * pl.col("share")).round().cast(pl.Int64)))
        .otherwise(pl.lit("")),
    )


def named_buckets(frame: pl.DataFrame) -> pl.DataFrame:
    """Replace a bucket's key by the name that people read."""
    return frame.with_columns(pl.col("bucket").map_elements(theme.bucket_name, return_dtype=pl.String))


def values(frame: pl.DataFrame, *columns: str) -> Any:
    """Give rows as Altair's inline data, with text that any XML document may hold."""
    rows = [
        {name: theme.printable(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in frame.select(columns).iter_rows(named=True)
    ]
    return inline(rows)


def inline(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Give rows as Altair's inline data."""
    import altair as alt

    data: Any = alt.Data
    return data(values=list(rows))


def thin(frame: pl.DataFrame, most: int) -> pl.DataFrame:
    """Keep at most `most` rows, evenly spaced, the first and the last among them."""
    if len(frame) <= most:
        return frame
    return frame[sorted({round(place * (len(frame) - 1) / (most - 1)) for place in range(most)})]


def vertically(panels: Sequence[Any]) -> Any:
    """Put panels under one another."""
    import altair as alt

    return alt.vconcat(*panels, spacing=18)


def side_by_side(panels: Sequence[Any]) -> Any:
    """Put panels in lines of two, all with one y scale."""
    import altair as alt

    return alt.concat(*panels, columns=2, spacing=16).resolve_scale(y="shared")


def stroke_legend() -> Any:
    """Give a legend whose symbols are strokes long enough to show their dashes."""
    import altair as alt

    return alt.Legend(symbolType="stroke", symbolSize=420)


def unit_scale() -> Any:
    """Give the scale of a share, 0 to 1."""
    import altair as alt

    return alt.Scale(domain=[0, 1])


def cycle(marks: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Give one mark per name, starting over when they run out."""
    return [marks[place % len(marks)] for place in range(len(names))]


def not_blank(name: str, place: int) -> str:
    """Give a name that is not blank, so that every category has a row."""
    return theme.printable(name).strip() or f"(blank {place + 1})"


def listed(names: Iterable[str]) -> str:
    """Give names as a phrase."""
    return ", ".join(names)


def number(value: Any) -> float:
    """Give what an aggregate of Polars holds as a float."""
    return float(value)

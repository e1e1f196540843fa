"""Building blocks of charts: single panels, rows as Altair's data, scales, legends.

A piece that several charts share, or that is not a chart by itself, belongs here. Whole charts are in `charts`,
colours and fonts in `theme`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

from twotower_assets.reporting import theme
from twotower_assets.reporting.theme import INK, WIDTH

_BLUE, _ORANGE, _TEAL = theme.SERIES_COLOURS.values()


def curve_panel(rows: pl.DataFrame, title: str, colour: str) -> Any:
    """Draw one quantity over epochs, with its last value as text.

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
    base = alt.Chart(values(thinned(rows, 100), "epoch", "value")).encode(x=x, y=y)
    last = alt.Chart(values(rows.tail(1), "epoch", "value")).encode(x=x, y=y)
    chart = base.mark_line(color=colour, strokeWidth=2.2) + last.mark_point(
        filled=True, size=50, color=colour, opacity=1
    )
    chart += last.mark_text(align="right", dy=-10).encode(text=alt.Text("value:Q", format=".3~f"))
    return chart.properties(width=WIDTH, height=110, title=title)


def tradeoff_panel(rows: pl.DataFrame, title: str, y_title: str, *, y_labels: bool, served: float | None = None) -> Any:
    """Draw recall against another quantity: the model as a line over γ, baselines as points.

    Args:
        rows: columns model, series, weight (γ, the label of a point; null for baselines), x_value (the quantity) and
            value (recall).
        title: title of the x axis, the quantity.
        y_title: title of the y axis, recall.
        y_labels: whether the y axis has a title and labels; in a row of panels only the first needs them.
        served: the weight whose point has a ring around it.
    """
    import altair as alt

    names, colours = theme.series_scale(rows)
    colour = alt.Color("series:N", sort=names, scale=alt.Scale(domain=names, range=colours))
    shape = alt.Shape("series:N", sort=names, scale=alt.Scale(domain=names, range=cycle(theme.SHAPES, names)))
    x = alt.X(
        "x_value:Q", title=title, scale=alt.Scale(zero=False, padding=14), axis=alt.Axis(tickCount=4, format="~g")
    )
    axis = alt.Axis(tickCount=4, format="~g") if y_labels else alt.Axis(tickCount=4, labels=False, minExtent=0)
    y = alt.Y("value:Q", title=y_title if y_labels else None, scale=alt.Scale(zero=False, padding=14), axis=axis)
    curve = rows.drop_nulls("weight").sort("weight")
    run, rise = (curve[column][-1] - curve[column][0] if len(curve) else 0.0 for column in ("x_value", "value"))
    rising = run * rise > 0  # labels then go to the left of their points, off the line
    curve = curve.with_columns(
        text=pl.Series([theme.weight_text(weight) for weight in curve["weight"]], dtype=pl.String)
    )
    data = alt.Chart(values(curve, "series", "weight", "x_value", "value", "text")).encode(x=x, y=y)
    served_point = curve.clear() if served is None else curve.filter(weight=served)
    ring = alt.Chart(values(served_point, "x_value", "value")).encode(x=x, y=y)
    baselines = alt.Chart(values(rows.filter(pl.col("weight").is_null()), "series", "x_value", "value"))
    chart = (
        data.mark_line(strokeWidth=2).encode(color=colour, order="weight:Q")
        + data.mark_point(filled=True, size=44, opacity=1).encode(color=colour, shape=shape)
        + ring.mark_point(filled=False, size=150, strokeWidth=1.6, color=INK, opacity=1)
        + data.mark_text(align="right" if rising else "left", dx=-5 if rising else 5, dy=-7).encode(text="text:N")
        + baselines.mark_point(filled=True, size=64, opacity=1).encode(x=x, y=y, color=colour, shape=shape)
    )
    return chart.properties(width=135, height=130)


def dumbbells(base: Any, y: Any) -> Any:
    """Draw click share and exposure share of each category as two points joined by a line."""
    import altair as alt

    legend = alt.Scale(domain=["clicks", "lists"], range=[_ORANGE, _BLUE])
    axis = alt.Axis(format=".0%", tickCount=3)
    clicks = base.transform_calculate(mark="'clicks'").mark_point(filled=True, size=56, opacity=1)
    lists = base.transform_calculate(mark="'lists'").mark_point(filled=True, size=60, opacity=1)
    colour = alt.Color("mark:N", scale=legend)
    shape = alt.Shape("mark:N", scale=alt.Scale(domain=["clicks", "lists"], range=["square", "circle"]))
    x = alt.X("exposure_share:Q", title="Click and exposure share", axis=axis, scale=alt.Scale(zero=True))
    return (
        base.mark_rule(color=INK).encode(x=x, x2="click_share:Q", y=y)
        + clicks.encode(x="click_share:Q", y=y, color=colour, shape=shape)
        + lists.encode(x=x, y=y, color=colour, shape=shape)
    )


def pareto_front(points: pl.DataFrame) -> pl.DataFrame:
    """Keep the points that no other point dominates: none is at least as large in both columns, unless it is equal.

    Args:
        points: columns x_value, value; others are dropped.

    Returns:
        The same two columns, smallest `x_value` first.
    """
    ranked = points.select("x_value", "value").unique().sort("x_value", "value", descending=True)
    better = pl.col("value") > pl.col("value").cum_max().shift(1)
    return ranked.filter(better.fill_null(True)).reverse()


def stacked(bars: pl.DataFrame, order: Sequence[str]) -> pl.DataFrame:
    """Add the start, end and middle of each block of a stacked bar, and its text where the block is wide enough."""
    positions = {bucket: position for position, bucket in enumerate(order)}
    ordered = bars.sort(
        pl.col("bucket").replace_strict(positions, default=len(positions), return_dtype=pl.Int64), maintain_order=True
    )
    return ordered.with_columns(end=pl.col("share").cum_sum().over("series").clip(0, 1)).with_columns(
        start=(pl.col("end") - pl.col("share")).clip(0, 1),
        middle=(pl.col("end") - pl.col("share") / 2).clip(0, 1),
        text=pl.when(pl.col("share") >= 0.08)
        .then(pl.format("{}%", (100 * pl.col("share")).round().cast(pl.Int64)))
        .otherwise(pl.lit("")),
    )


def named_buckets(frame: pl.DataFrame) -> pl.DataFrame:
    """Replace the keys in `bucket` by display names."""
    return frame.with_columns(pl.col("bucket").map_elements(theme.bucket_name, return_dtype=pl.String))


def values(frame: pl.DataFrame, *columns: str) -> Any:
    """Return columns of a frame as Altair's inline data, without characters that XML does not allow."""
    rows = [
        {name: theme.printable(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in frame.select(columns).iter_rows(named=True)
    ]
    return inline(rows)


def inline(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Return rows as Altair's inline data."""
    import altair as alt

    data: Any = alt.Data
    return data(values=list(rows))


def thinned(frame: pl.DataFrame, max_rows: int) -> pl.DataFrame:
    """Keep at most `max_rows` rows, evenly spaced, the first and the last among them."""
    if len(frame) <= max_rows:
        return frame
    return frame[sorted({round(step * (len(frame) - 1) / (max_rows - 1)) for step in range(max_rows)})]


def stacked_panels(panels: Sequence[Any]) -> Any:
    """Put panels below one another."""
    import altair as alt

    return alt.vconcat(*panels, spacing=18)


def side_by_side(panels: Sequence[Any]) -> Any:
    """Put panels in rows of two, with a shared y scale."""
    import altair as alt

    return alt.concat(*panels, columns=2, spacing=16).resolve_scale(y="shared")


def stroke_legend() -> Any:
    """Return a legend whose symbols are strokes long enough to show their dashes."""
    import altair as alt

    return alt.Legend(symbolType="stroke", symbolSize=420)


def unit_scale() -> Any:
    """Return the scale of a share, 0 to 1."""
    import altair as alt

    return alt.Scale(domain=[0, 1])


def cycle(marks: Sequence[Any], names: Sequence[str]) -> list[Any]:
    """Return one mark per name, starting over when the marks run out."""
    return [marks[index % len(marks)] for index in range(len(names))]


def not_blank(name: str, index: int) -> str:
    """Return the name, or a numbered placeholder for a blank one, so that every category has a row."""
    return theme.printable(name).strip() or f"(blank {index + 1})"


def comma_separated(names: Iterable[str]) -> str:
    """Join names with commas."""
    return ", ".join(names)


def as_float(value: Any) -> float:
    """Convert an aggregate of a Polars series, which has the type of any Python value, to a float."""
    return float(value)

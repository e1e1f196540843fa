"""Charts that compare training recipes: tables of the comparison in, an SVG out.

Charts of many recipes belong here. Charts of one model are in `charts`, sentences and tables of the comparison in
`recipe_summary`. Nothing here computes a metric, apart from means over seeds.
"""

from typing import Any

import polars as pl

from twotower_assets.core.metric_rows import K
from twotower_assets.core.popularity import KEY_WEIGHTS
from twotower_assets.reporting import frames, panels, theme
from twotower_assets.reporting.theme import INK

_BLUE, _ORANGE, _TEAL = theme.SERIES_COLOURS.values()
_GAIN_WIDTH, _ROW = 180, 24
_DELTA_WIDTH = 400
_TRADEOFF_SIZE = {"width": 128, "height": 100}
_OUTLIER_SHARE = 0.6
"""Axes ignore a recipe whose best recall is below this share of the median recipe's best recall."""

_DELTA_DIRECTIONS = "← scores too high for popular items · scores too low for popular items →"
_NAME_LIMIT = 190


def gains_over_baseline(comparison: pl.DataFrame) -> str:
    """Draw every recipe's gain over the baseline in per cent with its interval: recall@20 overall and beyond the head.

    Args:
        comparison: see `frames.RECIPE_COMPARISON`. Rows are sorted by the gain in recall@20. A gain far
            outside the range of the others is a triangle at the edge of the axis; its number is printed beside it.
    """
    import altair as alt

    rows = frames.RECIPE_COMPARISON.conform(comparison).filter(
        (pl.col("metric") == "recall") & (pl.col("k") == K) & pl.col("bucket").is_in(("all", "beyond_head"))
    )
    baselines = rows["baseline"].drop_nulls().unique().sort().to_list()
    gains = rows.filter(pl.col("gain_percent").is_not_null())
    if gains.is_empty():
        return theme.nothing_to_show("No recipe was compared with a baseline.")
    baseline_rows = rows.filter(pl.col("recipe") == pl.col("baseline")).with_columns(gain_percent=pl.lit(0.0))
    gains = pl.concat([gains, baseline_rows.filter(pl.col("value").is_not_null())])
    gains = gains.with_columns(
        name=pl.when(pl.col("recipe") == pl.col("baseline"))
        .then(pl.format("{} (baseline)", "recipe"))
        .otherwise("recipe")
    )
    overall = gains.filter(pl.col("bucket") == "all").sort(["gain_percent", "name"], descending=[True, False])
    names = list(dict.fromkeys([*overall["name"], *gains["name"].sort()]))
    panel_rows = [
        (gains.filter(pl.col("bucket") == bucket), title)
        for bucket, title in (("all", f"Recall@{K}"), ("beyond_head", "Beyond the head"))
        if bucket in set(gains["bucket"])
    ]
    drawn = [_gain_panel(rows, title, names, show_names=index == 0) for index, (rows, title) in enumerate(panel_rows)]
    title = _titled(
        f"Gain over {panels.comma_separated(theme.printable(name) for name in baselines)}, in % of its value",
        "with 95 % intervals over users, paired by user; a triangle marks a gain off the axis",
    )
    chart = alt.hconcat(*drawn, spacing=12, title=title)
    return theme.to_svg(
        chart, f"Gains over {panels.comma_separated(baselines)} in recall at {K}: {_gain_list(overall)}."
    )


def missing_popularity_by_recipe(diagnostics: pl.DataFrame) -> str:
    """Draw the missing popularity δ of every recipe with its interval, at γ = 0, ½ and 1.

    Args:
        diagnostics: see `frames.RECIPE_DIAGNOSTICS`. δ and the ends of its interval are means over seeds. Rows are
            sorted by δ at the largest γ present.
    """
    import altair as alt

    rows = (
        frames.RECIPE_DIAGNOSTICS.conform(diagnostics)
        .filter(pl.col("popularity_weight").is_in(KEY_WEIGHTS))
        .group_by("recipe", "popularity_weight")
        .agg(pl.col("delta", "delta_low", "delta_high").mean())
        .with_columns(name=pl.col("recipe"))
    )
    fitted = rows.drop_nulls("delta").sort("popularity_weight", "delta", "name", descending=[True, True, False])
    if fitted.is_empty():
        return theme.nothing_to_show("The missing popularity was not fitted.")
    unknown = rows.filter(~pl.col("name").is_in(fitted["name"].to_list())).select("name").unique().sort("name")
    names = [*fitted["name"].unique(maintain_order=True), *unknown["name"]]
    weights = [weight for weight in KEY_WEIGHTS if weight in set(fitted["popularity_weight"])]
    series = {weight: f"γ = {theme.weight_text(weight)}" for weight in weights}
    fitted = fitted.with_columns(weight=pl.col("popularity_weight").replace_strict(series, return_dtype=pl.String))
    domain = list(series.values())
    colours = {0.0: _TEAL, 0.5: _ORANGE, 1.0: _BLUE}
    shapes = {0.0: "square", 0.5: "diamond", 1.0: "circle"}
    colour = alt.Color("weight:N", sort=domain, scale=alt.Scale(domain=domain, range=[colours[w] for w in weights]))
    shape = alt.Shape("weight:N", sort=domain, scale=alt.Scale(domain=domain, range=[shapes[w] for w in weights]))
    x = alt.X("delta:Q", title=["Missing popularity δ", _DELTA_DIRECTIONS], axis=alt.Axis(tickCount=7))
    y = _name_axis(names, show_names=True)
    base = alt.Chart(panels.values(fitted, "name", "weight", "delta", "delta_low", "delta_high")).encode(y=y)
    chart = (
        _zero()
        + base.transform_filter("datum.delta_low != null && datum.delta_high != null")
        .mark_rule(strokeWidth=2.2)
        .encode(x="delta_low:Q", x2="delta_high:Q", color=colour)
        + base.mark_point(filled=True, size=60, opacity=1).encode(x=x, color=colour, shape=shape)
        + alt.Chart(panels.values(unknown, "name"))
        .mark_text(align="left", dx=6, text="not determined by the clicks")
        .encode(y=y, x=alt.datum(0))
    ).properties(width=_DELTA_WIDTH, height=_ROW * len(names))
    last = fitted.filter(pl.col("popularity_weight") == weights[-1])
    delta_list = panels.comma_separated(
        f"{name} {delta:+.2f}" for name, delta in last.select("name", "delta").iter_rows()
    )
    return theme.to_svg(
        chart, f"Missing popularity delta by recipe at {panels.comma_separated(domain)}; at {domain[-1]}: {delta_list}."
    )


def recipe_tradeoff(metrics: pl.DataFrame) -> str:
    """Draw recall@20 against recall@20 beyond the head over γ, a panel per recipe; the large dot is γ = 1.

    The grey line, the same in all panels, is the Pareto front over all recipes and γ. A recipe far below the others
    lies off the axes, and its panel says so. Panels are sorted by the best recall@20.

    Args:
        metrics: see `frames.RECIPE_METRICS`; seeds are averaged.
    """
    import altair as alt

    points = _tradeoff_points(metrics)
    if points.is_empty():
        return theme.nothing_to_show(f"Recall@{K} was not measured beyond the head.")
    best = points.group_by("name").agg(best=pl.col("value").max()).sort("best", "name", descending=[True, False])
    names = [theme.printable(name) for name in best["name"]]
    shown = points.join(best.filter(pl.col("best") >= _OUTLIER_SHARE * pl.col("best").median()), on="name", how="semi")
    off = pl.format("off axes: ≤ {}", pl.col("value").max().over("name").round(3))
    has_note = ~pl.col("name").is_in(shown["name"].to_list()) & (pl.int_range(pl.len()).over("name") == 0)
    data = panels.values(
        points.with_columns(note=pl.when(has_note).then(off)), *("name", "weight", "x_value", "value", "note")
    )
    scales = {column: alt.Scale(domain=_range(shown[column]), nice=False) for column in ("x_value", "value")}
    x = alt.X("x_value:Q", title=None, scale=scales["x_value"], axis=alt.Axis(tickCount=3))
    y = alt.Y("value:Q", title=None, scale=scales["value"], axis=alt.Axis(tickCount=4))
    base = alt.Chart().encode(x=x, y=y)
    front = alt.Chart(panels.values(panels.pareto_front(points), "x_value", "value")).encode(
        x=x, y=y, order="x_value:Q"
    )
    note = alt.Chart().transform_filter("datum.note != null").mark_text(align="left")
    layers = (
        front.mark_line(color=theme.GRID, strokeWidth=1.6, clip=True),
        base.mark_line(strokeWidth=2.2, color=_BLUE, clip=True).encode(order="weight:Q"),
        base.mark_point(filled=True, opacity=1, color=_BLUE, clip=True).encode(
            size=alt.condition("datum.weight == 1", alt.value(90), alt.value(18))
        ),
        note.encode(x=alt.value(6), y=alt.value(_TRADEOFF_SIZE["height"] - 10), text="note:N"),
    )
    title = _titled(
        f"Recall@{K} (up) against recall@{K} beyond the head (right), over γ",
        "large dot: γ = 1, the line goes down to the smallest γ; grey: Pareto front of all recipes",
    )
    header = alt.Header(labelColor=INK, labelFontSize=12, labelAnchor="start", labelLimit=_TRADEOFF_SIZE["width"])
    chart = (
        alt.layer(*layers, data=data)
        .properties(**_TRADEOFF_SIZE)
        .facet(facet=alt.Facet("name:N", sort=names, title=None, header=header), columns=4, spacing=14)
        .properties(title=title)
    )
    best_list = panels.comma_separated(f"{name} {value:.3f}" for name, value in best.iter_rows())
    return theme.to_svg(
        chart, f"Recall at {K} against recall beyond the head over gamma; the best recall: {best_list}."
    )


def _tradeoff_points(metrics: pl.DataFrame) -> pl.DataFrame:
    """Means over seeds: columns name, weight, x_value (recall beyond the head) and value (recall)."""
    rows = (
        frames.RECIPE_METRICS.conform(metrics)
        .filter((pl.col("metric") == "recall") & (pl.col("k") == K) & pl.col("value").is_not_null())
        .group_by("recipe", "popularity_weight", "bucket")
        .agg(pl.col("value").mean())
        .rename({"recipe": "name", "popularity_weight": "weight"})
    )
    beyond_head = rows.filter(pl.col("bucket") == "beyond_head").select("name", "weight", x_value="value")
    return rows.filter(pl.col("bucket") == "all").join(beyond_head, on=["name", "weight"]).sort("name", "weight")


def _range(values: pl.Series) -> list[float]:
    """The range of values with some padding on both sides."""
    low, high = panels.as_float(values.min()), panels.as_float(values.max())
    room = 0.08 * ((high - low) or max(abs(high), 0.1))
    return [low - room, high + room]


def _titled(title: str, subtitle: str) -> Any:
    """A title with a subtitle, in the ink that is legible on light and on dark."""
    import altair as alt

    return alt.TitleParams(title, subtitle=subtitle, subtitleColor=INK, subtitleFontSize=12)


def _gain_panel(rows: pl.DataFrame, title: str, names: list[str], *, show_names: bool) -> Any:
    """Draw one panel of gains; the baseline is a diamond at zero. `show_names`: whether the y axis has labels."""
    import altair as alt

    low, high = _gain_domain(rows)
    rows = rows.with_columns(
        at=pl.col("gain_percent").clip(low, high),
        start=pl.col("gain_low").clip(low, high),
        end=pl.col("gain_high").clip(low, high),
        text=pl.col("gain_percent").map_elements(lambda gain: f"{gain:+.1f}".replace("-", "−"), return_dtype=pl.String),
        mark=pl.when(pl.col("recipe") == pl.col("baseline"))
        .then(pl.lit("baseline"))
        .when(pl.col("gain_percent") < low)
        .then(pl.lit("below"))
        .when(pl.col("gain_percent") > high)
        .then(pl.lit("above"))
        .otherwise(pl.lit("inside")),
    ).with_columns(text=pl.when(pl.col("mark") == "baseline").then(pl.lit("")).otherwise("text"))
    base = alt.Chart(panels.values(rows, "name", "at", "start", "end", "text", "mark")).encode(
        y=_name_axis(names, show_names=show_names)
    )
    shapes = alt.Scale(
        domain=["inside", "baseline", "below", "above"],
        range=["circle", "diamond", "triangle-left", "triangle-right"],
    )
    x = alt.X(
        "at:Q",
        title="Gain, %",
        scale=alt.Scale(domain=[low, high], nice=False),
        axis=alt.Axis(tickCount=5),
    )
    colour = alt.condition("datum.mark == 'baseline'", alt.value(INK), alt.value(_BLUE))
    chart = (
        _zero()
        + base.transform_filter("datum.start != null && datum.end != null")
        .mark_rule(strokeWidth=2.2, color=_BLUE)
        .encode(x="start:Q", x2="end:Q")
        + base.mark_point(filled=True, size=64, opacity=1).encode(
            x=x, color=colour, shape=alt.Shape("mark:N", scale=shapes, legend=None)
        )
        + base.mark_text(align="right").encode(x=alt.value(_GAIN_WIDTH + 46), text="text:N")
    )
    return chart.properties(width=_GAIN_WIDTH, height=_ROW * len(names), title=title)


def _gain_domain(rows: pl.DataFrame) -> tuple[float, float]:
    """The domain of the axis of gains: all intervals, unless one recipe would squeeze the others."""
    ends = pl.concat([rows["gain_percent"], rows["gain_low"], rows["gain_high"]]).drop_nulls()
    typical = max(4.0, 2.5 * panels.as_float(ends.abs().quantile(0.75)))
    low, high = min(panels.as_float(ends.min()), 0.0), max(panels.as_float(ends.max()), 0.0)
    low, high = (-typical if low < -2 * typical else low), (typical if high > 2 * typical else high)
    room = 0.06 * max(high - low, 1.0)
    return low - room, high + room


def _name_axis(names: list[str], *, show_names: bool) -> Any:
    """The y axis with one row per recipe."""
    import altair as alt

    shown = [theme.printable(name) for name in names]
    axis = alt.Axis(grid=False, labelLimit=_NAME_LIMIT) if show_names else None
    return alt.Y("name:N", sort=shown, scale=alt.Scale(domain=shown), title=None, axis=axis)


def _zero() -> Any:
    """The line of no difference."""
    import altair as alt

    return alt.Chart(panels.inline([{"x": 0}])).mark_rule(color=INK, strokeWidth=1.2).encode(x="x:Q")


def _gain_list(rows: pl.DataFrame) -> str:
    """Names with gains, for the text alternative of the chart."""
    return panels.comma_separated(
        f"{name} {gain:+.1f} %" for name, gain in rows.select("name", "gain_percent").iter_rows()
    )

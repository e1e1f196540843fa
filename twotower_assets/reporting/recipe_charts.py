"""Charts that set training recipes side by side: tables of the comparison in, an SVG out.

What is drawn of many recipes belongs here; charts of one model are in `charts`, words and tables of the comparison in
`recipe_words`. Nothing here computes a metric: seeds are averaged, and that is all.
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
_STRAY = 0.6
"""A recipe whose best recall is below this share of the median recipe's does not stretch the axes."""
_DELTA_DIRECTIONS = "← scores too high for popular items · scores too low for popular items →"
_NAME_LIMIT = 190


def gains_over_baseline(comparison: pl.DataFrame) -> str:
    """Draw every recipe's gain over the baseline in per cent with its interval: recall@20, and beyond the head.

    Args:
        comparison: see `frames.RECIPE_COMPARISON`. Rows are sorted by the gain in recall@20. What lies far beyond the
            others stands as an arrow at the edge; its number is written beside it.
    """
    import altair as alt

    rows = frames.RECIPE_COMPARISON.conform(comparison).filter(
        (pl.col("metric") == "recall") & (pl.col("k") == K) & pl.col("bucket").is_in(("all", "beyond_head"))
    )
    baselines = rows["baseline"].drop_nulls().unique().sort().to_list()
    known = rows.filter(pl.col("gain_percent").is_not_null())
    if known.is_empty():
        return theme.nothing_to_show("No recipe was compared with a baseline.")
    own = rows.filter(pl.col("recipe") == pl.col("baseline")).with_columns(gain_percent=pl.lit(0.0))
    known = pl.concat([known, own.filter(pl.col("value").is_not_null())])
    known = known.with_columns(
        name=pl.when(pl.col("recipe") == pl.col("baseline"))
        .then(pl.format("{} (baseline)", "recipe"))
        .otherwise("recipe")
    )
    overall = known.filter(pl.col("bucket") == "all").sort(["gain_percent", "name"], descending=[True, False])
    names = list(dict.fromkeys([*overall["name"], *known["name"].sort()]))
    found = [
        (known.filter(pl.col("bucket") == bucket), title)
        for bucket, title in (("all", f"Recall@{K}"), ("beyond_head", "Beyond the head"))
        if bucket in set(known["bucket"])
    ]
    drawn = [_gain_panel(rows, title, names, first=place == 0) for place, (rows, title) in enumerate(found)]
    title = _titled(
        f"Gain over {panels.listed(theme.printable(name) for name in baselines)}, in % of it",
        "with 95 % intervals over users, paired by user; a triangle is a gain off the axis",
    )
    chart = alt.hconcat(*drawn, spacing=12, title=title)
    return theme.to_svg(chart, f"Gains over {panels.listed(baselines)} in recall at {K}: {_told(overall)}.")


def missing_popularity_by_recipe(diagnostics: pl.DataFrame) -> str:
    """Draw the missing popularity δ of every recipe with its interval, at γ = 0, ½ and 1.

    Args:
        diagnostics: see `frames.RECIPE_DIAGNOSTICS`. δ and the ends of its interval are means over seeds. Rows are
            sorted by δ at the largest γ that is there.
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
    y = _name_axis(names, first=True)
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
    told = panels.listed(f"{name} {delta:+.2f}" for name, delta in last.select("name", "delta").iter_rows())
    return theme.to_svg(
        chart, f"Missing popularity delta by recipe at {panels.listed(domain)}; at {domain[-1]}: {told}."
    )


def recipe_tradeoff(metrics: pl.DataFrame) -> str:
    """Draw recall@20 against recall@20 beyond the head over γ, a panel per recipe, γ = 1 being the large dot.

    The grey line, the same in all panels, joins the points that no recipe beats at any γ in both. Recipes far below
    the others are off their panel's axes, which then says so. Panels are sorted by the best recall@20.

    Args:
        metrics: see `frames.RECIPE_METRICS`; seeds are averaged.
    """
    import altair as alt

    points = _tradeoff_points(metrics)
    if points.is_empty():
        return theme.nothing_to_show(f"Recall@{K} was not measured beyond the head.")
    best = points.group_by("name").agg(best=pl.col("value").max()).sort("best", "name", descending=[True, False])
    names = [theme.printable(name) for name in best["name"]]
    shown = points.join(best.filter(pl.col("best") >= _STRAY * pl.col("best").median()), on="name", how="semi")
    off = pl.format("off axes: ≤ {}", pl.col("value").max().over("name").round(3))
    is_told = ~pl.col("name").is_in(shown["name"].to_list()) & (pl.int_range(pl.len()).over("name") == 0)
    data = panels.values(
        points.with_columns(note=pl.when(is_told).then(off)), *("name", "weight", "across", "value", "note")
    )
    scales = {column: alt.Scale(domain=_range(shown[column]), nice=False) for column in ("across", "value")}
    x = alt.X("across:Q", title=None, scale=scales["across"], axis=alt.Axis(tickCount=3))
    y = alt.Y("value:Q", title=None, scale=scales["value"], axis=alt.Axis(tickCount=4))
    base = alt.Chart().encode(x=x, y=y)
    unbeaten = alt.Chart(panels.values(panels.unbeaten(points), "across", "value")).encode(x=x, y=y, order="across:Q")
    note = alt.Chart().transform_filter("datum.note != null").mark_text(align="left")
    layers = (
        unbeaten.mark_line(color=theme.GRID, strokeWidth=1.6, clip=True),
        base.mark_line(strokeWidth=2.2, color=_BLUE, clip=True).encode(order="weight:Q"),
        base.mark_point(filled=True, opacity=1, color=_BLUE, clip=True).encode(
            size=alt.condition("datum.weight == 1", alt.value(90), alt.value(18))
        ),
        note.encode(x=alt.value(6), y=alt.value(_TRADEOFF_SIZE["height"] - 10), text="note:N"),
    )
    title = _titled(
        f"Recall@{K} (up) against recall@{K} beyond the head (right), over γ",
        "large dot: γ = 1, from there down to the smallest; grey: what no recipe beats in both",
    )
    header = alt.Header(labelColor=INK, labelFontSize=12, labelAnchor="start", labelLimit=_TRADEOFF_SIZE["width"])
    chart = (
        alt.layer(*layers, data=data)
        .properties(**_TRADEOFF_SIZE)
        .facet(facet=alt.Facet("name:N", sort=names, title=None, header=header), columns=4, spacing=14)
        .properties(title=title)
    )
    told = panels.listed(f"{name} {value:.3f}" for name, value in best.iter_rows())
    return theme.to_svg(chart, f"Recall at {K} against recall beyond the head over gamma; the best recall: {told}.")


def _tradeoff_points(metrics: pl.DataFrame) -> pl.DataFrame:
    """Means over seeds: columns name, weight, across (recall beyond the head), value (recall), by name and weight."""
    rows = (
        frames.RECIPE_METRICS.conform(metrics)
        .filter((pl.col("metric") == "recall") & (pl.col("k") == K) & pl.col("value").is_not_null())
        .group_by("recipe", "popularity_weight", "bucket")
        .agg(pl.col("value").mean())
        .rename({"recipe": "name", "popularity_weight": "weight"})
    )
    across = rows.filter(pl.col("bucket") == "beyond_head").select("name", "weight", across="value")
    return rows.filter(pl.col("bucket") == "all").join(across, on=["name", "weight"]).sort("name", "weight")


def _range(values: pl.Series) -> list[float]:
    """The range of values with a little room on both sides."""
    low, high = panels.number(values.min()), panels.number(values.max())
    room = 0.08 * ((high - low) or max(abs(high), 0.1))
    return [low - room, high + room]


def _titled(title: str, subtitle: str) -> Any:
    """A title with a line below it, in the ink that reads on light and on dark."""
    import altair as alt

    return alt.TitleParams(title, subtitle=subtitle, subtitleColor=INK, subtitleFontSize=12)


def _gain_panel(rows: pl.DataFrame, title: str, names: list[str], *, first: bool) -> Any:
    """Draw one panel of gains; the baseline is a diamond at zero."""
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
        y=_name_axis(names, first=first)
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
    """Where the axis of gains ends: at the outermost interval, or before it where one recipe would dwarf the rest."""
    ends = pl.concat([rows["gain_percent"], rows["gain_low"], rows["gain_high"]]).drop_nulls()
    usual = max(4.0, 2.5 * panels.number(ends.abs().quantile(0.75)))
    low, high = min(panels.number(ends.min()), 0.0), max(panels.number(ends.max()), 0.0)
    low, high = (-usual if low < -2 * usual else low), (usual if high > 2 * usual else high)
    room = 0.06 * max(high - low, 1.0)
    return low - room, high + room


def _name_axis(names: list[str], *, first: bool) -> Any:
    """One row per recipe; names only at the first panel of a line."""
    import altair as alt

    shown = [theme.printable(name) for name in names]
    axis = alt.Axis(grid=False, labelLimit=_NAME_LIMIT) if first else None
    return alt.Y("name:N", sort=shown, scale=alt.Scale(domain=shown), title=None, axis=axis)


def _zero() -> Any:
    """The line of no difference."""
    import altair as alt

    return alt.Chart(panels.inline([{"x": 0}])).mark_rule(color=INK, strokeWidth=1.2).encode(x="x:Q")


def _told(rows: pl.DataFrame) -> str:
    """Names with gains, for people who do not see the chart."""
    return panels.listed(f"{name} {gain:+.1f} %" for name, gain in rows.select("name", "gain_percent").iter_rows())

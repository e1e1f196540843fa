"""One function per chart: a table of results in, an SVG out, for light and dark backgrounds.

What a chart shows belongs here. Colours and rendering are in `theme`, the columns of the tables in `frames`. Nothing
here computes a metric.
"""

import math

import polars as pl

from twotower_assets.core.buckets import BUCKETS
from twotower_assets.core.metric_rows import K
from twotower_assets.core.popularity import check_popularity_weight
from twotower_assets.reporting import frames, panels, theme
from twotower_assets.reporting.theme import INK, WIDTH

LISTED_CATEGORIES = 12
_LORENZ_POINTS = 60
_DELTA_AXIS = "← over-scores popular · δ · under-scores popular →"
_BLUE, _ORANGE, _TEAL = theme.SERIES_COLOURS.values()


def loss_curve(curves: pl.DataFrame) -> str:
    """Draw the training loss over epochs and, where it was measured, the validation metric below it.

    Args:
        curves: columns epoch, loss, and optional validation_metric (nullable); see `frames.CURVES`.
    """
    rows = frames.CURVES.conform(curves).sort("epoch")
    drawn = [
        panels.curve_panel(rows.select("epoch", value=column).drop_nulls(), title, colour)
        for column, title, colour in (
            ("loss", "Training loss", _BLUE),
            ("validation_metric", "Validation metric", _TEAL),
        )
        if rows[column].count()
    ]
    if not drawn:
        return theme.nothing_to_show("No epoch was recorded.")
    return theme.to_svg(
        panels.stacked_panels(drawn), f"Line chart of {len(rows)} epochs: training loss and validation metric."
    )


def recall_by_bucket(metrics: pl.DataFrame, k: int = K) -> str:
    """Draw recall@k per popularity bucket as a dot with its interval, for each model.

    Args:
        metrics: see `frames.METRICS`; rows of other metrics, cut-offs and buckets are ignored. A model that
            appears at several popularity weights becomes one series per weight.
        k: the cut-off.
    """
    import altair as alt

    rows = (
        frames.METRICS.conform(metrics)
        .filter(
            (pl.col("metric") == "recall")
            & (pl.col("k") == k)
            & pl.col("bucket").is_in(theme.RECALL_BUCKETS)
            & pl.col("value").is_not_null()
        )
        .pipe(theme.with_series)
    )
    if rows.is_empty():
        return theme.nothing_to_show(f"Recall@{k} was not measured per bucket.")
    names, colours = theme.series_scale(rows)
    buckets = [theme.bucket_name(b) for b in theme.RECALL_BUCKETS if b in set(rows["bucket"])]
    base = alt.Chart(panels.values(panels.named_buckets(rows), "bucket", "series", "value", "low", "high")).encode(
        y=alt.Y("bucket:N", sort=buckets, title=None, axis=alt.Axis(grid=False)),
        yOffset=alt.YOffset("series:N", sort=names),
        color=alt.Color("series:N", sort=names, scale=alt.Scale(domain=names, range=colours)),
    )
    dots = base.mark_point(filled=True, size=64, opacity=1).encode(
        x=alt.X("value:Q", title=f"Recall@{k}", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=5)),
        shape=alt.Shape("series:N", sort=names, scale=alt.Scale(domain=names, range=panels.cycle(theme.SHAPES, names))),
    )
    intervals = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q")
    height = len(buckets) * max(30, 15 * len(names) + 6)
    chart = (intervals + dots).properties(width=WIDTH, height=height)
    return theme.to_svg(
        chart, f"Dot chart of recall at {k} for {panels.comma_separated(buckets)}, for {panels.comma_separated(names)}."
    )


def lorenz_curve(points: pl.DataFrame) -> str:
    """Draw the Lorenz curve of exposure: how list positions are spread over items, least shown first.

    Args:
        points: columns model, item_share and exposure_share, both cumulative in [0, 1]; see `frames.LORENZ`.
            Long curves are thinned. The diagonal is an even spread.
    """
    import altair as alt

    rows = theme.with_series(frames.LORENZ.conform(points).drop_nulls().sort("model", "item_share", "exposure_share"))
    if rows.is_empty():
        return theme.nothing_to_show("Exposure per item was not measured.")
    names, colours = theme.series_scale(rows)
    thinned = pl.concat(
        [
            panels.thinned(rows_of_model, _LORENZ_POINTS)
            for rows_of_model in rows.partition_by("model", maintain_order=True)
        ]
    )
    legend = panels.stroke_legend()
    share = alt.Axis(format=".0%", tickCount=5)
    even = (
        alt.Chart(panels.inline([{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(color=theme.GRID, strokeWidth=1, strokeDash=[3, 3])
        .encode(x="x:Q", y="y:Q")
    )
    curves = (
        alt.Chart(
            panels.values(thinned.with_columns(pl.col(pl.Float64).round(4)), "series", "item_share", "exposure_share")
        )
        .mark_line(strokeWidth=2.2)
        .encode(
            x=alt.X(
                "item_share:Q",
                title="Share of items, least shown first",
                axis=share,
                scale=panels.unit_scale(),
            ),
            y=alt.Y("exposure_share:Q", title="Share of list positions", axis=share, scale=panels.unit_scale()),
            color=alt.Color("series:N", sort=names, scale=alt.Scale(domain=names, range=colours), legend=legend),
            strokeDash=alt.StrokeDash(
                "series:N",
                sort=names,
                scale=alt.Scale(domain=names, range=panels.cycle(theme.DASHES, names)),
                legend=legend,
            ),
        )
    )
    chart = (even + curves).properties(width=WIDTH, height=250)
    return theme.to_svg(chart, f"Lorenz curves of exposure over items for {panels.comma_separated(names)}.")


def exposure_share(rows: pl.DataFrame) -> str:
    """Draw the share of each bucket in the catalogue, the clicks and each model's lists, as stacked bars of 100 %.

    Args:
        rows: columns model, bucket, exposure_share, click_share, catalogue_share; see `frames.EXPOSURE`.
    """
    import altair as alt

    shares = theme.with_series(frames.EXPOSURE.conform(rows).filter(pl.col("bucket").is_in(BUCKETS)))
    if not shares["exposure_share"].sum():
        return theme.nothing_to_show("Exposure per bucket was not measured.")
    names, _ = theme.series_scale(shares)
    bars = pl.concat(
        [
            shares.unique("bucket").select(pl.lit("Catalogue").alias("series"), "bucket", share="catalogue_share"),
            shares.unique("bucket").select(pl.lit("Clicks").alias("series"), "bucket", share="click_share"),
            shares.select("series", "bucket", share="exposure_share"),
        ]
    ).filter(pl.col("share") > 0)
    order = [name for name in ("Catalogue", "Clicks", *names) if name in set(bars["series"])]
    present = [bucket for bucket in BUCKETS if bucket in set(bars["bucket"])]
    starts = panels.named_buckets(panels.stacked(bars, present))
    domain = [theme.bucket_name(bucket) for bucket in present]
    base = alt.Chart(panels.values(starts, "series", "bucket", "start", "end", "middle", "text")).encode(
        y=alt.Y("series:N", sort=order, title=None, axis=alt.Axis(grid=False))
    )
    scale = alt.Scale(domain=domain, range=[theme.BUCKET_COLOURS[bucket] for bucket in present])
    blocks = base.mark_bar(height=22, stroke=theme.GRID, strokeWidth=0.6).encode(
        x=alt.X(
            "start:Q",
            title="Share",
            axis=alt.Axis(format=".0%", tickCount=5, grid=False),
            scale=panels.unit_scale(),
        ),
        x2="end:Q",
        color=alt.Color("bucket:N", sort=domain, scale=scale, legend=alt.Legend(symbolStrokeWidth=0.6)),
    )
    on_dark = f"datum.bucket == '{theme.bucket_name('head')}'"
    labels = base.mark_text().encode(
        x="middle:Q", text="text:N", color=alt.condition(on_dark, alt.value("#ffffff"), alt.value("#1c1d1f"))
    )
    chart = (blocks + labels).properties(width=WIDTH, height=34 * len(order))
    return theme.to_svg(
        chart, f"Stacked bars of the share of {panels.comma_separated(domain)} in {panels.comma_separated(order)}."
    )


def popularity_tradeoff(metrics: pl.DataFrame, k: int = K, served: float | None = None) -> str:
    """Draw the two-tower model's recall@k against long-tail metrics over the popularity weight γ.

    Recall@k is on the y axis of every panel. The x axes are recall@k beyond the head, recall@k in the tail, coverage@k
    and the Gini coefficient of exposure@k. Each point is labelled with its γ.

    Args:
        metrics: see `frames.METRICS`. Baselines, which have no γ, become single points.
        k: the cut-off.
        served: the γ whose point has a ring around it. Raises `ValueError` if it is not in [0, 1].
    """
    if served is not None:
        check_popularity_weight(served)
    rows = theme.with_series(
        frames.METRICS.conform(metrics)
        .filter((pl.col("k") == k) & pl.col("value").is_not_null())
        .rename({"popularity_weight": "weight"})
    )
    quantities = (
        ("recall", "beyond_head", f"Recall@{k}, beyond the head"),
        ("recall", "tail", f"Recall@{k}, tail"),
        ("coverage", "all", f"Coverage@{k}"),
        ("gini", "all", f"Gini@{k} (0: even exposure)"),
    )

    def values(metric: str, bucket: str) -> pl.DataFrame:
        return rows.filter((pl.col("metric") == metric) & (pl.col("bucket") == bucket))

    recall = values("recall", "all").select("model", "series", "weight", "value")
    panel_rows = [
        (
            recall.join(
                values(metric, bucket).select("series", "weight", x_value="value"),
                on=["series", "weight"],
                nulls_equal=True,
            ),
            title,
        )
        for metric, bucket, title in quantities
    ]
    panel_rows = [(rows, title) for rows, title in panel_rows if rows["weight"].count()]
    if not panel_rows:
        return theme.nothing_to_show("The popularity weight was not varied.")
    drawn = [
        panels.tradeoff_panel(rows, title, f"Recall@{k}", y_labels=index % 2 == 0, served=served)
        for index, (rows, title) in enumerate(panel_rows)
    ]
    return theme.to_svg(
        panels.side_by_side(drawn),
        f"Recall at {k} against {panels.comma_separated(title for _, title in panel_rows)}, "
        "along the popularity weight gamma.",
    )


def popularity_delta(diagnostics: pl.DataFrame) -> str:
    """Draw the missing popularity δ with its interval per γ, and the δ of exact PMI + γ·log q.

    Args:
        diagnostics: see `frames.POPULARITY_DIAGNOSTICS`. A model that scores PMI + γ·log q exactly has
            δ = 1 − γ, drawn as grey diamonds.
    """
    import altair as alt

    rows = (
        frames.POPULARITY_DIAGNOSTICS.conform(diagnostics)
        .drop_nulls(["popularity_weight", "delta"])
        .sort("popularity_weight")
        .with_columns(exact=1 - pl.col("popularity_weight"))
    )
    if rows.is_empty():
        return theme.nothing_to_show("The missing popularity was not fitted.")
    names = [f"γ = {theme.weight_text(weight)}" for weight in rows["popularity_weight"]]
    data = panels.values(
        rows.with_columns(weight=pl.Series(names)), "weight", "delta", "delta_low", "delta_high", "exact"
    )
    legend = alt.Scale(domain=["measured", "exact PMI + γ·log q"], range=[_BLUE, INK])
    base = alt.Chart(data).encode(y=alt.Y("weight:N", sort=names, title=None, axis=alt.Axis(grid=False)))
    scale = alt.Scale(domain=["measured", "exact PMI + γ·log q"], range=["circle", "diamond"])
    coded = {"color": alt.Color("mark:N", scale=legend), "shape": alt.Shape("mark:N", scale=scale)}
    zero = alt.Chart(panels.inline([{"x": 0}])).mark_rule(color=INK, strokeWidth=1.2).encode(x="x:Q")
    exact = base.transform_calculate(mark="'exact PMI + γ·log q'").mark_point(filled=True, size=110, opacity=1)
    dots = base.transform_calculate(mark="'measured'").mark_point(filled=True, size=70, opacity=1)
    chart = (
        zero
        + exact.encode(x="exact:Q", **coded)
        + base.mark_rule(color=_BLUE, strokeWidth=2.2).encode(x="delta_low:Q", x2="delta_high:Q")
        + dots.encode(
            x=alt.X(
                "delta:Q",
                title=_DELTA_AXIS,
                axis=alt.Axis(tickCount=6),
            ),
            **coded,
        )
    ).properties(width=WIDTH, height=40 * len(names))
    return theme.to_svg(
        chart, f"Dot chart of the missing popularity delta, with intervals, at {panels.comma_separated(names)}."
    )


def index_quality(rows: pl.DataFrame) -> str:
    """Draw the index's recall and its queries per second at each popularity weight.

    Args:
        rows: columns popularity_weight, recall_at_k, queries_per_second, and optional k; see
            `frames.INDEX_QUALITY`.
    """
    import altair as alt

    table = frames.INDEX_QUALITY.conform(rows).drop_nulls(["popularity_weight"]).sort("popularity_weight")
    if table["recall_at_k"].count() == 0:
        return theme.nothing_to_show("The index was not measured.")
    names = [f"γ = {theme.weight_text(weight)}" for weight in table["popularity_weight"]]
    table = table.with_columns(
        weight=pl.Series(names),
        speed_text=pl.col("queries_per_second").map_elements(lambda n: f"{n:,.0f}", return_dtype=pl.String),
    )
    floor = min(0.9, math.floor(panels.as_float(table["recall_at_k"].min()) * 10) / 10)
    data = panels.values(table, "weight", "recall_at_k", "queries_per_second", "speed_text")
    cut_off = table["k"].drop_nulls().unique()
    named = f"Recall@{cut_off[0]} of exact search" if len(cut_off) == 1 else "Recall of exact search"
    y = alt.Y("weight:N", sort=names, title=None, axis=alt.Axis(grid=False))
    bare = alt.Y("weight:N", sort=names, title=None, axis=None)
    size = {"height": 34 * len(names)}
    base = alt.Chart(data)
    x = alt.X("recall_at_k:Q", title=named, scale=alt.Scale(domain=[floor, 1]), axis=alt.Axis(tickCount=3))
    recall = base.mark_point(filled=True, size=80, color=_BLUE, opacity=1).encode(x=x, y=y)
    recall += base.mark_text(dy=-11).encode(x=x, y=y, text=alt.Text("recall_at_k:Q", format=".3f"))
    drawn = [recall.properties(width=130, **size)]
    if table["queries_per_second"].count():
        x = alt.X("queries_per_second:Q", title="Queries per second", axis=alt.Axis(tickCount=3, format="~s"))
        speed = base.mark_bar(color=_TEAL, height=12).encode(x=x, y=bare)
        speed += base.mark_text(align="left", dx=5).encode(x=x, y=bare, text="speed_text:N")
        drawn.append(speed.properties(width=110, **size))
    chart = alt.hconcat(*drawn, spacing=24)
    return theme.to_svg(chart, f"Recall and queries per second of the index at {panels.comma_separated(names)}.")


def category_coverage(rows: pl.DataFrame) -> str:
    """Draw the coverage of the largest categories, and their exposure share against their click share.

    Args:
        rows: columns category, items, items_recommended, exposure_share, click_share; see
            `frames.CATEGORIES`.
    """
    import altair as alt

    table = largest_categories(rows)
    if table.is_empty():
        return theme.nothing_to_show("No item has a category.")
    names = [panels.not_blank(name, index) for index, name in enumerate(table["category"].to_list())]
    table = table.with_columns(
        name=pl.Series(names),
        covered=pl.col("items_recommended") / pl.col("items"),
        text=pl.format("{} of {}", "items_recommended", "items"),
    )
    data = panels.values(table, "name", "covered", "text", "exposure_share", "click_share")
    size = {"height": 26 * len(names)}
    label = alt.Axis(grid=False, labelLimit=110)
    y = alt.Y("name:N", sort=names, title=None, axis=label)
    x = alt.X(
        "covered:Q",
        title="Items recommended",
        axis=alt.Axis(format=".0%", tickCount=2),
        scale=panels.unit_scale(),
    )
    base = alt.Chart(data)
    bars = base.mark_bar(color=_BLUE, height=6, yOffset=6).encode(x=x, y=y)
    counts = base.mark_text(align="left", dy=-5).encode(x=alt.datum(0), y=y, text="text:N")
    drawn = [(bars + counts).properties(width=105, **size)]
    if table["exposure_share"].count():
        drawn.append(
            panels.dumbbells(base, alt.Y("name:N", sort=names, title=None, axis=None)).properties(width=145, **size)
        )
    chart = alt.hconcat(*drawn, spacing=16)
    return theme.to_svg(chart, f"Coverage and exposure of the {len(names)} largest categories.")


def largest_categories(rows: pl.DataFrame, limit: int = LISTED_CATEGORIES) -> pl.DataFrame:
    """Return the `limit` categories with the most items, largest first, without empty ones."""
    table = frames.CATEGORIES.conform(rows).filter(pl.col("items") > 0)
    return table.with_columns(
        category=pl.col("category").fill_null("(none)"),
        items_recommended=pl.col("items_recommended").fill_null(0),
    ).sort(["items", "category"], descending=[True, False])[:limit]

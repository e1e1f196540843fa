"""The chart that compares a version with another on the same users: paired differences with intervals.

Charts of a single version are in `charts`, colours and fonts in `theme`.
"""

import polars as pl

from twotower_assets.core.metric_rows import K
from twotower_assets.reporting import frames, panels, theme
from twotower_assets.reporting.theme import INK, WIDTH

_LESS, _UNCLEAR, _MORE = theme.SERIES_COLOURS["most_popular"], INK, theme.SERIES_COLOURS["ease"]
_SIDES = ("less", "not clear", "more")


def paired_differences(differences: pl.DataFrame, other: str, k: int = K) -> str:
    """Draw recall@k minus that of another model, over all items and per bucket, in points with paired intervals.

    Args:
        differences: see `frames.DIFFERENCES`.
        other: the model to compare with, as in the column of that name.
        k: the cut-off.
    """
    import altair as alt

    rows = frames.DIFFERENCES.conform(differences).filter(other=other, metric="recall", k=k).drop_nulls("difference")
    if rows.is_empty():
        return theme.nothing_to_show("Recall was not compared.")
    order = [bucket for bucket in ("all", *theme.RECALL_BUCKETS) if bucket in set(rows["bucket"])]
    rows = rows.filter(pl.col("bucket").is_in(order)).with_columns(
        *(pl.col(column) * 100 for column in ("difference", "low", "high")),
        side=pl.when(pl.col("high") < 0)
        .then(pl.lit("less"))
        .when(pl.col("low") > 0)
        .then(pl.lit("more"))
        .otherwise(pl.lit("not clear")),
    )
    names = [theme.bucket_name(bucket) for bucket in order]
    data = panels.values(panels.named_buckets(rows), "bucket", "difference", "low", "high", "side")
    base = alt.Chart(data).encode(
        y=alt.Y("bucket:N", sort=names, title=None, axis=alt.Axis(grid=False)),
        color=alt.Color("side:N", sort=_SIDES, scale=alt.Scale(domain=_SIDES, range=[_LESS, _UNCLEAR, _MORE])),
    )
    zero = alt.Chart(panels.inline([{"x": 0}])).mark_rule(color=INK, strokeWidth=1.2).encode(x="x:Q")
    shapes = alt.Scale(domain=_SIDES, range=["triangle-left", "circle", "triangle-right"])
    dots = base.mark_point(filled=True, size=80, opacity=1).encode(
        x=alt.X("difference:Q", title=f"Recall@{k}, difference in points", axis=alt.Axis(tickCount=6)),
        shape=alt.Shape("side:N", sort=_SIDES, scale=shapes),
    )
    intervals = base.mark_rule(strokeWidth=2.2).encode(x="low:Q", x2="high:Q")
    chart = (zero + intervals + dots).properties(width=WIDTH, height=30 * len(names))
    return theme.to_svg(chart, f"Dot chart of the difference in recall at {k} for {panels.comma_separated(names)}.")

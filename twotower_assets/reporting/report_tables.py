"""The report's tables: which numbers stand in which row, as text ready to print.

Which rows and columns there are, and their order, belongs here. How a number is written is in `words`; there
is no HTML.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from twotower_assets.reporting import theme, words
from twotower_assets.reporting.report_data import PREDECESSOR, ReportData
from twotower_assets.reporting.theme import bucket_name, model_name, weight_text


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a note below it in small type, and whether it is the best of its column."""

    text: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, the heads of the columns (the first heads the row heads), and rows of head and cells."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


Measured = tuple[float | None, float | None, float | None]


def comparison(data: ReportData) -> Table:
    """Set the served model beside its baselines, one metric a row, each number with its interval."""
    k, wide = data.k, data.wide_k
    asked = (
        (f"Recall@{k}", "recall", k, "all"),
        (f"Recall@{k}, beyond the head", "recall", k, "beyond_head"),
        (f"NDCG@{k}", "ndcg", k, "all"),
        (f"Hit rate@{k}", "hit_rate", k, "all"),
        (f"MRR@{k}", "mrr", k, "all"),
        (f"Recall@{wide}", "recall", wide, "all"),
        (f"Coverage@{k}", "coverage", k, "all"),
    )
    rows = [
        (head, _best_first([data.metric(model, metric, at, bucket) for model in data.models], 3))
        for head, metric, at, bucket in asked
    ]
    return Table(
        f"The model at γ = {weight_text(data.served_popularity_weight)} and its baselines; "
        f"below each number its {100 * data.interval_level:.0f} % interval. Bold marks the largest of a row.",
        ["Metric", *map(model_name, data.models)],
        _told(rows),
    )


def popularity(data: ReportData) -> Table:
    """Show what each model does to popular items, one metric a row."""
    asked: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
        ("Gini of exposure", "gini", lambda value: words.decimal(value, 2)),
        (
            "Mean popularity of lists",
            "average_recommendation_popularity",
            lambda value: words.decimal(value, 1),
        ),
        ("Popularity lift", "popularity_lift", words.signed),
        ("Share of tail and cold (APLT)", "aplt", words.percent),
        ("Novelty, bits", "novelty", lambda value: words.decimal(value, 1)),
        ("Calibration (JSD)", "calibration", lambda value: words.decimal(value, 3)),
    )
    rows = [
        (head, [Cell(write(data.metric(model, metric)[0])) for model in data.models]) for head, metric, write in asked
    ]
    return Table(
        f"What the first {data.k} suggestions do to popular items.",
        ["Metric", *map(model_name, data.models)],
        _told(rows),
    )


def against_baselines(data: ReportData) -> Table:
    """Give the differences from each baseline, paired by user, in percentage points."""
    others = [model for model in data.models if model in set(data.differences["other"])]
    rows = [
        (head, [_points(data.difference(other, metric, bucket, k)) for other in others])
        for head, metric, bucket, k in _paired(data)
    ]
    return Table(
        "This model less each baseline, user by user, in percentage points.",
        ["Metric", *(f"Less {words.named(other)}" for other in others)],
        _told(rows) if others else [],
    )


def predecessor(data: ReportData) -> Table:
    """Set this version beside the one that was served before, with differences in percentage points."""
    rows = []
    for head, metric, bucket, k in (
        *_paired(data),
        (f"Coverage@{data.k}", "coverage", "all", data.k),
        ("Gini of exposure", "gini", "all", data.k),
    ):
        found = data.difference(PREDECESSOR, metric, bucket, k)
        if found["difference"] is not None:
            cells = [Cell(words.decimal(found["value"])), Cell(words.decimal(found["other_value"])), _points(found)]
            rows.append((head, cells))
    return Table(
        "This version and the one served before, on the same users; differences in percentage points, with intervals "
        "that are paired by user.",
        ["Metric", "This version", "Served before", "Difference"],
        rows,
    )


def predecessor_categories(data: ReportData) -> Table:
    """List the categories whose recall differs from the predecessor's, as far as the interval is clear of 0."""
    clear = (
        data.differences.filter(other=PREDECESSOR, metric="category_recall")
        .filter((pl.col("low") > 0) | (pl.col("high") < 0))
        .sort("difference", "bucket", descending=[True, False])
    )
    rows = [
        (
            row["bucket"],
            [
                Cell(words.decimal(row["value"])),
                Cell(words.decimal(row["other_value"])),
                _points(row),
                Cell(words.whole(row["users"])),
            ],
        )
        for row in clear.iter_rows(named=True)
    ]
    return Table(
        f"Recall@{data.k} of the clicks of one category, where the interval of the difference is clear of 0.",
        ["Category", "This version", "Served before", "Difference", "Users"],
        rows,
    )


def recall_by_bucket(data: ReportData) -> Table:
    """Give the numbers behind the chart of recall by bucket."""
    present = set(data.metrics.filter(pl.col("metric") == "recall")["bucket"])
    buckets = [bucket for bucket in (*theme.BUCKET_COLOURS, "beyond_head") if bucket in present]
    rows = [
        (bucket_name(bucket), [_cell(data.metric(model, "recall", bucket=bucket), 3) for model in data.models])
        for bucket in buckets
    ]
    return Table(f"Recall@{data.k} by bucket.", ["Bucket", *map(model_name, data.models)], _told(rows))


def exposure(data: ReportData) -> Table:
    """Give the numbers behind the chart of exposure: catalogue, clicks and each model's lists."""
    rows = theme.with_series(data.served(data.exposure))
    names, _ = theme.series_scale(rows)
    columns = {"catalogue_share": "Catalogue", "click_share": "Clicks"}

    def share(bucket: str) -> list[Cell]:
        inside = rows.filter(bucket=bucket)
        whole = [inside[column].drop_nulls().to_list()[:1] for column in columns]
        shown = [inside.filter(series=name)["exposure_share"].to_list()[:1] for name in names]
        return [Cell(words.percent(found[0] if found else None)) for found in (*whole, *shown)]

    buckets = [bucket for bucket in theme.BUCKET_COLOURS if bucket in set(rows["bucket"])]
    return Table(
        "Shares of items, of clicks and of places in lists.",
        ["Bucket", *columns.values(), *names],
        _told([(bucket_name(bucket), share(bucket)) for bucket in buckets]),
    )


def categories(frame: pl.DataFrame, which: str = "Categories") -> Table:
    """List categories (`which` ones, the caption says): items, items recommended, shares of places and of clicks."""
    rows = [
        (
            name,
            [
                Cell(words.whole(items)),
                Cell(words.whole(shown)),
                Cell(words.percent(shown / items)),
                Cell(words.percent(places)),
                Cell(words.percent(clicks)),
            ],
        )
        for name, items, shown, places, clicks in frame.iter_rows()
    ]
    heads = ["Category", "Items", "Recommended", "Coverage", "Of places", "Of clicks"]
    return Table(
        f"{which} by number of items: items, those in at least one list, shares of places and of clicks.",
        heads,
        rows,
    )


def weights(data: ReportData) -> Table:
    """Show what turning γ changes."""
    ours = data.metrics.filter((pl.col("model") == "two_tower") & pl.col("popularity_weight").is_not_null())
    asked = (
        (f"Recall@{data.k}", "recall", "all"),
        ("Beyond the head", "recall", "beyond_head"),
        ("Tail", "recall", "tail"),
        (f"Coverage@{data.k}", "coverage", "all"),
        ("Gini", "gini", "all"),
    )
    rows = []
    for weight in ours["popularity_weight"].unique().sort():
        at = ours.filter((pl.col("popularity_weight") == weight) & (pl.col("k").is_null() | (pl.col("k") == data.k)))
        cells = [
            _cell(_first(at.filter((pl.col("metric") == metric) & (pl.col("bucket") == bucket))), 3)
            for _, metric, bucket in asked
        ]
        rows.append((_weight_head(data, weight), cells))
    caption = (
        f"The same model at each popularity weight: recall@{data.k} over all items, beyond the head and in the tail; "
        "coverage and Gini coefficient of exposure."
    )
    return Table(caption, ["γ", *(head for head, *_ in asked)], _told(rows))


def diagnostics(data: ReportData) -> Table:
    """Show δ with its interval, what exact PMI would give, the slope on log q, and the PMI correlation."""
    rows = [
        (
            _weight_head(data, weight),
            [
                Cell(words.signed(delta), words.interval(low, high, 2, sign=True)),
                Cell(words.signed(1 - weight)),
                Cell(words.signed(slope)),
                Cell(words.signed(correlation)),
            ],
        )
        for weight, delta, low, high, slope, correlation in data.popularity_diagnostics.drop_nulls("popularity_weight")
        .sort("popularity_weight")
        .iter_rows()
    ]
    heads = [
        "γ",
        "Missing popularity δ",
        "δ of exact PMI + γ·log q",
        "Slope on log q",
        "Correlation with PMI",
    ]
    return Table("How much popularity the score lacks as click probability.", heads, rows)


def training(data: ReportData) -> Table:
    """Sum up the training: epochs, loss, the best validation metric, throughput."""
    curves = data.curves.sort("epoch")
    loss, validation = curves.drop_nulls("loss"), curves.drop_nulls("validation_metric")
    rows = [("Epochs", [Cell(words.whole(len(curves)) if len(curves) else words.ABSENT)])]
    if len(loss):
        rows.append(("Loss of the last epoch", [Cell(words.decimal(loss["loss"][-1]))]))
    if len(validation):
        best = validation.sort("validation_metric", descending=True, maintain_order=True).row(0, named=True)
        note = f"epoch {best['epoch']}"
        rows.append(("Best validation metric", [Cell(words.decimal(best["validation_metric"]), note)]))
    speeds = curves["pairs_per_second"].drop_nulls().to_list()
    if speeds:
        rows.append(("Pairs per second, mean", [Cell(words.whole(sum(speeds) / len(speeds)))]))
    return Table("The training in numbers.", ["Measure", "Value"], _told(rows))


def settings(data: ReportData, *, changed: bool) -> Table:
    """List the settings of the training that differ from their defaults, or the others."""
    rows = [
        (one.name, [Cell(one.value), Cell(one.default), Cell(one.meaning)])
        for one in data.settings
        if (one.value != one.default) == changed
    ]
    caption = "Settings that differ from their defaults." if changed else "Settings at their defaults."
    return Table(caption, ["Setting", "Value", "Default", "Meaning"], rows)


def index(data: ReportData) -> Table:
    """Show recall and speed of the index per γ."""
    rows = [
        (
            _weight_head(data, weight),
            [Cell(words.decimal(recall)), Cell(words.whole(k)), Cell(words.whole(speed))],
        )
        for weight, recall, k, speed in data.index_quality.drop_nulls("popularity_weight")
        .sort("popularity_weight")
        .iter_rows()
    ]
    heads = ["γ", "Recall of exact search", "k", "Queries per second"]
    return Table("The vector index against exact search.", heads, rows)


def lineage(data: ReportData) -> Table:
    """List what the report was made from."""
    rows = [
        (
            name,
            [
                Cell(version or words.ABSENT),
                Cell(words.ABSENT if snapshot is None else str(snapshot)),
                Cell(detail),
            ],
        )
        for name, version, snapshot, detail in data.lineage
    ]
    return Table("What this page was made from.", ["Name", "Version", "Lake snapshot", "Detail"], rows)


def sizes(data: ReportData) -> list[tuple[str, str]]:
    """Give the headline sizes as label and number, those that are known."""
    return [
        (name.replace("_", " ").capitalize(), words.whole(count))
        for name, count in data.counts.items()
        if words.whole(count) != words.ABSENT
    ]


def _weight_head(data: ReportData, weight: float) -> str:
    served = abs(weight - data.served_popularity_weight) < 1e-9
    return f"{weight_text(weight)} (served)" if served else weight_text(weight)


def _cell(measured: Measured, places: int) -> Cell:
    value, low, high = measured
    return Cell(words.decimal(value, places), words.interval(low, high, places))


def _best_first(column: Sequence[Measured], places: int) -> list[Cell]:
    """Write a column and mark its largest value, where there is something to compare."""
    values = [value for value, *_ in column if value is not None]
    top = max(values) if len(values) > 1 else None
    return [
        Cell(cell.text, cell.note, best=top is not None and measured[0] == top)
        for cell, measured in ((_cell(measured, places), measured) for measured in column)
    ]


def _paired(data: ReportData) -> list[tuple[str, str, str, int]]:
    """Head, metric, bucket and depth of what is compared user by user."""
    k, wide = data.k, data.wide_k
    buckets = [(f"Recall@{k}, {bucket_name(name).lower()}", "recall", name, k) for name in theme.RECALL_BUCKETS]
    return [
        (f"Recall@{k}", "recall", "all", k),
        *buckets,
        (f"NDCG@{k}", "ndcg", "all", k),
        (f"Recall@{wide}", "recall", "all", wide),
    ]


def _points(found: Mapping[str, float | None]) -> Cell:
    """Write a difference in percentage points with its interval."""
    low, high = found["low"], found["high"]
    note = "" if low is None or high is None else words.interval(100 * low, 100 * high, 1, sign=True)
    return Cell(words.points(found["difference"]), note)


def _told(rows: Sequence[tuple[str, Sequence[Cell]]]) -> list[tuple[str, Sequence[Cell]]]:
    """Leave out the rows that hold no number at all."""
    return [(name, cells) for name, cells in rows if any(cell.text != words.ABSENT for cell in cells)]


def _first(rows: pl.DataFrame) -> Measured:
    return rows.select("value", "low", "high").row(0) if len(rows) else (None, None, None)

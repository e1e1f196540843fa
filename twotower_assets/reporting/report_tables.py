"""The report's tables: captions, heads and rows, as text ready to print.

The rows and columns of each table and their order belong here. Number formats are in `formatting`, HTML is in the
templates.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from twotower_assets.reporting import formatting, theme
from twotower_assets.reporting.report_data import PREDECESSOR, ReportData
from twotower_assets.reporting.sentences import name_in_sentence
from twotower_assets.reporting.theme import bucket_name, model_name, weight_text


@dataclass(frozen=True)
class Cell:
    """One cell: its text, a note below it in small type, and whether it is the best of its row."""

    text: str
    note: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A caption, the column heads (the first is that of the row heads), and rows of a row head and cells."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell]]]


Measured = tuple[float | None, float | None, float | None]


def comparison(data: ReportData) -> Table:
    """Compare the served model with its baselines: one row per metric, each number with its interval."""
    k, wide = data.k, data.wide_k
    metrics = (
        (f"Recall@{k}", "recall", k, "all"),
        (f"Recall@{k}, beyond the head", "recall", k, "beyond_head"),
        (f"NDCG@{k}", "ndcg", k, "all"),
        (f"Hit rate@{k}", "hit_rate", k, "all"),
        (f"MRR@{k}", "mrr", k, "all"),
        (f"Recall@{wide}", "recall", wide, "all"),
        (f"Coverage@{k}", "coverage", k, "all"),
    )
    rows = [
        (head, _best_marked([data.metric(model, metric, cut_off, bucket) for model in data.models], 3))
        for head, metric, cut_off, bucket in metrics
    ]
    return Table(
        f"The model at γ = {weight_text(data.served_popularity_weight)} and its baselines, with "
        f"{100 * data.interval_level:.0f} % intervals in small type. Bold marks the largest value of a row.",
        ["Metric", *map(model_name, data.models)],
        _rows_with_numbers(rows),
    )


def popularity(data: ReportData) -> Table:
    """Show how popular the items in each model's lists are: one row per metric."""
    metrics: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
        ("Gini of exposure", "gini", lambda value: formatting.decimal(value, 2)),
        (
            "Mean popularity of lists",
            "average_recommendation_popularity",
            lambda value: formatting.decimal(value, 1),
        ),
        ("Popularity lift", "popularity_lift", formatting.signed),
        ("Share of tail and cold (APLT)", "aplt", formatting.percent),
        ("Novelty, bits", "novelty", lambda value: formatting.decimal(value, 1)),
        ("Calibration (JSD)", "calibration", lambda value: formatting.decimal(value, 3)),
    )
    rows = [
        (head, [Cell(write(data.metric(model, metric)[0])) for model in data.models]) for head, metric, write in metrics
    ]
    return Table(
        f"Popularity of the items in the top {data.k}.",
        ["Metric", *map(model_name, data.models)],
        _rows_with_numbers(rows),
    )


def against_baselines(data: ReportData) -> Table:
    """List the differences from each baseline, paired by user, in percentage points."""
    others = [model for model in data.models if model in set(data.differences["other"])]
    rows = [
        (head, [_points(data.difference(other, metric, bucket, k)) for other in others])
        for head, metric, bucket, k in _paired(data)
    ]
    return Table(
        "This model minus each baseline, paired by user, in percentage points.",
        ["Metric", *(f"Minus {name_in_sentence(other)}" for other in others)],
        _rows_with_numbers(rows) if others else [],
    )


def predecessor(data: ReportData) -> Table:
    """Compare this version with the one served before, with differences in percentage points."""
    rows = []
    for head, metric, bucket, k in (
        *_paired(data),
        (f"Coverage@{data.k}", "coverage", "all", data.k),
        ("Gini of exposure", "gini", "all", data.k),
    ):
        result = data.difference(PREDECESSOR, metric, bucket, k)
        if result["difference"] is not None:
            values = [Cell(formatting.decimal(result[column])) for column in ("value", "other_value")]
            cells = [*values, _points(result)]
            rows.append((head, cells))
    return Table(
        "This version and the one served before, on the same users. Differences are in percentage points, with "
        "intervals paired by user.",
        ["Metric", "This version", "Served before", "Difference"],
        rows,
    )


def predecessor_categories(data: ReportData) -> Table:
    """List the categories whose recall differs from the predecessor's, with an interval that does not contain 0."""
    clear = (
        data.differences.filter(other=PREDECESSOR, metric="category_recall")
        .filter((pl.col("low") > 0) | (pl.col("high") < 0))
        .sort("difference", "bucket", descending=[True, False])
    )
    rows = [
        (
            row["bucket"],
            [
                Cell(formatting.decimal(row["value"])),
                Cell(formatting.decimal(row["other_value"])),
                _points(row),
                Cell(formatting.whole(row["users"])),
            ],
        )
        for row in clear.iter_rows(named=True)
    ]
    return Table(
        f"Recall@{data.k} on the clicks in a category, where the interval of the difference does not contain 0.",
        ["Category", "This version", "Served before", "Difference", "Users"],
        rows,
    )


def recall_by_bucket(data: ReportData) -> Table:
    """List the numbers behind the chart of recall by bucket."""
    present = set(data.metrics.filter(pl.col("metric") == "recall")["bucket"])
    buckets = [bucket for bucket in (*theme.BUCKET_COLOURS, "beyond_head") if bucket in present]
    rows = [
        (bucket_name(bucket), [_cell(data.metric(model, "recall", bucket=bucket), 3) for model in data.models])
        for bucket in buckets
    ]
    return Table(f"Recall@{data.k} by bucket.", ["Bucket", *map(model_name, data.models)], _rows_with_numbers(rows))


def exposure(data: ReportData) -> Table:
    """List the numbers behind the chart of exposure: catalogue, clicks and each model's lists."""
    rows = theme.with_series(data.served(data.exposure))
    names, _ = theme.series_scale(rows)
    columns = {"catalogue_share": "Catalogue", "click_share": "Clicks"}

    def share(bucket: str) -> list[Cell]:
        of_bucket = rows.filter(bucket=bucket)
        overall = [of_bucket[column].drop_nulls().to_list()[:1] for column in columns]
        by_model = [of_bucket.filter(series=name)["exposure_share"].to_list()[:1] for name in names]
        return [Cell(formatting.percent(value[0] if value else None)) for value in (*overall, *by_model)]

    buckets = [bucket for bucket in theme.BUCKET_COLOURS if bucket in set(rows["bucket"])]
    return Table(
        "Shares of items, of clicks and of list positions.",
        ["Bucket", *columns.values(), *names],
        _rows_with_numbers([(bucket_name(bucket), share(bucket)) for bucket in buckets]),
    )


def categories(frame: pl.DataFrame, which: str = "Categories") -> Table:
    """List categories: items, items recommended, exposure share and click share. The caption starts with `which`."""
    rows = [
        (
            name,
            [
                Cell(formatting.whole(items)),
                Cell(formatting.whole(shown)),
                Cell(formatting.percent(shown / items)),
                Cell(formatting.percent(exposure_share)),
                Cell(formatting.percent(click_share)),
            ],
        )
        for name, items, shown, exposure_share, click_share in frame.iter_rows()
    ]
    heads = ["Category", "Items", "Recommended", "Coverage", "Exposure share", "Click share"]
    return Table(
        f"{which} by number of items: items, items in at least one list, share of list positions and of clicks.",
        heads,
        rows,
    )


def weights(data: ReportData) -> Table:
    """Show the metrics at each γ."""
    ours = data.metrics.filter((pl.col("model") == "two_tower") & pl.col("popularity_weight").is_not_null())
    metrics = (
        (f"Recall@{data.k}", "recall", "all"),
        ("Beyond the head", "recall", "beyond_head"),
        ("Tail", "recall", "tail"),
        (f"Coverage@{data.k}", "coverage", "all"),
        ("Gini", "gini", "all"),
    )
    rows = []
    for weight in ours["popularity_weight"].unique().sort():
        at_weight = ours.filter(
            (pl.col("popularity_weight") == weight) & (pl.col("k").is_null() | (pl.col("k") == data.k))
        )
        cells = [
            _cell(_first(at_weight.filter((pl.col("metric") == metric) & (pl.col("bucket") == bucket))), 3)
            for _, metric, bucket in metrics
        ]
        rows.append((_weight_head(data, weight), cells))
    caption = (
        f"The same model at each popularity weight: recall@{data.k} over all items, beyond the head and in the tail, "
        "catalogue coverage, and the Gini coefficient of exposure."
    )
    return Table(caption, ["γ", *(head for head, *_ in metrics)], _rows_with_numbers(rows))


def diagnostics(data: ReportData) -> Table:
    """Show δ with its interval, the δ of exact PMI, the slope on log q, and the correlation with PMI."""
    rows = [
        (
            _weight_head(data, weight),
            [
                Cell(formatting.signed(delta), formatting.interval(low, high, 2, sign=True)),
                Cell(formatting.signed(1 - weight)),
                Cell(formatting.signed(slope)),
                Cell(formatting.signed(correlation)),
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
    return Table("How much popularity the score lacks to be a click probability.", heads, rows)


def training(data: ReportData) -> Table:
    """Summarise the training: epochs, loss, the best validation metric, throughput."""
    curves = data.curves.sort("epoch")
    loss, validation = curves.drop_nulls("loss"), curves.drop_nulls("validation_metric")
    rows = [("Epochs", [Cell(formatting.whole(len(curves)) if len(curves) else formatting.ABSENT)])]
    if len(loss):
        rows.append(("Loss of the last epoch", [Cell(formatting.decimal(loss["loss"][-1]))]))
    if len(validation):
        best = validation.sort("validation_metric", descending=True, maintain_order=True).row(0, named=True)
        note = f"epoch {best['epoch']}"
        rows.append(("Best validation metric", [Cell(formatting.decimal(best["validation_metric"]), note)]))
    speeds = curves["pairs_per_second"].drop_nulls().to_list()
    if speeds:
        rows.append(("Pairs per second, mean", [Cell(formatting.whole(sum(speeds) / len(speeds)))]))
    return Table("Training summary.", ["Measure", "Value"], _rows_with_numbers(rows))


def settings(data: ReportData, *, changed: bool) -> Table:
    """List the training settings that differ from their defaults (`changed`), or those that do not."""
    rows = [
        (setting.name, [Cell(setting.value), Cell(setting.default), Cell(setting.meaning)])
        for setting in data.settings
        if (setting.value != setting.default) == changed
    ]
    caption = "Settings that differ from their defaults." if changed else "Settings at their defaults."
    return Table(caption, ["Setting", "Value", "Default", "Meaning"], rows)


def index(data: ReportData) -> Table:
    """Show recall and queries per second of the index per γ."""
    rows = [
        (
            _weight_head(data, weight),
            [Cell(formatting.decimal(recall)), Cell(formatting.whole(k)), Cell(formatting.whole(speed))],
        )
        for weight, recall, k, speed in data.index_quality.drop_nulls("popularity_weight")
        .sort("popularity_weight")
        .iter_rows()
    ]
    heads = ["γ", "Recall of exact search", "k", "Queries per second"]
    return Table("The vector index compared with exact search.", heads, rows)


def lineage(data: ReportData) -> Table:
    """List the inputs of the report."""
    rows = [
        (
            name,
            [
                Cell(version or formatting.ABSENT),
                Cell(formatting.ABSENT if snapshot is None else str(snapshot)),
                Cell(detail),
            ],
        )
        for name, version, snapshot, detail in data.lineage
    ]
    return Table("Inputs of this page.", ["Name", "Version", "Lake snapshot", "Detail"], rows)


def sizes(data: ReportData) -> list[tuple[str, str]]:
    """Return the known sizes of the data, as label and number."""
    return [
        (name.replace("_", " ").capitalize(), formatting.whole(count))
        for name, count in data.counts.items()
        if formatting.whole(count) != formatting.ABSENT
    ]


def _weight_head(data: ReportData, weight: float) -> str:
    served = abs(weight - data.served_popularity_weight) < 1e-9
    return f"{weight_text(weight)} (served)" if served else weight_text(weight)


def _cell(measured: Measured, decimals: int) -> Cell:
    value, low, high = measured
    return Cell(formatting.decimal(value, decimals), formatting.interval(low, high, decimals))


def _best_marked(row: Sequence[Measured], decimals: int) -> list[Cell]:
    """Return the cells of a row, with the largest marked where there are at least two values."""
    values = [value for value, *_ in row if value is not None]
    top = max(values) if len(values) > 1 else None
    return [
        Cell(cell.text, cell.note, best=top is not None and measured[0] == top)
        for cell, measured in ((_cell(measured, decimals), measured) for measured in row)
    ]


def _paired(data: ReportData) -> list[tuple[str, str, str, int]]:
    """Head, metric, bucket and cut-off of each comparison that is paired by user."""
    k, wide = data.k, data.wide_k
    buckets = [(f"Recall@{k}, {bucket_name(name).lower()}", "recall", name, k) for name in theme.RECALL_BUCKETS]
    return [
        (f"Recall@{k}", "recall", "all", k),
        *buckets,
        (f"NDCG@{k}", "ndcg", "all", k),
        (f"Recall@{wide}", "recall", "all", wide),
    ]


def _points(result: Mapping[str, float | None]) -> Cell:
    """Format a difference in percentage points with its interval."""
    low, high = result["low"], result["high"]
    note = "" if low is None or high is None else formatting.interval(100 * low, 100 * high, 1, sign=True)
    return Cell(formatting.points(result["difference"]), note)


def _rows_with_numbers(rows: Sequence[tuple[str, Sequence[Cell]]]) -> list[tuple[str, Sequence[Cell]]]:
    """Drop the rows without any number."""
    return [(name, cells) for name, cells in rows if any(cell.text != formatting.ABSENT for cell in cells)]


def _first(rows: pl.DataFrame) -> Measured:
    return rows.select("value", "low", "high").row(0) if len(rows) else (None, None, None)

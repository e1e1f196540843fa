"""The report's tables: which numbers stand in which row, as text ready to print.

Which rows and columns there are, and their order, belongs here. How a number is written is in `words`; there
is no HTML.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from twotower_assets.reporting import theme, words
from twotower_assets.reporting.report_data import ReportData
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
    """Set the served model beside its baselines, each number with its interval."""
    k, wide = data.k, data.wide_k
    asked = (
        (f"Recall@{k}", "recall", k, "all"),
        (f"NDCG@{k}", "ndcg", k, "all"),
        (f"Recall@{wide}", "recall", wide, "all"),
        (f"Coverage@{k}", "coverage", k, "all"),
        (f"Beyond-head recall@{k}", "recall", k, "beyond_head"),
    )
    columns = [
        _best_first([data.metric(model, metric, at, bucket) for model in data.models], 3)
        for _, metric, at, bucket in asked
    ]
    return Table(
        f"The model at γ = {weight_text(data.served_popularity_weight)} and its baselines; "
        f"below each number its {100 * data.interval_level:.0f} % interval.",
        ["Model", *(head for head, *_ in asked)],
        _by_row([model_name(model) for model in data.models], columns),
    )


def popularity(data: ReportData) -> Table:
    """Show what each model does to popular items."""
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
        (model_name(model), [Cell(write(data.metric(model, metric)[0])) for _, metric, write in asked])
        for model in data.models
    ]
    return Table(
        f"What the first {data.k} suggestions do to popular items.",
        ["Model", *(head for head, *_ in asked)],
        _told(rows),
    )


def recall_by_bucket(data: ReportData) -> Table:
    """Give the numbers behind the chart of recall by bucket."""
    present = set(data.metrics.filter(pl.col("metric") == "recall")["bucket"])
    buckets = [bucket for bucket in (*theme.BUCKET_COLOURS, "beyond_head") if bucket in present]
    columns = [[_cell(data.metric(model, "recall", bucket=bucket), 3) for model in data.models] for bucket in buckets]
    names = [model_name(model) for model in data.models]
    return Table(f"Recall@{data.k} by bucket.", ["Model", *map(bucket_name, buckets)], _by_row(names, columns))


def exposure(data: ReportData) -> Table:
    """Give the numbers behind the chart of exposure: catalogue, clicks and each model's lists."""
    rows = theme.with_series(data.served(data.exposure))
    buckets = [bucket for bucket in theme.BUCKET_COLOURS if bucket in set(rows["bucket"])]

    def share(column: str, series: str | None) -> list[Cell]:
        held = dict(rows.filter(pl.col("series") == series if series else True).select("bucket", column).iter_rows())
        return [Cell(words.percent(held.get(bucket))) for bucket in buckets]

    names, _ = theme.series_scale(rows)
    lines = [
        ("Catalogue", share("catalogue_share", None)),
        ("Clicks", share("click_share", None)),
        *((name, share("exposure_share", name)) for name in names),
    ]
    return Table(
        "Shares of items, of clicks and of places in lists.",
        ["Share of", *map(bucket_name, buckets)],
        _told(lines),
    )


def categories(frame: pl.DataFrame) -> Table:
    """List categories with items, items recommended, and shares of places and of clicks."""
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
        "Categories by number of items: items, those in at least one list, shares of places and of clicks.",
        heads,
        rows,
    )


def weights(data: ReportData) -> Table:
    """Show what turning γ changes."""
    ours = data.metrics.filter((pl.col("model") == "two_tower") & pl.col("popularity_weight").is_not_null())
    asked = (
        (f"Recall@{data.k}", "recall", "all"),
        ("Beyond head", "recall", "beyond_head"),
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
    return Table("The vector index against exact search.", ["γ", "Recall@k", "k", "Queries per second"], rows)


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


def _by_row(names: Sequence[str], columns: Sequence[Sequence[Cell]]) -> list[tuple[str, Sequence[Cell]]]:
    return _told([(name, [column[place] for column in columns]) for place, name in enumerate(names)])


def _told(rows: Sequence[tuple[str, Sequence[Cell]]]) -> list[tuple[str, Sequence[Cell]]]:
    """Leave out the rows that hold no number at all."""
    return [(name, cells) for name, cells in rows if any(cell.text != words.ABSENT for cell in cells)]


def _first(rows: pl.DataFrame) -> Measured:
    return rows.select("value", "low", "high").row(0) if len(rows) else (None, None, None)

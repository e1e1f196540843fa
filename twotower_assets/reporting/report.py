"""The popularity report: one self-contained HTML page from one `ReportData`.

The order of the page and the call of the template belong here. Sentences are in `sentences`, tables in
`report_tables`, charts in `charts`. The page fetches nothing and runs no script.
"""

from collections.abc import Callable, Mapping

import polars as pl

from twotower_assets.reporting import charts, formatting, sentences, terms, theme, version_charts
from twotower_assets.reporting import report_tables as tables
from twotower_assets.reporting.report_data import (
    PREDECESSOR,
    LineageEntry,
    RecommendedItem,
    ReportData,
    SampleUser,
    Setting,
)

__all__ = ["LineageEntry", "RecommendedItem", "ReportData", "SampleUser", "Setting", "draw_charts", "render_report"]

LISTED_IN_TABLE = 60
"""How many categories the tables list at most."""


def render_report(data: ReportData, drawn: Mapping[str, str] | None = None) -> str:
    """Render the report to one HTML document that needs neither network nor script.

    Text from the data (titles, categories, notes) is escaped. What was not measured is omitted, or printed as `–`.

    Args:
        data: the content of the report.
        drawn: the charts, from `draw_charts`; None draws them.
    """
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("twotower_assets.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    every_category = charts.largest_categories(data.categories, len(data.categories))
    template = environment.get_template("report.html.jinja")
    page = template.render(
        data=data,
        findings=sentences.findings(data),
        warnings=sentences.warnings(data),
        trained_weight=sentences.trained_weight(data),
        gini=sentences.gini_sentence(data),
        limitations=sentences.limitations(data),
        predecessor=sentences.predecessor_sentence(data),
        slopes=sentences.slope_sentences(data),
        sizes=tables.sizes(data),
        charts={name: Markup(svg) for name, svg in (drawn or draw_charts(data)).items()},
        tables=_tables(data, every_category),
        categories=len(every_category),
        listed_categories=charts.LISTED_CATEGORIES,
        listed_in_table=LISTED_IN_TABLE,
        term_of=terms.term_of,
        whole=formatting.whole,
        bucket_name=theme.bucket_name,
        bucket_colours=theme.BUCKET_COLOURS,
        weight_text=theme.weight_text,
        is_served=lambda weight: abs(weight - data.served_popularity_weight) < 1e-9,
    )
    return theme.printable(page)


def _tables(data: ReportData, every_category: pl.DataFrame) -> dict[str, tables.Table]:
    return {
        "comparison": tables.comparison(data),
        "popularity": tables.popularity(data),
        "against_baselines": tables.against_baselines(data),
        "predecessor": tables.predecessor(data),
        "predecessor_categories": tables.predecessor_categories(data),
        "recall_by_bucket": tables.recall_by_bucket(data),
        "exposure": tables.exposure(data),
        "largest_categories": tables.categories(every_category[: charts.LISTED_CATEGORIES], "Largest categories"),
        "categories": tables.categories(
            every_category[charts.LISTED_CATEGORIES : LISTED_IN_TABLE], "The next categories"
        ),
        "weights": tables.weights(data),
        "diagnostics": tables.diagnostics(data),
        "training": tables.training(data),
        "settings_changed": tables.settings(data, changed=True),
        "settings_default": tables.settings(data, changed=False),
        "index": tables.index(data),
        "lineage": tables.lineage(data),
    }


def draw_charts(data: ReportData) -> dict[str, str]:
    """Draw the charts as SVG, by name; a chart without data is an empty string, and the page omits it."""
    metrics = data.metrics
    weighted = metrics.drop_nulls("popularity_weight")
    drawn: dict[str, tuple[bool, Callable[[], str]]] = {
        "recall_by_bucket": (
            not metrics.filter(bucket="head").is_empty(),
            lambda: charts.recall_by_bucket(data.served(metrics), data.k),
        ),
        "exposure_share": (
            not data.exposure.is_empty(),
            lambda: charts.exposure_share(data.served(data.exposure)),
        ),
        "lorenz_curve": (not data.lorenz.is_empty(), lambda: charts.lorenz_curve(data.lorenz)),
        "category_coverage": (
            not data.categories.is_empty(),
            lambda: charts.category_coverage(data.categories),
        ),
        "popularity_tradeoff": (
            weighted["popularity_weight"].n_unique() > 1,
            lambda: charts.popularity_tradeoff(metrics, data.k, data.served_popularity_weight),
        ),
        "popularity_delta": (
            data.popularity_diagnostics["delta"].count() > 0,
            lambda: charts.popularity_delta(data.popularity_diagnostics),
        ),
        "paired_differences": (
            data.difference(PREDECESSOR, "recall")["difference"] is not None,
            lambda: version_charts.paired_differences(data.differences, PREDECESSOR, data.k),
        ),
        "loss_curve": (not data.curves.is_empty(), lambda: charts.loss_curve(data.curves)),
        "index_quality": (
            not data.index_quality.is_empty(),
            lambda: charts.index_quality(data.index_quality),
        ),
    }
    return {name: draw() if has_data else "" for name, (has_data, draw) in drawn.items()}

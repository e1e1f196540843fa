"""Dagster metadata of trainings, indexes, the champion, reports and comparisons: numbers to plot, and charts.

The results are computed in `experiments` and `serving`; charts and texts are made in `reporting`.
"""

from pathlib import Path
from typing import Any

import dagster as dg

from twotower_assets.experiments.compare_recipes import RecipeComparison
from twotower_assets.experiments.evaluate_model import negative_counts
from twotower_assets.experiments.train_day import TrainedDay
from twotower_assets.experiments.write_report import WrittenReport
from twotower_assets.serving import promotion
from twotower_assets.serving.promotion import Decision
from twotower_assets.serving.publish_champion import PublishedChampion
from twotower_assets.serving.publish_index import PublishedIndex
from twotower_assets.serving.report_server import report_url
from twotower_assets.settings import Settings

CHARTS = {
    "recall_by_bucket": "recall@20 by popularity bucket",
    "exposure_share": "Exposure and clicks by bucket",
    "lorenz_curve": "Lorenz curve of the exposure",
    "popularity_tradeoff": "Recall against long-tail metrics, over the popularity weight γ",
    "paired_differences": "recall@20 compared with the version served before",
}
"""The charts of the report that Dagster also shows, with their alternative texts."""


def training_metadata(made: TrainedDay) -> dict[str, Any]:
    """Metadata of `tower_checkpoint`."""
    from twotower_assets.reporting.charts import loss_curve
    from twotower_assets.reporting.markdown_images import sparkline

    trained, best, manifest = made.trained, made.best_epoch, made.artifact.manifest
    return {
        "loss_by_epoch": _image(sparkline(made.epochs["loss"].to_list()), "Loss by epoch"),
        "loss_curve": _image(loss_curve(made.epochs), "Loss and recall by epoch"),
        "model_version": made.artifact.version,
        "recipe": manifest["recipe"],
        "trained_popularity_weight": trained.config.trained_popularity_weight,
        "trained_weight_is_known": trained.config.trained_weight_is_known,
        "training_pairs": len(trained.training_set.user),
        "users": len(trained.training_set.encoder.users.ids.ids),
        "items": len(trained.training_set.encoder.items.ids.ids),
        "epochs": len(trained.result.reports),
        "best_epoch": trained.result.best_epoch,
        "loss": best.loss,
        "validation_recall_at_20": best.validation_metric,
        "pairs_per_second": best.pairs_per_second,
        "repeat_share": best.repeat_share,
        **negative_counts(best),
        "lake_snapshot": manifest["lake_snapshot"],
    }


def index_metadata(made: PublishedIndex, settings: Settings) -> dict[str, Any]:
    """Metadata of `ann_index`: the numbers at the chosen search depth, their chart, and the whole curve."""
    from twotower_assets.reporting.charts import index_quality

    depth = next(row["search_depth"] for row in made.depths if row["chosen"])
    lines = [
        f"| {row['search_depth'] or 'exact'} | {row['popularity_weight']:g} | {row['recall_at_k']:.4f} | "
        f"{row['queries_per_second']:,.0f} | {'●' if row['chosen'] else ''} |"
        for row in made.depths
    ]
    head = ["| search depth | γ | recall@k | queries per second | chosen |", "| --- | --- | --- | --- | --- |"]
    return {
        "index_version": made.artifact.version,
        "model_version": made.model_version,
        "path": _path(made.artifact.folder, settings),
        "factory": made.index.factory,
        "vectors": len(made.index),
        "lake_snapshot": made.snapshot,
        **({} if depth is None else {"search_depth": depth}),
        "recall_at_100": made.served["recall_at_k"].min(),
        "queries_per_second": made.served["queries_per_second"].min(),
        "depths": dg.MetadataValue.md("\n".join(head + lines)),
        "quality": _image(index_quality(made.served), "Recall and speed of the index"),
    }


def champion_metadata(made: PublishedChampion) -> dict[str, Any]:
    """Metadata of `champion`: the served version, and every decision with its reasons."""
    return {
        "model_version": made.served.model_version,
        "index_version": made.served.index_version,
        "model_day": str(made.served.model_day),
        "decisions": dg.MetadataValue.md(_decision_table(made.decisions)),
        "refused": [
            f"{each.version.model_version}: {each.reasons}"
            for each in made.decisions
            if each.decision == promotion.REFUSED
        ],
    }


def _decision_table(decisions: list[Decision]) -> str:
    if not decisions:
        return "There is no newer version; the champion stays."
    lines = [f"| `{each.version.model_version}` | {each.decision} | {_cell(each.reasons)} |" for each in decisions]
    return "\n".join(["| version | decision | reasons |", "| --- | --- | --- |", *lines])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def report_metadata(made: WrittenReport, settings: Settings) -> dict[str, Any]:
    """Metadata of `popularity_bias_report`: a link to the page, headline numbers, charts, and the page's path."""
    return {
        "report": dg.MetadataValue.url(report_url(settings.report_address, made.artifact.version)),
        **_headline(made.data),
        **{name: _image(made.charts[name], alt) for name, alt in CHARTS.items() if made.charts[name]},
        "path": _path(made.page, settings),
        "report_version": made.artifact.version,
        "model_version": made.checkpoint.version,
        "lake_snapshot": made.snapshot,
    }


def _path(path: Path, settings: Settings) -> dg.PathMetadataValue:
    """A path relative to the home folder: the Dagster UI cannot wrap a long one, and would cut off its table."""
    return dg.MetadataValue.path(str(path.relative_to(settings.home)))


def _headline(data: Any) -> dict[str, Any]:
    from twotower_assets.reporting.report_data import PREDECESSOR
    from twotower_assets.reporting.sentences import summary_sentences

    headline = {
        "recall_at_20": ("recall", 20, "all"),
        "ndcg_at_20": ("ndcg", 20, "all"),
        "recall_at_100": ("recall", 100, "all"),
        "beyond_head_at_20": ("recall", 20, "beyond_head"),
        "coverage_at_20": ("coverage", 20, "all"),
        "gini_at_20": ("gini", 20, "all"),
    }
    prefixes = {"two_tower": "", "most_popular": "popular_", "ease": "ease_"}
    numbers = {
        prefixes[model] + name: data.metric(model, metric, k, bucket)[0]
        for model in data.models
        for name, (metric, k, bucket) in headline.items()
    }
    delta = data.served(data.popularity_diagnostics)["delta"].to_list()
    numbers["delta"] = delta[0] if delta else None
    numbers["recall_at_20_gained"] = data.difference(PREDECESSOR, "recall")["difference"]
    measured = {name: value for name, value in numbers.items() if value is not None}
    return {"summary": dg.MetadataValue.md("\n\n".join(summary_sentences(data))), **measured}


def comparison_metadata(made: RecipeComparison, served_weight: float) -> dict[str, Any]:
    """Metadata of `negative_sampling_comparison`: the recommendation, the tables and the charts."""
    from twotower_assets.reporting import recipe_charts as charts
    from twotower_assets.reporting.recipe_summary import comparison_table, diagnostics_table

    table = comparison_table(made.rows, made.runs, made.diagnostics, served_weight)
    return {
        "recommendation": dg.MetadataValue.md(made.recommendation),
        "comparison": dg.MetadataValue.md(table),
        "popularity": dg.MetadataValue.md(diagnostics_table(made.diagnostics, served_weight)),
        "gains": _image(charts.gains_over_baseline(made.rows), "Gains over the baseline, with intervals"),
        "missing_popularity": _image(
            charts.missing_popularity_by_recipe(made.diagnostics), "Missing popularity by recipe"
        ),
        "tradeoff": _image(charts.recipe_tradeoff(made.metrics), "What the popularity weight trades, by recipe"),
        "left_out": [f"{recipe}: {why}" for recipe, why in made.excluded.items()],
    }


def _image(svg: str, alt: str) -> dg.MarkdownMetadataValue:
    from twotower_assets.reporting.markdown_images import as_markdown_image

    return dg.MetadataValue.md(as_markdown_image(svg, alt))

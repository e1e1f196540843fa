"""The popularity report: what the model does to popular and to long-tail items, as tables, charts and one page.

What is measured lives in `experiments.evaluate_model`, how it is drawn and worded in `reporting`.
"""

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from twotower_assets.core.days import Days
from twotower_assets.core.popularity import REPORTED_WEIGHTS
from twotower_assets.defs.assets.embeddings_and_index import checkpoint_of
from twotower_assets.defs.partitions import Partitions, day_of, trailing_window
from twotower_assets.defs.publish import artifact_rows, commit_tables
from twotower_assets.defs.specs import (
    asset_spec,
    code_files,
    code_version,
    folder_of,
    key_of,
    sql_files,
)
from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out
from twotower_assets.lake.artifacts import Artifact, ArtifactInput, Provenance, TableInput
from twotower_assets.lake.queries import read_query
from twotower_assets.lake.staging import stage_rows
from twotower_assets.lake.tables import REPORTS, names
from twotower_assets.workspace import Workspace

REPORT_FILE = "report.html"
READ = ("predecessor", "training_curves", "index_quality")
"""The queries of `sql/reports/` that the page is made from."""
CHARTS = {
    "recall_by_bucket": "recall@20 by popularity bucket",
    "exposure_share": "Exposure and clicks by bucket",
    "lorenz_curve": "Lorenz curve of the exposure",
    "popularity_tradeoff": "Recall against long-tail metrics, over the popularity weight γ",
    "paired_differences": "recall@20 compared with the version served before",
}
"""The charts of the page that Dagster shows too, with their alternative texts."""
DATA_NOTES = {
    "movielens": [
        "MovieLens-100K has ratings, not exposures: a rating of 4 or 5 counts as a click, a lower one as shown and not "
        "clicked.",
        "Only some ratings are clicks, so these numbers are not comparable with benchmarks that use every rating as a "
        "positive.",
        "MovieLens-100K: F. M. Harper and J. A. Konstan, ACM TiiS 5 (2015); GroupLens licence, not redistributed.",
    ],
    "kuairand": [
        "KuaiRand-Pure: real exposures of a short-video app; Gao et al., CIKM 2022; licence CC BY-SA 4.0.",
    ],
}


def report_assets(workspace: Workspace, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """`popularity_bias_report`."""
    keys = [key_of(name) for name in ("tower_checkpoint", "training_curves", "ann_index", "items", "users")]
    window = trailing_window(partitions, workspace.settings.window_days)

    @dg.multi_asset(
        name="popularity_bias_report",
        specs=[
            asset_spec(
                "popularity_bias_report",
                description=(
                    "How well a day's model finds held-out clicks, for popular and for long-tail items, beside "
                    "most-popular, EASE and the version that is served, at several popularity weights γ; how much "
                    "popularity its scores miss (δ). "
                    f"One HTML page a day, and the tables {', '.join(f'`{name}`' for name in names(REPORTS))}.\n\n"
                    "**Used for:** deciding whether a model may be served, and at which γ."
                ),
                deps=[dg.AssetDep(key_of("training_pairs"), partition_mapping=window), *map(dg.AssetDep, keys)],
                kinds={"duckdb", "html"},
                metadata=folder_of("popularity_bias_report", workspace),
                version=code_version(
                    [
                        *code_files("core", "evaluation", "reporting"),
                        *code_files(
                            "experiments/hold_out.py",
                            "experiments/evaluate_model.py",
                            "experiments/compare_versions.py",
                            "experiments/predecessor.py",
                            "experiments/sample_users.py",
                            "defs/assets/popularity_bias_report.py",
                        ),
                        *sql_files(*(f"reports/{name}.sql" for name in READ)),
                    ]
                ),
            )
        ],
        partitions_def=partitions,
    )
    def popularity_bias_report(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult:
        return _report(context, workspace)

    return [popularity_bias_report]


def _report(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    from twotower_assets.experiments import evaluate_model as evaluation
    from twotower_assets.reporting.report import draw_charts, render_report
    from twotower_assets.two_tower.checkpoint import load_checkpoint

    day, served_weight = day_of(context), workspace.settings.popularity_weight
    with workspace.lake.reader() as con:
        artifact = checkpoint_of(con, workspace, day)
    snapshot = artifact.manifest["lake_snapshot"]
    rule = HoldOutRule(**artifact.manifest["details"])
    with workspace.lake.reader(snapshot) as con:
        hold_out = read_hold_out(con, rule, day, snapshot)
    judged = evaluation.judge_checkpoint(load_checkpoint(artifact.folder), hold_out, workspace.settings.popularity_from)
    lists = evaluation.recommendation_lists(judged, sorted({*REPORTED_WEIGHTS, served_weight}))
    served = [one for one in lists if one.popularity_weight in (None, served_weight)]
    rows = {
        "model_metrics": evaluation.metric_rows(judged, lists),
        "exposure_by_bucket": evaluation.exposure_rows(judged, lists),
        "category_coverage": evaluation.category_rows(judged, served[0]),
        "popularity_diagnostics": evaluation.diagnostic_rows(judged, served_weight),
    }
    keys = {"day": day, "model_version": artifact.version}
    with workspace.lake.writer() as con:
        frames = {name: stage_rows(con, name, [{**keys, **row} for row in rows[name]]) for name in rows}
        data = _report_data(con, workspace, artifact, judged, lists, frames)
        drawn = draw_charts(data)
        page = render_report(data, drawn)
        published = workspace.artifacts.publish(
            "popularity_bias_report",
            lambda folder: _write(folder, page),
            Provenance(
                model_day=day,
                lake_snapshot=snapshot,
                code_version=context.assets_def.code_versions_by_key[key_of("popularity_bias_report")] or "",
                run_id=context.run.run_id,
                tables=(TableInput("training_pairs", snapshot, *_window(artifact)),),
                artifacts=(ArtifactInput("tower_checkpoint", artifact.version),),
                details=_measured(con),
            ),
        )
        stage_rows(con, "artifacts", artifact_rows(published, workspace))
        written = commit_tables(context, workspace, con, [*names(REPORTS), "artifacts"], Days(day, day))
    return dg.MaterializeResult(
        asset_key=key_of("popularity_bias_report"),
        data_version=dg.DataVersion(published.content_hash),
        metadata={**_charts(drawn), **_headline(data), **_where(published, artifact, written)},
    )


def _measured(con: duckdb.DuckDBPyConnection) -> dict[str, float | None]:
    """The headline metrics of the staged report, which stay with it when a later model of the day takes its rows."""
    cursor = con.execute(read_query("reports/measured.sql"))
    names = [column[0] for column in cursor.description or []]
    return dict(zip(names, cursor.fetchall()[0], strict=True))


def _report_data(
    con: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    artifact: Artifact,
    judged: Any,
    lists: list[Any],
    frames: dict[str, Any],
) -> Any:
    import polars as pl

    from twotower_assets.experiments import evaluate_model as evaluation
    from twotower_assets.experiments.predecessor import predecessor_of
    from twotower_assets.experiments.sample_users import RULE, sample_users
    from twotower_assets.reporting.frames import DIFFERENCES
    from twotower_assets.reporting.report_data import ReportData, at_weight

    dataset, rule = workspace.source.dataset, HoldOutRule(**artifact.manifest["details"])
    curves, quality = (
        pl.DataFrame(pl.from_arrow(con.execute(read_query(file), {"version": artifact.version}).to_arrow_table()))
        for file in ("reports/training_curves.sql", "reports/index_quality.sql")
    )
    predecessor = predecessor_of(con, workspace, artifact.version)
    weight = workspace.settings.popularity_weight
    served = [one for one in lists if one.popularity_weight in (None, weight)]
    others = {
        one.model if one.popularity_weight is None else at_weight(one.popularity_weight): one
        for one in lists
        if one.popularity_weight != weight
    }
    paired = evaluation.paired_rows(judged, served[0], others)
    first, last = (date.fromisoformat(one) for one in _window(artifact))
    return ReportData(
        title="Recommendation quality, from the head to the long tail",
        dataset=dataset,
        as_of=date.fromisoformat(artifact.manifest["model_day"]),
        model_version=artifact.version,
        served_popularity_weight=weight,
        hold_out=rule.description,
        data_notes=DATA_NOTES.get(dataset, []),
        metrics=frames["model_metrics"],
        exposure=frames["exposure_by_bucket"],
        lorenz=evaluation.lorenz_points(judged, served),
        categories=frames["category_coverage"],
        popularity_diagnostics=frames["popularity_diagnostics"],
        curves=curves,
        index_quality=quality,
        differences=pl.concat([DIFFERENCES.conform(one) for one in (paired, predecessor.differences)]),
        predecessor_version=predecessor.version,
        predecessor_note=predecessor.note,
        samples=sample_users(judged),
        samples_rule=RULE,
        settings=_settings(judged.checkpoint.config),
        window=(first, last),
        lineage=_lineage(artifact),
        recipe=artifact.manifest["recipe"] or "",
        trained_popularity_weight=judged.checkpoint.trained_popularity_weight,
        trained_weight_is_known=judged.checkpoint.trained_weight_is_known,
        counts={
            "training_clicks": int(judged.counts.sum()),
            "test_clicks": len(judged.view.relevant.values),
            "users_evaluated": len(judged.view),
            "items": judged.hold_out.items.num_rows,
        },
    )


def _settings(config: Any) -> list[Any]:
    """Every setting of the training with its default and its meaning."""
    from twotower_assets.reporting.report_data import Setting

    return [
        Setting(name, _as_text(getattr(config, name)), _as_text(field.get_default()), field.description or "")
        for name, field in type(config).model_fields.items()
    ]


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_as_text, value)) or "none"
    if hasattr(value, "source"):
        options = (f"{name}={_as_text(one)}" for name, one in value if name != "source")
        return " ".join([value.source, *options])
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _lineage(checkpoint: Artifact) -> list[Any]:
    """What the page was made from: the checkpoint, its code and run, and the tables at the snapshot that it read."""
    from twotower_assets.reporting.report_data import LineageEntry

    manifest = checkpoint.manifest
    return [
        LineageEntry("tower_checkpoint", checkpoint.version, None, f"SHA-256 {manifest['content_hash']}"),
        *(
            LineageEntry(
                one["table"],
                None,
                one["snapshot"],
                f"{one['first_day']} to {one['last_day']}" if one["first_day"] else "",
            )
            for one in manifest["tables"]
        ),
        LineageEntry("Training code", manifest["code_version"], None, f"recipe {manifest['recipe'] or 'unnamed'}"),
        LineageEntry(
            "Training run in Dagster", manifest["run_id"], None, f"checkpoint created {manifest['created_at']} UTC"
        ),
    ]


def _write(folder: Path, page: str) -> None:
    (folder / REPORT_FILE).write_text(page, encoding="utf-8")


def _window(artifact: Artifact) -> tuple[str, str]:
    pairs = next(one for one in artifact.manifest["tables"] if one["table"] == "training_pairs")
    return pairs["first_day"], pairs["last_day"]


def _headline(data: Any) -> dict[str, Any]:
    from twotower_assets.reporting.report_data import PREDECESSOR
    from twotower_assets.reporting.sentences import summary_sentences

    places = {
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
        for name, (metric, k, bucket) in places.items()
    }
    delta = data.served(data.popularity_diagnostics)["delta"].to_list()
    numbers["delta"] = delta[0] if delta else None
    numbers["recall_at_20_gained"] = data.difference(PREDECESSOR, "recall")["difference"]
    measured = {name: value for name, value in numbers.items() if value is not None}
    return {"summary": dg.MetadataValue.md("\n\n".join(summary_sentences(data))), **measured}


def _charts(drawn: Mapping[str, str]) -> dict[str, dg.MetadataValue]:
    from twotower_assets.reporting.markdown_images import as_markdown_image

    return {
        name: dg.MetadataValue.md(as_markdown_image(drawn[name], alt)) for name, alt in CHARTS.items() if drawn[name]
    }


def _where(published: Artifact, checkpoint: Artifact, snapshot: int) -> dict[str, Any]:
    return {
        "report": dg.MetadataValue.url((published.folder / REPORT_FILE).as_uri()),
        "path": dg.MetadataValue.path(str(published.folder / REPORT_FILE)),
        "report_version": published.version,
        "model_version": checkpoint.version,
        "lake_snapshot": snapshot,
    }

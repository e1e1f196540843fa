"""The report on a day's model: evaluated on its hold-out, written as tables, drawn and published as one page.

`evaluate_model.py` computes the metrics; `reporting` draws and words them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from twotower_assets.core.days import Days
from twotower_assets.core.popularity import REPORTED_WEIGHTS
from twotower_assets.experiments.day_checkpoint import day_checkpoint
from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out
from twotower_assets.lake.artifacts import Artifact, ArtifactInput, Provenance, TableInput
from twotower_assets.lake.queries import read_query
from twotower_assets.lake.staging import stage_rows
from twotower_assets.lake.tables import REPORTS, names
from twotower_assets.lake.writing import Run, artifact_rows, commit_tables
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    from twotower_assets.recipes.config import TrainingConfig
    from twotower_assets.reporting.report_data import LineageEntry, ReportData, Setting

REPORT_FILE = "report.html"
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


@dataclass(frozen=True)
class WrittenReport:
    """A published report.

    Attributes:
        artifact: the folder of its page.
        checkpoint: the reported model.
        snapshot: of the lake, after the report's tables were written.
        data: the content of the page.
        charts: SVG by name; empty where there is nothing to draw.
    """

    artifact: Artifact
    checkpoint: Artifact
    snapshot: int
    data: ReportData
    charts: Mapping[str, str]

    @property
    def page(self) -> Path:
        """The HTML file."""
        return self.artifact.folder / REPORT_FILE


def write_report(workspace: Workspace, day: date, run: Run) -> WrittenReport:
    """Evaluate the model of a day and publish the report on it. Raises `LakeError` where no model was trained."""
    from twotower_assets.experiments import evaluate_model
    from twotower_assets.reporting.report import draw_charts, render_report
    from twotower_assets.two_tower.checkpoint import load_checkpoint

    served_weight = workspace.settings.popularity_weight
    with workspace.lake.reader() as con:
        checkpoint = day_checkpoint(con, workspace, day, run)
    snapshot = checkpoint.manifest["lake_snapshot"]
    rule = HoldOutRule(**checkpoint.manifest["details"])
    with workspace.lake.reader(snapshot) as con:
        hold_out = read_hold_out(con, rule, day, snapshot)
    evaluation = evaluate_model.evaluate_checkpoint(
        load_checkpoint(checkpoint.folder, checkpoint.content_hash), hold_out, workspace.settings.popularity_from
    )
    lists = evaluate_model.recommendation_lists(evaluation, sorted({*REPORTED_WEIGHTS, served_weight}))
    served = [entry for entry in lists if entry.popularity_weight in (None, served_weight)]
    rows = {
        "model_metrics": evaluate_model.metric_rows(evaluation, lists),
        "exposure_by_bucket": evaluate_model.exposure_rows(evaluation, lists),
        "category_coverage": evaluate_model.category_rows(evaluation, served[0]),
        "popularity_diagnostics": evaluate_model.diagnostic_rows(evaluation, served_weight),
    }
    keys = {"day": day, "model_version": checkpoint.version}
    with workspace.lake.writer() as con:
        frames = {name: stage_rows(con, name, [{**keys, **row} for row in rows[name]]) for name in rows}
        data = _report_data(con, workspace, checkpoint, evaluation, lists, frames)
        charts = draw_charts(data)
        page = render_report(data, charts)
        artifact = workspace.artifacts.publish(
            "popularity_bias_report",
            lambda folder: _write(folder, page),
            Provenance(
                model_day=day,
                lake_snapshot=snapshot,
                code_version=run.code_version,
                run_id=run.run_id,
                tables=(TableInput("training_pairs", snapshot, *_window(checkpoint)),),
                artifacts=(ArtifactInput("tower_checkpoint", checkpoint.version),),
                details=_headline_metrics(con),
            ),
        )
        stage_rows(con, "artifacts", artifact_rows(artifact, workspace.settings.home))
        written = commit_tables(workspace.lake, con, [*names(REPORTS), "artifacts"], Days(day, day), run)
    return WrittenReport(artifact, checkpoint, written, data, charts)


def _headline_metrics(con: duckdb.DuckDBPyConnection) -> dict[str, float | None]:
    """The headline metrics of the staged report. They stay with it when a later model of the day replaces its rows."""
    cursor = con.execute(read_query("reports/measured.sql"))
    names = [column[0] for column in cursor.description or []]
    return dict(zip(names, cursor.fetchall()[0], strict=True))


def _report_data(
    con: duckdb.DuckDBPyConnection,
    workspace: Workspace,
    artifact: Artifact,
    evaluation: Any,
    lists: list[Any],
    frames: dict[str, Any],
) -> ReportData:
    import polars as pl

    from twotower_assets.experiments import evaluate_model
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
    served = [entry for entry in lists if entry.popularity_weight in (None, weight)]
    others = {
        entry.model if entry.popularity_weight is None else at_weight(entry.popularity_weight): entry
        for entry in lists
        if entry.popularity_weight != weight
    }
    paired = evaluate_model.paired_rows(evaluation, served[0], others)
    first, last = (date.fromisoformat(day) for day in _window(artifact))
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
        lorenz=evaluate_model.lorenz_points(evaluation, served),
        categories=frames["category_coverage"],
        popularity_diagnostics=frames["popularity_diagnostics"],
        curves=curves,
        index_quality=quality,
        differences=pl.concat([DIFFERENCES.conform(frame) for frame in (paired, predecessor.differences)]),
        predecessor_version=predecessor.version,
        predecessor_note=predecessor.note,
        samples=sample_users(evaluation),
        samples_rule=RULE,
        settings=settings_of(evaluation.checkpoint.config),
        window=(first, last),
        lineage=_lineage(artifact),
        recipe=artifact.manifest["recipe"] or "",
        trained_popularity_weight=evaluation.checkpoint.trained_popularity_weight,
        trained_weight_is_known=evaluation.checkpoint.trained_weight_is_known,
        counts={
            "training_clicks": int(evaluation.counts.sum()),
            "test_clicks": len(evaluation.view.relevant.values),
            "users_evaluated": len(evaluation.view),
            "items": evaluation.hold_out.items.num_rows,
        },
    )


def settings_of(config: TrainingConfig) -> list[Setting]:
    """Every training setting with its value, default and description."""
    from twotower_assets.reporting.report_data import Setting

    return [
        Setting(name, _as_text(getattr(config, name)), _as_text(field.get_default()), field.description or "")
        for name, field in type(config).model_fields.items()
    ]


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_as_text, value)) or "none"
    if hasattr(value, "source"):
        options = (f"{name}={_as_text(option)}" for name, option in value if name != "source")
        return " ".join([value.source, *options])
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _lineage(checkpoint: Artifact) -> list[LineageEntry]:
    """What the page is based on: the checkpoint, its code and run, and the tables at the snapshot they were read."""
    from twotower_assets.reporting.report_data import LineageEntry

    manifest = checkpoint.manifest
    return [
        LineageEntry("tower_checkpoint", checkpoint.version, None, f"SHA-256 {manifest['content_hash']}"),
        *(
            LineageEntry(
                table["table"],
                None,
                table["snapshot"],
                f"{table['first_day']} to {table['last_day']}" if table["first_day"] else "",
            )
            for table in manifest["tables"]
        ),
        LineageEntry("Training code", manifest["code_version"], None, f"recipe {manifest['recipe'] or 'unnamed'}"),
        LineageEntry(
            "Training run in Dagster", manifest["run_id"], None, f"checkpoint created {manifest['created_at']} UTC"
        ),
    ]


def _write(folder: Path, page: str) -> None:
    (folder / REPORT_FILE).write_text(page, encoding="utf-8")


def _window(artifact: Artifact) -> tuple[str, str]:
    pairs = next(table for table in artifact.manifest["tables"] if table["table"] == "training_pairs")
    return pairs["first_day"], pairs["last_day"]

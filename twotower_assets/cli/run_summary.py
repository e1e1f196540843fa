"""The summary that `twotower materialize` prints after a run, as text and as JSON, and the table of versions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from typing import Any

from rich.table import Table as RichTable

from twotower_assets.cli.app import json_value
from twotower_assets.serving.summaries import (
    FeatureRows,
    TrainedModel,
    VersionLine,
    feature_rows,
    served_version,
    trained_model,
)
from twotower_assets.workspace import Workspace

INGESTING_JOBS = ("features_job", "everything_job")
TRAINING_JOBS = ("training_job", "everything_job")
PROMOTING_JOBS = ("training_job", "everything_job", "champion_job")


def summarize(
    workspace: Workspace, job: str, run_id: str, days: tuple[date, date] | None, served_before: str | None
) -> dict[str, Any]:
    """The summary of a run; `served_before` is the version that was served when it started."""
    summary: dict[str, Any] = {"job": job, "run_id": run_id}
    if days:
        summary |= {"first_day": days[0], "last_day": days[1]}
    if job in INGESTING_JOBS and days:
        summary["rows"] = feature_rows(workspace, *days)
    if job in TRAINING_JOBS and days:
        summary["model"] = trained_model(workspace, days[1])
    if job in PROMOTING_JOBS:
        summary |= {"served": served_version(workspace), "served_before": served_before}
    return summary


def as_json(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary with values that JSON can represent; days, times and paths are left to `default=str`."""
    plain = {
        name: asdict(value) if isinstance(value, FeatureRows | TrainedModel) else value
        for name, value in summary.items()
    }
    if plain.get("model"):
        plain["model"] = {name: json_value(value) for name, value in plain["model"].items()}
    return plain


def text_lines(summary: dict[str, Any]) -> Iterator[str]:
    """The summary as a few lines of text."""
    days = [str(summary[name]) for name in ("first_day", "last_day") if name in summary]
    period = f" for {' to '.join(dict.fromkeys(days))}" if days else ""
    yield f"{summary['job']} succeeded{period}: run {summary['run_id']}"
    if rows := summary.get("rows"):
        yield f"  log:      {_log_text(rows)}"
        others = ((name, count) for name, count in rows.rows.items() if name != "impressions")
        yield f"  rows:     {', '.join(f'{name} {count:,}' for name, count in others)}"
    model = summary.get("model")
    if model:
        yield f"  model:    {model.model_version}, recipe {model.recipe}"
        if model.recall_at_20 is not None:
            yield f"  recall:   {model.recall_at_20:.3f} at 20 items; most popular {model.popular_recall_at_20:.3f}"
    if "served" in summary:
        yield f"  served:   {_served_text(summary['served'], summary['served_before'])}"
    if model and model.decision == "refused":
        failed = model.reasons.partition("; held: ")[0].removeprefix("failed: ")
        yield f"  refused:  {model.model_version}: {failed}"
    if model and model.report:
        yield f"  report:   {model.report}"


def _log_text(rows: FeatureRows) -> str:
    text = f"{rows.read:,} rows read, {sum(rows.rejected.values()):,} rejected"
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in rows.rejected.items())
    return f"{text} ({reasons})" if reasons else text


def _served_text(served: str | None, before: str | None) -> str:
    if served is None:
        return "nothing"
    if served == before:
        return f"{served}, as before"
    return f"{served}, from now on (before: {before or 'nothing'})"


def versions_table(versions: list[VersionLine]) -> RichTable:
    """A table of all versions, one row each."""
    table = RichTable()
    for heading in ("day", "version", "recipe"):
        table.add_column(heading)
    for heading in ("recall@20", "most popular"):
        table.add_column(heading, justify="right")
    for heading in ("trained (UTC)", "decision", "served"):
        table.add_column(heading)
    for line in versions:
        recalls = ("" if value is None else f"{value:.3f}" for value in (line.recall_at_20, line.popular_recall_at_20))
        table.add_row(
            str(line.model_day),
            line.model_version,
            line.recipe,
            *recalls,
            f"{line.trained_at:%Y-%m-%d %H:%M}",
            line.decision or "",
            "yes" if line.served else "",
        )
    return table

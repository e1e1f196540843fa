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
    LogDay,
    Recall,
    TrainedModel,
    VersionLine,
    feature_rows,
    served_version,
    trained_model,
)
from twotower_assets.workspace import Workspace

INGESTING_JOBS = ("features_job", "everything_job")
TRAINING_JOBS = ("training_job", "everything_job")
DAYS_SHOWN = 14
"""Most days that the summary has a line for."""
NAMES_OF_MODELS = {"two_tower": "towers", "most_popular": "most popular", "ease": "EASE"}
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
        summary["model"] = trained_model(workspace, days[1], run_id)
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
        yield from _day_lines(rows.days)
    model = summary.get("model")
    if model:
        yield f"  model:    {model.model_version}, recipe {model.recipe}"
        if model.recalls:
            yield f"  recall:   at 20 items {', '.join(map(_recall_text, model.recalls))}"
    if "served" in summary:
        yield f"  served:   {_served_text(summary['served'], summary['served_before'])}"
    if model and model.decision == "refused":
        failed = model.reasons.partition("; held: ")[0].removeprefix("failed: ")
        yield f"  refused:  {model.model_version}: {failed}"
    if model and model.report:
        yield f"  report:   {model.report}"


def _day_lines(days: list[LogDay]) -> Iterator[str]:
    """A line per day; of many days, only those with a fault."""
    faulty = [day for day in days if not day.impressions or day.rejected or day.orphaned]
    shown = days if len(days) <= DAYS_SHOWN else faulty[:DAYS_SHOWN]
    for day in shown:
        yield f"  {day.day}: {_day_text(day)}"
    if len(faulty) > len(shown):
        yield f"  … and {len(faulty) - len(shown)} more days with rejected rows, unknown items or no rows"
    elif len(days) > len(shown):
        yield f"  {len(days) - len(faulty)} days: nothing rejected, every item in the catalogue"


def _day_text(day: LogDay) -> str:
    if not day.impressions and not day.rejected:
        return "no rows"
    parts = [f"{day.impressions:,} rows", f"{day.clicks:,} clicks", f"{day.rejected:,} rejected"]
    if day.orphaned:
        parts.append(f"{day.orphaned:,} ({day.orphaned / day.impressions:.1%}) of items that are not in the catalogue")
    return ", ".join(parts)


def _recall_text(recall: Recall) -> str:
    interval = "" if recall.low is None or recall.high is None else f" [{recall.low:.3f}, {recall.high:.3f}]"
    return f"{NAMES_OF_MODELS.get(recall.model, recall.model)} {recall.value:.3f}{interval}"


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

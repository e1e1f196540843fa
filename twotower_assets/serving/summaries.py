"""The results of a run in a few numbers: rows read and rejected, recall of the model, the served version, the report
page. The command line decides how they are printed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

from twotower_assets.lake.queries import read_query
from twotower_assets.serving.report_pages import NoReportError, report_page
from twotower_assets.serving.versions import champion_of
from twotower_assets.workspace import Workspace


@dataclass(frozen=True)
class LogDay:
    """The log of a day: rows kept, clicks among them, rows rejected, and kept rows of items outside the catalogue."""

    day: date
    impressions: int
    clicks: int
    rejected: int
    orphaned: int


@dataclass(frozen=True)
class FeatureRows:
    """Row counts of a range of days.

    Attributes:
        read: rows of the raw log, including the rejected ones.
        rejected: rejected rows, by reason.
        rows: rows of each source and feature; for tables without days, all rows.
        days: the log of every day.
    """

    read: int
    rejected: dict[str, int]
    rows: dict[str, int]
    days: list[LogDay]


@dataclass(frozen=True)
class Recall:
    """The recall@20 of a model with its 95 % interval; of the towers at γ = 1."""

    model: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TrainedModel:
    """The newest model of a day.

    Attributes:
        report: the page of its report; None if there is none.
        recalls: of the towers and of the baselines; empty without a report, or after another model of that day.
        model_version: its version.
        recipe: the recipe it was trained with.
        recall_at_20: at γ = 1; None if there is no report on the model.
        popular_recall_at_20: recall@20 of the most-popular baseline on the same clicks.
        decision: the last decision on serving it; None if there is none yet.
        reasons: the reasons of that decision.
    """

    report: Path | None
    recalls: list[Recall]
    model_version: str
    recipe: str
    recall_at_20: float | None
    popular_recall_at_20: float | None
    decision: str | None
    reasons: str | None


@dataclass(frozen=True)
class VersionLine:
    """A row of the list of all versions."""

    model_day: date
    model_version: str
    recipe: str
    recall_at_20: float | None
    popular_recall_at_20: float | None
    served: bool
    decision: str | None
    trained_at: datetime
    decided_at: datetime | None


def feature_rows(workspace: Workspace, first: date, last: date) -> FeatureRows:
    """Row counts of sources and features from `first` to `last`. Raises `LakeError` if there is no lake."""
    days = {"first_day": first, "last_day": last}
    with workspace.lake.reader() as con:
        rows = dict(con.execute(read_query("reports/rows_of_days.sql"), days).fetchall())
        rejected = dict(con.execute(read_query("reports/rejected_of_days.sql"), days).fetchall())
        log = [LogDay(*row) for row in con.execute(read_query("reports/log_of_days.sql"), days).fetchall()]
    return FeatureRows(rows["impressions"] + sum(rejected.values()), rejected, rows, log)


def trained_model(workspace: Workspace, day: date, run_id: str | None = None) -> TrainedModel | None:
    """The model of a day that a run trained, else its newest; None if there is none.

    Raises `LakeError` if there is no lake.
    """
    with workspace.lake.reader() as con:
        row = con.execute(read_query("reports/newest_model.sql"), {"day": day, "run_id": run_id}).fetchone()
        if row is None:
            return None
        found = con.execute(read_query("reports/recall_of_models.sql"), {"version": row[0]}).fetchall()
        recalls = [Recall(*each) for each in found]
    page: Path | None
    try:
        page = report_page(workspace, row[0])
    except NoReportError:
        page = None
    return TrainedModel(page, recalls, *row)


def served_version(workspace: Workspace) -> str | None:
    """The version of the champion; None if nothing is served."""
    if not workspace.lake.exists:
        return None
    with workspace.lake.reader() as con:
        champion = champion_of(con)
    return champion.model_version if champion else None


def every_version(workspace: Workspace) -> list[VersionLine]:
    """All versions of the model, newest day first. Raises `LakeError` if there is no lake."""
    with workspace.lake.reader() as con:
        return [VersionLine(*row) for row in con.execute(read_query("reports/versions.sql")).fetchall()]

"""What a run left behind, in a few numbers: rows read and rejected, how good the model is, what is served, where the
report lies. How it is printed is decided by the command line.
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
class FeatureRows:
    """Rows of some days.

    Attributes:
        read: rows of the raw log, the rejected ones among them.
        rejected: of these, by reason.
        rows: of each source and feature; of those without days, all.
    """

    read: int
    rejected: dict[str, int]
    rows: dict[str, int]


@dataclass(frozen=True)
class TrainedModel:
    """The newest model of a day.

    Attributes:
        report: the page of its report; None where there is none.
        model_version: its version.
        recipe: what it was trained with.
        recall_at_20: at γ = 1; None where there is no report on it.
        popular_recall_at_20: that of most popular, on the same clicks.
        decision: the last on whether it is served; None where there is none yet.
        reasons: of the decision.
    """

    report: Path | None
    model_version: str
    recipe: str
    recall_at_20: float | None
    popular_recall_at_20: float | None
    decision: str | None
    reasons: str | None


@dataclass(frozen=True)
class VersionLine:
    """A version of the model in the list of all."""

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
    """Rows of sources and features from `first` to `last`. Raises `LakeError` where there is no lake."""
    days = {"first_day": first, "last_day": last}
    with workspace.lake.reader() as con:
        rows = dict(con.execute(read_query("reports/rows_of_days.sql"), days).fetchall())
        rejected = dict(con.execute(read_query("reports/rejected_of_days.sql"), days).fetchall())
    return FeatureRows(rows["impressions"] + sum(rejected.values()), rejected, rows)


def trained_model(workspace: Workspace, day: date) -> TrainedModel | None:
    """The newest model of a day, if there is one. Raises `LakeError` where there is no lake."""
    with workspace.lake.reader() as con:
        row = con.execute(read_query("reports/newest_model.sql"), {"day": day}).fetchone()
    if row is None:
        return None
    page: Path | None
    try:
        page = report_page(workspace, row[0])
    except NoReportError:
        page = None
    return TrainedModel(page, *row)


def served_version(workspace: Workspace) -> str | None:
    """The version of the model that is served, if any is."""
    if not workspace.lake.exists:
        return None
    with workspace.lake.reader() as con:
        champion = champion_of(con)
    return champion.model_version if champion else None


def every_version(workspace: Workspace) -> list[VersionLine]:
    """All versions of the model, the newest day first. Raises `LakeError` where there is no lake."""
    with workspace.lake.reader() as con:
        return [VersionLine(*row) for row in con.execute(read_query("reports/versions.sql")).fetchall()]

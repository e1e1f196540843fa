"""Finds the HTML page of a report. How the page is made is in `reporting`."""

from __future__ import annotations

from datetime import date
from pathlib import Path

from twotower_assets.core.errors import ExpectedError
from twotower_assets.lake.queries import read_query
from twotower_assets.workspace import Workspace


class NoReportError(ExpectedError, LookupError):
    """There is no such report."""


def report_page(workspace: Workspace, version: str | None = None, day: date | None = None) -> Path:
    """The page of the newest report: overall, of a version (of the report or of the model), or of a model's day.

    Raises `NoReportError` if there is none, `ArtifactError` if its folder is missing.
    """
    with workspace.lake.reader() as con:
        row = con.execute(read_query("reports/newest.sql"), {"version": version, "day": day}).fetchone()
    if row is None:
        which = " and ".join(
            [*([f"of the version '{version}'"] if version else []), *([f"of the day {day}"] if day else [])]
        )
        raise NoReportError(
            f"there is no report{f' {which}' if which else ' yet'}. Existing reports: "
            '`twotower sql "SELECT model_version, report_version FROM model_history"`'
        )
    folder = workspace.artifacts.open("popularity_bias_report", row[0]).folder
    pages = sorted(folder.glob("*.html"))
    if len(pages) != 1:
        raise NoReportError(f"expected one page in {folder}, found {len(pages)}; materialize the report again")
    return pages[0]

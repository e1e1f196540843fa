"""What an analyst opens: the lake from Python, and the page of a report.

The views and macros that are there then are SQL in `sql/analysts/`; how a lake is opened lives in `lake`.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import duckdb

from twotower_assets.lake.queries import read_query
from twotower_assets.platform import Platform, open_platform
from twotower_assets.settings import load_settings


class NoReportError(LookupError):
    """There is no such report."""


def connect(home: str | Path | None = None, *, snapshot: int | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the lake attached read-only as `lake`, and chosen with USE.

    Every statement sees one snapshot: the newest, or `snapshot` throughout. For several statements on the newest, put
    them between `BEGIN` and `COMMIT`. Runs that write are neither disturbed nor waited for. Close the connection, or
    use it in a `with`.

    Args:
        home: the home folder. Default: `TWOTOWER_HOME`, else `.twotower`.
        snapshot: a snapshot of the lake, such as the `lake_snapshot` of an artifact. Views and macros are there as far
            as they were then.

    Raises:
        LakeError: there is no lake in the home, or no such snapshot.
        SettingsError: a setting of the home is wrong.
    """
    settings = load_settings() if home is None else load_settings(home=Path(home))
    return open_platform(settings).lake.session(snapshot)


def report_page(platform: Platform, version: str | None = None, day: date | None = None) -> Path:
    """The page of the newest report: of all, of a version (the report's or the model's), of a model's day.

    Raises `NoReportError` where there is none, `ArtifactError` where its folder is gone.
    """
    with platform.lake.reader() as con:
        row = con.execute(read_query("reports/newest.sql"), {"version": version, "day": day}).fetchone()
    if row is None:
        which = " and ".join(
            [*([f"of the version '{version}'"] if version else []), *([f"of the day {day}"] if day else [])]
        )
        raise NoReportError(
            f"there is no report{f' {which}' if which else ' yet'}. Those there are: "
            '`twotower sql "SELECT model_version, report_version FROM model_history"`'
        )
    folder = platform.artifacts.open("popularity_bias_report", row[0]).folder
    pages = sorted(folder.glob("*.html"))
    if len(pages) != 1:
        raise NoReportError(f"expected one page in {folder}, found {len(pages)}; materialize the report again")
    return pages[0]

"""The version that a report compares a model with, and the comparison itself or why there is none.

`compare_versions` evaluates two versions on the same clicks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from twotower_assets.lake.queries import read_query
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class Predecessor:
    """The version that was served before another.

    Attributes:
        version: empty where nothing was served.
        note: why there is no comparison; empty where there is one.
        differences: rows of `reporting.frames.DIFFERENCES`; empty without a comparison.
    """

    version: str
    note: str
    differences: pl.DataFrame


def predecessor_of(con: duckdb.DuckDBPyConnection, workspace: Workspace, version: str) -> Predecessor:
    """The current champion or, for the champion itself, the version that it replaced, compared on `version`'s hold-out.

    If it cannot be compared, `note` gives the reason and no error is raised.
    """
    import polars as pl

    from twotower_assets.experiments.compare_versions import ComparisonError, compare_versions
    from twotower_assets.experiments.hold_out import HoldOutError
    from twotower_assets.lake.artifacts import ArtifactError
    from twotower_assets.reporting.report_data import PREDECESSOR
    from twotower_assets.two_tower.checkpoint import CheckpointError

    (found,) = con.execute(read_query("reports/predecessor.sql"), {"version": version}).fetchall()
    if found[0] is None:
        return Predecessor("", "", pl.DataFrame())
    try:
        rows = compare_versions(workspace, version, found[0]).rows
    except (ComparisonError, HoldOutError, ArtifactError, CheckpointError) as error:
        return Predecessor(found[0], str(error), pl.DataFrame())
    return Predecessor(found[0], "", rows.with_columns(other=pl.lit(PREDECESSOR)))

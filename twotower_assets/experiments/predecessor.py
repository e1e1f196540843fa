"""The version that a report sets a model beside: which one it is, and the comparison or why there is none.

How two versions are judged on the same clicks is in `compare_versions`.
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
    """What was served before a version.

    Attributes:
        version: empty where nothing was.
        note: why there is no comparison with it; empty where there is one.
        differences: rows of `reporting.frames.DIFFERENCES`; empty without a comparison.
    """

    version: str
    note: str
    differences: pl.DataFrame


def predecessor_of(con: duckdb.DuckDBPyConnection, workspace: Workspace, version: str) -> Predecessor:
    """The champion of the moment or, for the champion, what it replaced, compared on the hold-out of `version`.

    A predecessor that cannot be compared is told of in `note`; it fails nothing.
    """
    import polars as pl

    from twotower_assets.experiments.compare_versions import ComparisonError, compared
    from twotower_assets.experiments.hold_out import HoldOutError
    from twotower_assets.lake.artifacts import ArtifactError
    from twotower_assets.reporting.report_data import PREDECESSOR
    from twotower_assets.two_tower.checkpoint import CheckpointError

    (found,) = con.execute(read_query("reports/predecessor.sql"), {"version": version}).fetchall()
    if found[0] is None:
        return Predecessor("", "", pl.DataFrame())
    try:
        rows = compared(workspace, version, found[0]).rows
    except (ComparisonError, HoldOutError, ArtifactError, CheckpointError) as error:
        return Predecessor(found[0], str(error), pl.DataFrame())
    return Predecessor(found[0], "", rows.with_columns(other=pl.lit(PREDECESSOR)))

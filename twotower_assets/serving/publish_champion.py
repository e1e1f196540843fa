"""The champion published: the version to serve, its vectors and the decisions on it, in one commit.

How versions are evaluated, promoted by hand and rolled back is in `promotion.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import duckdb

from twotower_assets.core.errors import ExpectedError
from twotower_assets.lake.queries import scalar
from twotower_assets.lake.staging import stage_frame, stage_rows
from twotower_assets.lake.tables import TABLES
from twotower_assets.lake.views import current_views
from twotower_assets.lake.writing import Run, WrittenTable, commit_tables, written_table
from twotower_assets.serving import promotion
from twotower_assets.serving.promotion import Choice, Decision
from twotower_assets.serving.versions import VECTOR_FILES, Version, champion_of, vector_file
from twotower_assets.workspace import Workspace


class NothingServedError(ExpectedError, RuntimeError):
    """No version passes the gates, and none was served before; the message says which gates each version failed."""


@dataclass(frozen=True)
class PublishedChampion:
    """The version that is served from now on, the decisions that led to it, and what was written."""

    served: Version
    decisions: list[Decision]
    written: WrittenTable


def publish_champion(
    workspace: Workspace, run: Run, version: str | None = None, *, roll_back: bool = False, reason: str | None = None
) -> PublishedChampion:
    """Serve the newest version that passes the gates, or a version that a person names, or roll back.

    Args:
        workspace: the home.
        run: recorded with the decisions.
        version: serve this version without evaluating the gates; with `roll_back`, the version to roll back to.
        roll_back: serve the previous champion again.
        reason: stored with a decision by hand.

    Raises:
        NothingServedError: nothing passes the gates, and nothing was served before.
        VersionError: the named version cannot be served.
    """
    # One promotion at a time: a concurrent run would decide on a stale champion and could bring back an older one.
    with workspace.lake.exclusively("champion"), workspace.lake.writer() as con:
        why = reason or "no reason given"
        if roll_back:
            choice = promotion.roll_back(con, workspace, version, why)
        elif version:
            choice = promotion.choose_by_hand(con, workspace, version, why)
        else:
            choice = promotion.choose(con, workspace)
        snapshot = _publish(workspace, con, choice, run)
        served = champion_of(con)
        if served is None:
            refused = " | ".join(f"{each.version.model_version} {each.reasons}" for each in choice.decisions)
            raise NothingServedError(
                "No version passes the gates, and nothing is served. "
                + (f"Refused: {refused}" if refused else "There is no complete version yet.")
            )
        stage_rows(con, "champion", _champion_rows(con))
        return PublishedChampion(served, choice.decisions, written_table(con, "champion", snapshot, None))


def _publish(workspace: Workspace, con: duckdb.DuckDBPyConnection, choice: Choice, run: Run) -> int:
    """Write the decisions and, if the champion changes, its rows in one commit; return the snapshot."""
    now = datetime.now(UTC).replace(tzinfo=None)
    names: list[str] = []
    if decisions := list(promotion.without_repeats(con, choice.decisions)):
        stage_rows(con, "champion_decisions", [_decision_row(each, now, run.run_id) for each in decisions])
        names.append("champion_decisions")
    if compared := [row for each in decisions if each.comparison is not None for row in each.comparison.to_dicts()]:
        stage_rows(con, "version_comparisons", compared)
        names.append("version_comparisons")
    served, views = choice.served, []
    if served:
        row = {"promoted_at": now, "reason": choice.decisions[-1].reasons}
        stage_rows(con, "champion", [{**vars(served), **row}])
        _stage_vectors(con, workspace, served)
        dimensions = scalar(con, "SELECT len(embedding) FROM staged_served_item_embeddings LIMIT 1")
        views = current_views(dimensions)
        names += ["champion", *VECTOR_FILES]
    elif (champion := champion_of(con)) and (newest := promotion.with_newest_report(con, champion)) != champion:
        stage_rows(con, "champion", [{**row, **vars(newest)} for row in _champion_rows(con)])
        names.append("champion")
    if not names:
        return workspace.lake.snapshot(con)
    return commit_tables(workspace.lake, con, names, None, run, views=views)


def _stage_vectors(con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version) -> None:
    """Stage the vectors that the index of a version was built with."""
    import pyarrow.parquet as pq

    index = workspace.artifacts.open_recorded(con, "ann_index", str(version.index_version))
    for name in VECTOR_FILES:
        stage_frame(con, name, pq.read_table(vector_file(index, name)))


def _champion_rows(con: duckdb.DuckDBPyConnection) -> list[dict[str, object]]:
    names = TABLES["champion"].column_names
    rows = con.execute(f"SELECT {', '.join(names)} FROM champion").fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]


def _decision_row(decision: Decision, now: datetime, run_id: str) -> dict[str, object]:
    return {
        "decided_at": now,
        **vars(decision.version),
        "decision": decision.decision,
        "reasons": decision.reasons,
        "champion_before": decision.champion_before,
        "run_id": run_id,
    }

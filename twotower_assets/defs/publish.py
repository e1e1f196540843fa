"""How an asset writes: commit staged rows to the lake, then tell Dagster what stands there now.

Which rows, and what they mean, is decided by the asset and its SQL.
"""

import json
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import dagster as dg
import duckdb

from twotower_assets.core.days import Days
from twotower_assets.defs.specs import column_lineage, key_of
from twotower_assets.lake.artifacts import Artifact
from twotower_assets.lake.lake import CommitInfo, Replacement
from twotower_assets.lake.queries import SQL_FOLDER, read_query, scalar
from twotower_assets.lake.tables import ARTIFACTS, TABLES
from twotower_assets.workspace import Workspace

ADDED_TO = (ARTIFACTS.name, "champion_decisions", "version_comparisons")
"""Tables whose rows stay, but for those of the same grain."""


def commit_tables(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    con: duckdb.DuckDBPyConnection,
    names: Sequence[str],
    days: Days | None,
    views: Sequence[str] = (),
    of: tuple[str, str] | None = None,
) -> int:
    """Replace the tables `names` by `staged_<name>`, those with a `day` within `days`; give the snapshot.

    With `of`, a column and a value, only the rows that have this value are replaced. Rows of the tables
    `ADDED_TO` are added to those there. `views` are statements that define views, part of the same commit.
    """
    replacements = [
        Replacement(
            name,
            f"staged_{name}",
            days=days if TABLES[name].daily else None,
            matching=TABLES[name].grain if name in ADDED_TO else (),
            of=of,
        )
        for name in names
    ]
    info = CommitInfo(context.assets_def.op.name, context.run.run_id, days)
    return workspace.lake.commit(con, replacements, info, views)


def table_result(
    context: dg.AssetExecutionContext,
    con: duckdb.DuckDBPyConnection,
    name: str,
    snapshot: int,
    days: Days | None,
    **metadata: Any,
) -> dg.MaterializeResult:
    """The result of writing `staged_<name>`: rows, snapshot, lineage; per day where there are days."""
    shared: dict[str, Any] = {"lake_snapshot": snapshot, **metadata}
    if lineage := column_lineage(TABLES[name]):
        shared["dagster/column_lineage"] = lineage
    if days is None:
        shared["dagster/row_count"] = int(scalar(con, f"SELECT count(*) FROM staged_{name}"))
    else:
        for day, numbers in daily_numbers(con, name, days).items():
            context.add_asset_metadata(numbers, key_of(name), partition_key=day.isoformat())
    return dg.MaterializeResult(asset_key=key_of(name), metadata=shared)


def daily_numbers(con: duckdb.DuckDBPyConnection, name: str, days: Days) -> dict[date, dict[str, Any]]:
    """Row count and the numbers worth plotting, for every one of `days`; days without rows have a count of 0."""
    file = SQL_FOLDER / "daily_numbers" / f"{name}.sql"
    sql = read_query(file) if file.is_file() else f"SELECT day, count(*) AS row_count FROM staged_{name} GROUP BY day"
    cursor = con.execute(sql)
    columns = [column[0] for column in cursor.description or []]
    found = {row[0]: dict(zip(columns[1:], row[1:], strict=True)) for row in cursor.fetchall()}
    every_day = days.every()
    numbers: dict[date, dict[str, Any]] = {}
    for day in every_day:
        row = found.get(day, {"row_count": 0})
        numbers[day] = {"dagster/row_count": row.pop("row_count"), **row}
    return numbers


def artifact_rows(artifact: Artifact, workspace: Workspace) -> list[dict[str, Any]]:
    """The row of the `artifacts` table that tells of a published version."""
    manifest = artifact.manifest
    return [
        {
            "asset": artifact.asset,
            "version": artifact.version,
            "model_day": date.fromisoformat(manifest["model_day"]),
            "path": str(artifact.folder.relative_to(workspace.settings.home)),
            "content_hash": manifest["content_hash"],
            "created_at": datetime.fromisoformat(manifest["created_at"]),
            "lake_snapshot": manifest["lake_snapshot"],
            "code_version": manifest["code_version"],
            "run_id": manifest["run_id"],
            "recipe": manifest["recipe"],
            "seed": manifest["seed"],
            "upstream": json.dumps({"tables": manifest["tables"], "artifacts": manifest["artifacts"]}),
            "details": json.dumps(manifest["details"]),
        }
    ]

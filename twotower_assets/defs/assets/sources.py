"""The sources: the raw log and catalogue, read through the data set's SQL, cleaned, rejects kept.

What a raw row looks like is known to `sql/sources/`, what a clean one is to `sql/cleaning/`.
"""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import duckdb

from twotower_assets.datasets.raw_source import (
    NoFilesError,
    Rejects,
    partition_bounds,
    stage_catalogue,
    stage_impressions,
)
from twotower_assets.defs.partitions import Partitions, days_of
from twotower_assets.defs.publish import commit_tables, table_result
from twotower_assets.defs.specs import code_version, sql_files, table_spec
from twotower_assets.lake.queries import stage
from twotower_assets.workspace import Workspace

NO_USERS = "SELECT NULL::VARCHAR AS user_id, NULL::MAP(VARCHAR, VARCHAR) AS features WHERE false"
MOVIELENS_NOTE = "MovieLens has no exposures: a rating of 4 or 5 is a click, a lower one is shown and not liked."


def source_assets(workspace: Workspace, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The four source assets."""
    version = code_version([*sql_files("cleaning/*.sql"), *sorted(workspace.source.sql_folder.glob("*.sql"))])
    note = MOVIELENS_NOTE if workspace.source.dataset == "movielens" else ""
    raw = f"the raw files of the data set '{workspace.source.dataset}', read by its SQL and cleaned."

    @dg.multi_asset(
        name="impressions",
        specs=[
            table_spec(
                "impressions",
                workspace,
                used_for="every feature: frequencies, exposures, histories, training pairs.",
                kinds={"duckdb", "sql"},
                version=version,
                note=note,
                sql=_sql_of(workspace, "impressions"),
                made_from=raw,
            ),
            table_spec(
                "rejected_impressions",
                workspace,
                used_for="seeing what was wrong with the raw log; nothing is made from it.",
                kinds={"duckdb", "sql"},
                version=version,
                sql=_sql_of(workspace, "impressions", "rejected_impressions"),
                made_from=raw,
            ),
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def impressions(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> Iterator[dg.MaterializeResult]:
        days = days_of(context)
        first_partition, _ = workspace.days()
        with workspace.lake.writer() as con:
            rejects, ignored = stage_impressions(con, workspace.source, partition_bounds(*days, first_partition))
            rejects.refuse_above(workspace.settings.maximum_rejected_share, "impressions")
            snapshot = commit_tables(context, workspace, con, ["impressions", "rejected_impressions"], days)
            if ignored:
                context.log.info(f"Columns that the data contract does not know were left out: {', '.join(ignored)}")
            yield table_result(context, con, "impressions", snapshot, days, columns_left_out=ignored)
            yield table_result(
                context,
                con,
                "rejected_impressions",
                snapshot,
                days,
                reasons_in_this_run=rejects.reasons,
                first_in_this_run=rejects.first,
            )

    @dg.multi_asset(
        name="items",
        specs=[
            table_spec(
                "items",
                workspace,
                used_for="the category map, the item tower, titles in lists and reports.",
                kinds={"duckdb", "sql"},
                version=version,
                sql=_sql_of(workspace, "items"),
                made_from=raw,
            )
        ],
    )
    def items(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
        return _catalogue(context, workspace, "items")

    @dg.multi_asset(
        name="users",
        specs=[
            table_spec(
                "users",
                workspace,
                used_for="feature columns of the user tower, and vectors for users without a click.",
                kinds={"duckdb", "sql"},
                version=version,
                note="A data set without `users.sql`, or without the files that it names, has no row here.",
                sql=_sql_of(workspace, "users"),
                made_from=raw,
            )
        ],
    )
    def users(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
        return _catalogue(context, workspace, "users")

    return [impressions, items, users]


def _sql_of(workspace: Workspace, raw: str, cleaned: str = "") -> list[Path]:
    """The SQL that reads and cleans a raw table; that of the formats it may come in, where there are several."""
    read = sorted(workspace.source.sql_folder.glob(f"{raw}*.sql"))
    return [*read, *sql_files(f"cleaning/checked_{raw}.sql", f"cleaning/{cleaned or raw}.sql")]


def _catalogue(context: dg.AssetExecutionContext, workspace: Workspace, table: str) -> dg.MaterializeResult:
    with workspace.lake.writer() as con:
        if table == "users" and (reason := _why_no_users(con, workspace)):
            stage(con, "staged_users", NO_USERS)
            facts: dict[str, object] = {"note": reason}
        else:
            rejects = stage_catalogue(con, workspace.source, table)
            rejects.refuse_above(workspace.settings.maximum_rejected_share, table)
            facts = {"rows_read": rejects.rows, **_described(rejects)}
        snapshot = commit_tables(context, workspace, con, [table], None)
        return table_result(context, con, table, snapshot, None, **facts)


def _why_no_users(con: duckdb.DuckDBPyConnection, workspace: Workspace) -> str | None:
    """Users are optional: why the data set has none, or None if it has."""
    if workspace.source.query("users") is None:
        return "The data set has no users.sql."
    try:
        workspace.source.stage(con, "users")
    except NoFilesError as error:
        return f"The data set has no file of users: {error}"
    return None


def _described(rejects: Rejects) -> dict[str, object]:
    return {
        "rows_rejected": rejects.rejected,
        "reasons": rejects.reasons,
        "first_rejected": rejects.first,
    }

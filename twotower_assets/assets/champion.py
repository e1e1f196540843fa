"""The champion: the newest version that passes the gates, published to the served tables in one commit.

What a gate asks is SQL in `sql/checks/`.
"""

from datetime import UTC, date, datetime

import dagster as dg
import duckdb

from twotower_assets.assets.declaration import asset_files, code_version, key_of, sql_files, table_spec
from twotower_assets.assets.materialization import commit_tables, table_result
from twotower_assets.assets.records import stage_rows
from twotower_assets.checks.gates import CHAMPION_GATES, judge
from twotower_assets.lake.artifacts import ArtifactError
from twotower_assets.lake.lake import LakeError
from twotower_assets.lake.queries import read_query, stage
from twotower_assets.partitions import Days
from twotower_assets.platform import Platform

SERVED = ("served_item_embeddings", "served_user_embeddings")


def champion_asset(platform: Platform) -> dg.AssetsDefinition:
    """`champion`."""

    @dg.multi_asset(
        name="champion",
        specs=[
            table_spec(
                "champion",
                platform,
                used_for="what `twotower recommend` and the views `current_item_embeddings` and "
                "`current_user_embeddings` serve.",
                deps=[
                    dg.AssetDep(key_of(name))
                    for name in ("item_embeddings", "user_embeddings", "ann_index", "popularity_bias_report")
                ],
                kinds={"duckdb"},
                version=code_version(
                    [*sql_files("serving/*.sql", "checks/*.sql", "analysts/*.sql"), *asset_files("champion")]
                ),
                note="The newest version that passes the gates. Its rows are published to `served_item_embeddings` and "
                "`served_user_embeddings` in the same commit, so rebuilding a partition never changes what is served.",
            )
        ],
    )
    def champion(context: dg.AssetExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.MaterializeResult:
        return _promote(context, platform)

    return champion


def _promote(context: dg.AssetExecutionContext, platform: Platform) -> dg.MaterializeResult:
    refused: list[str] = []
    # One promotion at a time: whoever comes last looks at all candidates, and cannot bring back an older one.
    with platform.lake.exclusively("champion"), platform.lake.writer() as con:
        for day, model_version, index_version, report_version in con.execute(
            read_query("serving/candidates.sql")
        ).fetchall():
            if failed := _why_not(con, platform, day, model_version, index_version):
                refused.append(f"{model_version} ({'; '.join(failed)})")
                continue
            row = {
                "model_day": day,
                "model_version": model_version,
                "index_version": index_version,
                "report_version": report_version,
                "promoted_at": datetime.now(UTC).replace(tzinfo=None),
                "reason": f"newest version that passes {', '.join(gate.name for gate in CHAMPION_GATES)}",
            }
            stage_rows(con, "champion", [row])
            for name in SERVED:
                rows = stage(
                    con, f"staged_{name}", read_query(f"serving/{name}.sql"), {"day": day, "version": model_version}
                )
                if not rows:
                    raise LakeError(f"the vectors of {model_version} were replaced meanwhile; run this again")
            snapshot = commit_tables(context, platform, con, ["champion", *SERVED], None, views=_current_views(con))
            return table_result(
                context,
                con,
                "champion",
                snapshot,
                None,
                model_version=model_version,
                index_version=index_version,
                model_day=str(day),
                refused=refused,
            )
    raise dg.Failure(
        "No version passes the gates; what is served stays as it is. "
        + (f"Refused: {' | '.join(refused)}" if refused else "There is no complete version yet."),
        allow_retries=False,
    )


def _why_not(
    con: duckdb.DuckDBPyConnection, platform: Platform, day: date, model_version: str, index_version: str
) -> list[str]:
    """Why a candidate may not be served; empty if it may."""
    from twotower_assets.retrieval.index import ItemIndexError
    from twotower_assets.retrieval.storage import load_index
    from twotower_assets.two_tower.checkpoint import CheckpointError, load_checkpoint

    outcomes = {gate.name: judge(con, gate, Days(day, day), platform.settings) for gate in CHAMPION_GATES}
    failed = [f"{name}: {outcome.observed}" for name, outcome in outcomes.items() if not outcome.passed]
    try:
        load_checkpoint(platform.artifacts.open("tower_checkpoint", model_version).folder)
        load_index(platform.artifacts.open("ann_index", index_version).folder)
    except (ArtifactError, CheckpointError, ItemIndexError) as error:
        failed.append(str(error))
    return failed


def _current_views(con: duckdb.DuckDBPyConnection) -> list[str]:
    row = con.execute("SELECT len(embedding) FROM staged_served_item_embeddings LIMIT 1").fetchone()
    dimensions = int(row[0]) if row else 1
    return [
        read_query(f"analysts/current_{kind}_embeddings.sql").format(dimensions=dimensions) for kind in ("item", "user")
    ]

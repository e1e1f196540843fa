"""`embedding_drift`: how far the items of a day's model moved since the model before it, and from what is served.

How two spaces are compared lives in `evaluation.drift`; analysts read the table through the macro of the same name.
"""

from typing import Any

import dagster as dg
import duckdb

from twotower_assets.core.days import Days
from twotower_assets.defs.partitions import Partitions, day_of
from twotower_assets.defs.publish import commit_tables, table_result
from twotower_assets.defs.specs import PACKAGE, code_files, code_version, key_of, sql_files, table_spec
from twotower_assets.lake.lake import LakeError
from twotower_assets.lake.queries import read_query
from twotower_assets.lake.staging import stage_frame
from twotower_assets.lake.tables import TABLES
from twotower_assets.workspace import Workspace


def embedding_drift_asset(workspace: Workspace, partitions: Partitions) -> dg.AssetsDefinition:
    """`embedding_drift`."""

    @dg.multi_asset(
        name="embedding_drift",
        specs=[
            table_spec(
                "embedding_drift",
                workspace,
                used_for="seeing what a new model thinks otherwise, before it is served, with the macro "
                "`embedding_drift(version_a, version_b)`.",
                deps=[dg.AssetDep(key_of("item_embeddings"))],
                kinds={"duckdb", "scipy"},
                version=code_version(
                    [
                        PACKAGE / "evaluation" / "drift.py",
                        *sql_files("serving/drift_*.sql"),
                        *code_files("defs/assets/embedding_drift.py"),
                    ]
                ),
                note="The day's model is compared with that of the newest earlier day that has vectors, and with the "
                "champion of the moment. The first model of all has nothing to be compared with, and no row.",
                sql="serving/drift_vectors.sql",
            )
        ],
        partitions_def=partitions,
    )
    def embedding_drift(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult:
        return _compare(context, workspace)

    return embedding_drift


def _compare(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    import pyarrow as pa

    day = day_of(context)
    with workspace.lake.writer() as con:
        if not con.execute("FROM item_embeddings WHERE day = $day LIMIT 1", {"day": day}).fetchall():
            raise LakeError(f"there are no item vectors of {day}; materialize serving/item_embeddings for it")
        pairs = con.execute(read_query("serving/drift_pairs.sql"), {"day": day}).fetchall()
        moved = [_moved(con, day, *pair) for pair in pairs]
        frame = pa.concat_tables(moved) if moved else _no_rows()
        stage_frame(con, "embedding_drift", frame)
        days = Days(day, day)
        snapshot = commit_tables(context, workspace, con, ["embedding_drift"], days)
        return table_result(
            context,
            con,
            "embedding_drift",
            snapshot,
            days,
            compared_with=[other for _, other, _ in pairs] or "nothing: there is no other model yet",
        )


def _moved(con: duckdb.DuckDBPyConnection, day: Any, version: str, other: str, served: bool) -> Any:
    """The rows of one pair of versions."""
    import numpy as np
    import pyarrow as pa

    from twotower_assets.evaluation.drift import drift

    vectors = con.execute(
        read_query("serving/drift_vectors.sql"), {"day": day, "version": version, "other": other, "served": served}
    ).to_arrow_table()
    if vectors.num_rows < 2:
        return _no_rows()  # two catalogues with nothing in common
    after, before = (np.stack(vectors[name].to_numpy()) for name in ("embedding", "other_embedding"))
    found = drift(before, after)
    size = vectors.num_rows
    return pa.table(
        {
            "day": pa.array([day] * size, pa.date32()),
            "model_version": [version] * size,
            "other_version": [other] * size,
            "item_id": vectors["item_id"],
            "cosine": found.cosine,
            "neighbours_kept": found.neighbours_kept,
        }
    )


def _no_rows() -> Any:
    import pyarrow as pa

    types = {"DATE": pa.date32(), "VARCHAR": pa.string(), "DOUBLE": pa.float64()}
    columns = TABLES["embedding_drift"].columns
    return pa.table({column.name: pa.array([], types[column.type]) for column in columns})

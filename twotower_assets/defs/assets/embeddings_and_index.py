"""Serving: a checkpoint becomes vectors in the lake and an index over them.

How vectors are made lives in `two_tower`, how they are searched in `retrieval`; which version is served, in `champion`.
"""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb

from twotower_assets.core.days import Days
from twotower_assets.defs.partitions import Partitions, day_of, trailing_window
from twotower_assets.defs.publish import artifact_rows, commit_tables, table_result
from twotower_assets.defs.specs import (
    asset_spec,
    code_files,
    code_version,
    folder_of,
    key_of,
    sql_files,
    table_spec,
)
from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out
from twotower_assets.lake.artifacts import Artifact, ArtifactInput, Provenance, TableInput
from twotower_assets.lake.lake import LakeError
from twotower_assets.lake.queries import bound, read_query
from twotower_assets.lake.staging import stage_frame, stage_rows
from twotower_assets.serving.index_depth import curve_rows, measured_index
from twotower_assets.serving.versions import VECTOR_FILES
from twotower_assets.workspace import Workspace


def serving_assets(workspace: Workspace, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """`item_embeddings`, `user_embeddings` and `ann_index`."""
    return [
        _item_embeddings(workspace, partitions),
        _user_embeddings(workspace, partitions),
        _ann_index(workspace, partitions),
    ]


def checkpoint_of(con: duckdb.DuckDBPyConnection, workspace: Workspace, day: date) -> Artifact:
    """The checkpoint of a day's model. Raises `LakeError` where none was trained."""
    row = con.execute(
        "SELECT max_by(model_version, epoch) FROM training_curves WHERE day = $day", {"day": day}
    ).fetchone()
    if row is None or row[0] is None:
        raise LakeError(f"no model was trained as of {day}; materialize training/tower_checkpoint for that partition")
    return workspace.artifacts.open("tower_checkpoint", row[0])


def _item_embeddings(workspace: Workspace, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="item_embeddings",
        specs=[
            table_spec(
                "item_embeddings",
                workspace,
                used_for="the index, and joining items with anything else in SQL.",
                sql="training/catalogue.sql",
                deps=[
                    dg.AssetDep(key_of("tower_checkpoint")),
                    dg.AssetDep(key_of("items")),
                    dg.AssetDep(
                        key_of("training_pairs"),
                        partition_mapping=trailing_window(partitions, workspace.settings.window_days),
                    ),
                ],
                kinds={"duckdb", "pytorch"},
                version=code_version(
                    [
                        *code_files("core", "two_tower", "recipes"),
                        *sql_files("training/*.sql"),
                        *code_files("experiments/hold_out.py"),
                    ]
                ),
            )
        ],
        partitions_def=partitions,
    )
    def item_embeddings(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult:
        return _embed(context, workspace, "item_embeddings", "training/catalogue.sql", _item_columns)

    return item_embeddings


def _user_embeddings(workspace: Workspace, partitions: Partitions) -> dg.AssetsDefinition:
    window = trailing_window(partitions, workspace.settings.window_days)

    @dg.multi_asset(
        name="user_embeddings",
        specs=[
            table_spec(
                "user_embeddings",
                workspace,
                used_for="recommendations, measuring the index, and joining users with anything else in SQL.",
                sql="serving/user_histories.sql",
                deps=[
                    dg.AssetDep(key_of("tower_checkpoint")),
                    dg.AssetDep(key_of("training_pairs"), partition_mapping=window),
                    dg.AssetDep(key_of("impressions"), partition_mapping=window),
                    dg.AssetDep(key_of("users")),
                ],
                kinds={"duckdb", "pytorch"},
                version=code_version(
                    [*code_files("core", "two_tower", "recipes"), *sql_files("serving/user_histories.sql")]
                ),
                note="Histories reach to the end of the day: held-out clicks are no training data, but they are known "
                "when the model serves.",
            )
        ],
        partitions_def=partitions,
    )
    def user_embeddings(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]
    ) -> dg.MaterializeResult:
        return _embed(context, workspace, "user_embeddings", "serving/user_histories.sql", _user_columns)

    return user_embeddings


def _embed(
    context: dg.AssetExecutionContext,
    workspace: Workspace,
    name: str,
    sql_file: str,
    columns_of: Callable[[Workspace, Artifact, duckdb.DuckDBPyConnection, Any, Any], dict[str, Any]],
) -> dg.MaterializeResult:
    import pyarrow as pa

    from twotower_assets.two_tower.checkpoint import load_checkpoint

    day = day_of(context)
    with workspace.lake.reader() as con:
        artifact = checkpoint_of(con, workspace, day)
        checkpoint = load_checkpoint(artifact.folder)
        sql = read_query(sql_file)
        parameters = {
            "as_of": day,
            "window_days": artifact.manifest["details"]["window_days"],
            "history_length": checkpoint.config.history_length,
        }
        rows = con.execute(sql, bound(con, sql, parameters)).to_arrow_table()
        columns = columns_of(workspace, artifact, con, checkpoint, rows)
    size = rows.num_rows
    table = pa.table(
        {
            "day": pa.array([day] * size, pa.date32()),
            **columns,
            "model_version": [artifact.version] * size,
            "inverse_temperature": pa.array([checkpoint.inverse_temperature] * size, pa.float32()),
            "trained_popularity_weight": pa.array([checkpoint.trained_popularity_weight] * size, pa.float32()),
            "trained_weight_is_known": pa.array([checkpoint.trained_weight_is_known] * size),
        }
    )
    with workspace.lake.writer() as con:
        stage_frame(con, name, table)
        snapshot = commit_tables(context, workspace, con, [name], Days(day, day))
        return table_result(
            context,
            con,
            name,
            snapshot,
            Days(day, day),
            model_version=artifact.version,
            dimensions=checkpoint.config.dimensions,
        )


def _vectors(matrix: Any) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel(), pa.float32()), matrix.shape[1])


def _item_columns(
    workspace: Workspace, artifact: Artifact, _con: duckdb.DuckDBPyConnection, checkpoint: Any, items: Any
) -> dict[str, Any]:
    return {
        "item_id": items["item_id"],
        "embedding": _vectors(checkpoint.embed_items(items)),
        "bias": checkpoint.item_bias(items),
        "log_q": _served_log_q(workspace, artifact, checkpoint, items["item_id"]),
    }


def _served_log_q(workspace: Workspace, artifact: Artifact, checkpoint: Any, item_ids: Any) -> Any:
    """log q of the clicks that the model was trained on, or of these and the impressions of the same days."""
    import numpy as np
    import pyarrow.compute as pc

    from twotower_assets.core.popularity import log_q

    if workspace.settings.popularity_from == "clicks":
        return checkpoint.log_q(item_ids)
    day, snapshot = date.fromisoformat(artifact.manifest["model_day"]), artifact.manifest["lake_snapshot"]
    with workspace.lake.reader(snapshot) as con:
        hold_out = read_hold_out(con, HoldOutRule(**artifact.manifest["details"]), day, snapshot)
    popularity = log_q(hold_out.item_popularity("impressions", "train"))
    found = pc.index_in(item_ids.cast("string"), hold_out.items["item_id"].cast("string"))
    places = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    return np.where(places >= 0, popularity[places], popularity.min())


def _user_columns(
    _platform: Workspace, _artifact: Artifact, con: duckdb.DuckDBPyConnection, checkpoint: Any, users: Any
) -> dict[str, Any]:
    attributes = con.execute(read_query("training/users.sql")).to_arrow_table()
    vectors = checkpoint.embed_users(users["user_id"], users["history"], attributes)
    return {"user_id": users["user_id"], "embedding": _vectors(vectors)}


def read_vectors(con: duckdb.DuckDBPyConnection, table: str, day: date) -> Any:
    """The rows of an embedding table of a day, as an Arrow table in order of id. Raises `LakeError` for none."""
    name = {"item_embeddings": "item_id", "user_embeddings": "user_id"}[table]
    rows = con.execute(f"FROM {table} WHERE day = $day ORDER BY {name}", {"day": day}).to_arrow_table()
    if not rows.num_rows:
        raise LakeError(f"{table} has no vectors of {day}; materialize serving/{table} for that partition")
    return rows


def as_matrix(column: Any) -> Any:
    """A column of equally long float lists as a float32 matrix [n, d]."""
    return column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)


def _ann_index(workspace: Workspace, partitions: Partitions) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="ann_index",
        specs=[
            asset_spec(
                "ann_index",
                description=(
                    "The FAISS index of a day's item vectors: one index a day, with the popularity weight γ as a "
                    "dimension of the query, and an id map that is checked against it. Its recall against exact search "
                    "and its speed are measured at γ = 0, ½ and 1, on a sample of the users; where it is approximate, "
                    "at several search depths, of which the smallest with enough recall is taken.\n\n"
                    "**Used for:** recommendations."
                ),
                deps=[dg.AssetDep(key_of("item_embeddings")), dg.AssetDep(key_of("user_embeddings"))],
                kinds={"faiss"},
                version=code_version([*code_files("core", "retrieval"), *code_files("serving/index_depth.py")]),
                metadata=folder_of("ann_index", workspace),
            )
        ],
        partitions_def=partitions,
    )
    def ann_index(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
        return _build_index(context, workspace)

    return ann_index


def _build_index(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:
    day = day_of(context)
    with workspace.lake.reader() as con:
        snapshot = workspace.lake.snapshot(con)
        items, users = (read_vectors(con, table, day) for table in ("item_embeddings", "user_embeddings"))
    model_version = _one_model(items, users, day)
    vectors = {"item_vectors": as_matrix(items["embedding"]), "user_vectors": as_matrix(users["embedding"])}
    index, curve = measured_index(items, **vectors, settings=workspace.settings)
    artifact = workspace.artifacts.publish(
        "ann_index",
        lambda folder: _save_with_vectors(folder, index, items, users),
        Provenance(
            model_day=day,
            lake_snapshot=snapshot,
            code_version=context.assets_def.code_versions_by_key[key_of("ann_index")] or "",
            run_id=context.run.run_id,
            tables=(
                TableInput("item_embeddings", snapshot, day.isoformat(), day.isoformat()),
                TableInput("user_embeddings", snapshot, day.isoformat(), day.isoformat()),
            ),
            artifacts=(ArtifactInput("tower_checkpoint", model_version),),
            details={"factory": index.factory, "search_depth": index.search_depth},
        ),
    )
    versions = {"index_version": artifact.version, "model_version": model_version}
    rows = [{"day": day, "factory": index.factory, **versions, **row} for row in curve_rows(curve, index.search_depth)]
    with workspace.lake.writer() as con:
        served = stage_rows(con, "ann_index_quality", [row for row in rows if row["chosen"]])
        stage_rows(con, "ann_index_depths", rows)
        stage_rows(con, "artifacts", artifact_rows(artifact, workspace))
        commit_tables(context, workspace, con, ["ann_index_quality", "ann_index_depths", "artifacts"], Days(day, day))
    return dg.MaterializeResult(
        asset_key=key_of("ann_index"),
        data_version=dg.DataVersion(artifact.content_hash),
        metadata={
            **versions,
            "path": dg.MetadataValue.path(str(artifact.folder)),
            "factory": index.factory,
            "vectors": len(index),
            "lake_snapshot": snapshot,
            **_index_metadata(rows, served),
        },
    )


def _index_metadata(rows: list[dict[str, Any]], served: Any) -> dict[str, Any]:
    """What Dagster shows of the measurements: the numbers of the chosen depth, its chart, and the whole curve."""
    from twotower_assets.reporting.charts import index_quality
    from twotower_assets.reporting.markdown_images import as_markdown_image

    depth = next(row["search_depth"] for row in rows if row["chosen"])
    lines = [
        f"| {row['search_depth'] or 'exact'} | {row['popularity_weight']:g} | {row['recall_at_k']:.4f} | "
        f"{row['queries_per_second']:,.0f} | {'●' if row['chosen'] else ''} |"
        for row in rows
    ]
    head = ["| search depth | γ | recall@k | queries per second | chosen |", "| --- | --- | --- | --- | --- |"]
    return {
        **({} if depth is None else {"search_depth": depth}),
        "recall_at_100": served["recall_at_k"].min(),
        "queries_per_second": served["queries_per_second"].min(),
        "depths": dg.MetadataValue.md("\n".join(head + lines)),
        "quality": dg.MetadataValue.md(as_markdown_image(index_quality(served), "Recall and speed of the index")),
    }


def _save_with_vectors(folder: Path, index: Any, items: Any, users: Any) -> None:
    """The index, and the vectors it was built with: with these, what was served can be served again."""
    import pyarrow.parquet as pq

    from twotower_assets.retrieval.storage import save_index

    save_index(index, folder)
    for name, rows in (("served_item_embeddings", items), ("served_user_embeddings", users)):
        pq.write_table(rows.drop_columns(["day"]), folder / VECTOR_FILES[name])


def _one_model(items: Any, users: Any, day: date) -> str:
    versions = {*items["model_version"].unique().to_pylist(), *users["model_version"].unique().to_pylist()}
    if len(versions) > 1:
        raise LakeError(
            f"item and user vectors of {day} come from different models ({', '.join(sorted(versions))}); materialize "
            "serving/item_embeddings and serving/user_embeddings for that partition again"
        )
    return str(versions.pop())

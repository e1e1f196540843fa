"""The embeddings of a day: its model embeds every item and every user, and the vectors are written to the lake.

How the towers embed is in `two_tower`; how vectors are searched is in `retrieval`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import duckdb

from twotower_assets.core.days import Days
from twotower_assets.experiments.day_checkpoint import day_checkpoint
from twotower_assets.experiments.hold_out import HoldOutRule, read_hold_out
from twotower_assets.lake.artifacts import Artifact
from twotower_assets.lake.queries import bound, read_query
from twotower_assets.lake.staging import stage_frame
from twotower_assets.lake.writing import Run, WrittenTable, commit_tables, written_table
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    import pyarrow as pa

    from twotower_assets.two_tower.checkpoint import Checkpoint


@dataclass(frozen=True)
class _Model:
    """A day's model, and a connection to read what it embeds."""

    workspace: Workspace
    artifact: Artifact
    checkpoint: Checkpoint
    con: duckdb.DuckDBPyConnection


def embed_items(workspace: Workspace, day: date, run: Run) -> WrittenTable:
    """Write `item_embeddings` of a day. Raises `LakeError` if no model was trained as of that day."""
    return _embed(workspace, day, run, "item_embeddings", "training/catalogue.sql", _item_columns)


def embed_users(workspace: Workspace, day: date, run: Run) -> WrittenTable:
    """Write `user_embeddings` of a day. Raises `LakeError` if no model was trained as of that day."""
    return _embed(workspace, day, run, "user_embeddings", "serving/user_histories.sql", _user_columns)


def _embed(
    workspace: Workspace,
    day: date,
    run: Run,
    name: str,
    sql_file: str,
    make_columns: Callable[[_Model, pa.Table], dict[str, Any]],
) -> WrittenTable:
    import pyarrow as pa

    from twotower_assets.two_tower.checkpoint import load_checkpoint

    with workspace.lake.reader() as con:
        artifact = day_checkpoint(con, workspace, day, run)
        checkpoint = load_checkpoint(artifact.folder, artifact.content_hash)
        sql = read_query(sql_file)
        parameters = {
            "as_of": day,
            "window_days": artifact.manifest["details"]["window_days"],
            "history_length": checkpoint.config.history_length,
        }
        rows = con.execute(sql, bound(con, sql, parameters)).to_arrow_table()
        columns = make_columns(_Model(workspace, artifact, checkpoint, con), rows)
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
    facts = {"model_version": artifact.version, "dimensions": checkpoint.config.dimensions}
    with workspace.lake.writer() as con:
        stage_frame(con, name, table)
        snapshot = commit_tables(workspace.lake, con, [name], Days(day, day), run)
        return written_table(con, name, snapshot, Days(day, day), **facts)


def _vectors(matrix: Any) -> Any:
    import pyarrow as pa

    return pa.FixedSizeListArray.from_arrays(pa.array(matrix.ravel(), pa.float32()), matrix.shape[1])


def _item_columns(model: _Model, items: pa.Table) -> dict[str, Any]:
    return {
        "item_id": items["item_id"],
        "embedding": _vectors(model.checkpoint.embed_items(items)),
        "bias": model.checkpoint.item_bias(items),
        "log_q": _served_log_q(model, items["item_id"]),
    }


def _served_log_q(model: _Model, item_ids: Any) -> Any:
    """log q counted over the training clicks, or over the training clicks and the impressions of the same days."""
    import numpy as np
    import pyarrow.compute as pc

    from twotower_assets.core.popularity import log_q

    if model.workspace.settings.popularity_from == "clicks":
        return model.checkpoint.log_q(item_ids)
    manifest = model.artifact.manifest
    day, snapshot = date.fromisoformat(manifest["model_day"]), manifest["lake_snapshot"]
    with model.workspace.lake.reader(snapshot) as con:
        hold_out = read_hold_out(con, HoldOutRule(**manifest["details"]), day, snapshot)
    popularity = log_q(hold_out.item_popularity("impressions", "train"))
    found = pc.index_in(item_ids.cast("string"), hold_out.items["item_id"].cast("string"))
    indices = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    return np.where(indices >= 0, popularity[indices], popularity.min())


def _user_columns(model: _Model, users: pa.Table) -> dict[str, Any]:
    attributes = model.con.execute(read_query("training/users.sql")).to_arrow_table()
    vectors = model.checkpoint.embed_users(users["user_id"], users["history"], attributes)
    return {"user_id": users["user_id"], "embedding": _vectors(vectors)}

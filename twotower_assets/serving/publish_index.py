"""The index of a day: built over its item vectors, measured, and published with the vectors it was built with.

How an index is built and measured is in `retrieval` and `index_depth.py`; which version is served is decided in
`promotion.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twotower_assets.core.days import Days
from twotower_assets.lake.artifacts import Artifact, ArtifactInput, Provenance, TableInput
from twotower_assets.lake.lake import LakeError
from twotower_assets.lake.queries import read_query, scalar
from twotower_assets.lake.staging import stage_rows
from twotower_assets.lake.writing import Run, artifact_rows, commit_tables
from twotower_assets.serving.index_depth import curve_rows, measured_index
from twotower_assets.serving.versions import VECTOR_FILES
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

    from twotower_assets.retrieval.index import ItemIndex


@dataclass(frozen=True)
class PublishedIndex:
    """An index and its measured recall and speed.

    Attributes:
        artifact: its files.
        model_version: the model whose vectors it holds.
        index: the index itself, to search in.
        snapshot: the lake snapshot at which the vectors were read.
        depths: rows of `ann_index_depths`.
        served: rows of `ann_index_quality`: those of the chosen depth.
    """

    artifact: Artifact
    model_version: str
    index: ItemIndex
    snapshot: int
    depths: list[dict[str, Any]]
    served: pl.DataFrame


def publish_index(workspace: Workspace, day: date, run: Run) -> PublishedIndex:
    """Build, measure and publish the index over a day's item vectors.

    Raises `LakeError` if vectors are missing, or if those of items and users come from different models.
    """
    (items, items_snapshot), (users, users_snapshot) = (
        _read_vectors(workspace, table, day, run) for table in ("item_embeddings", "user_embeddings")
    )
    snapshot = max(items_snapshot, users_snapshot)
    model_version = _common_model_version(items, users, day)
    vectors = {"item_vectors": _as_matrix(items["embedding"]), "user_vectors": _as_matrix(users["embedding"])}
    index, curve = measured_index(items, **vectors, settings=workspace.settings)
    artifact = workspace.artifacts.publish(
        "ann_index",
        lambda folder: _save_with_vectors(folder, index, items, users),
        Provenance(
            model_day=day,
            lake_snapshot=snapshot,
            code_version=run.code_version,
            run_id=run.run_id,
            tables=(
                TableInput("item_embeddings", items_snapshot, day.isoformat(), day.isoformat()),
                TableInput("user_embeddings", users_snapshot, day.isoformat(), day.isoformat()),
            ),
            artifacts=(ArtifactInput("tower_checkpoint", model_version),),
            details={"factory": index.factory, "search_depth": index.search_depth},
        ),
    )
    keys = {"day": day, "factory": index.factory, "index_version": artifact.version, "model_version": model_version}
    depths = [{**keys, **row} for row in curve_rows(curve, index.search_depth)]
    tables = ["ann_index_quality", "ann_index_depths", "artifacts"]
    with workspace.lake.writer() as con:
        served = stage_rows(con, "ann_index_quality", [row for row in depths if row["chosen"]])
        stage_rows(con, "ann_index_depths", depths)
        stage_rows(con, "artifacts", artifact_rows(artifact, workspace.settings.home))
        commit_tables(workspace.lake, con, tables, Days(day, day), run)
    return PublishedIndex(artifact, model_version, index, snapshot, depths, served)


def _read_vectors(workspace: Workspace, table: str, day: date, run: Run) -> tuple[pa.Table, int]:
    """The rows of an embedding table of a day, ordered by id, and the snapshot at which they were read.

    They are read as the run wrote them, if it did, whatever other runs wrote since. Raises `LakeError` if there are
    none.
    """
    name = {"item_embeddings": "item_id", "user_embeddings": "user_id"}[table]
    sought = {"table": table, "day": day, "run_ids": run.ids}
    with workspace.lake.reader() as con:
        newest = workspace.lake.snapshot(con)
        written = scalar(con, read_query("lineage/last_write_of_run.sql"), sought)
    with workspace.lake.reader(written or newest) as con:
        rows = con.execute(f"FROM {table} WHERE day = $day ORDER BY {name}", {"day": day}).to_arrow_table()
    if not rows.num_rows:
        raise LakeError(f"{table} has no vectors of {day}; materialize serving/{table} for that partition")
    return rows, written or newest


def _as_matrix(column: Any) -> Any:
    """A column of equally long float lists as a float32 matrix [n, d]."""
    return column.combine_chunks().flatten().to_numpy().reshape(len(column), -1)


def _save_with_vectors(folder: Path, index: ItemIndex, items: pa.Table, users: pa.Table) -> None:
    """Save the index with the vectors it was built with, so that a roll-back can serve exactly these again."""
    import pyarrow.parquet as pq

    from twotower_assets.retrieval.storage import save_index

    save_index(index, folder)
    for name, rows in (("served_item_embeddings", items), ("served_user_embeddings", users)):
        pq.write_table(rows.drop_columns(["day"]), folder / VECTOR_FILES[name])


def _common_model_version(items: pa.Table, users: pa.Table, day: date) -> str:
    versions = {*items["model_version"].unique().to_pylist(), *users["model_version"].unique().to_pylist()}
    if len(versions) > 1:
        raise LakeError(
            f"item and user vectors of {day} come from different models ({', '.join(sorted(versions))}); materialize "
            "serving/item_embeddings and serving/user_embeddings for that partition again"
        )
    return str(versions.pop())

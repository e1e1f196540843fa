"""How far the item vectors of a day's model moved since the previous model, and from the champion.

How two spaces are compared is in `evaluation.drift`; analysts read the table through the macro `embedding_drift`.
"""

from __future__ import annotations

from datetime import date
from typing import Any

import duckdb

from twotower_assets.core.days import Days
from twotower_assets.lake.lake import LakeError
from twotower_assets.lake.queries import read_query
from twotower_assets.lake.staging import stage_frame
from twotower_assets.lake.tables import TABLES
from twotower_assets.lake.writing import Run, WrittenTable, commit_tables, written_table
from twotower_assets.workspace import Workspace


def measure_drift(workspace: Workspace, day: date, run: Run) -> WrittenTable:
    """Write `embedding_drift` of a day. Raises `LakeError` if the day has no item vectors."""
    import pyarrow as pa

    days = Days(day, day)
    with workspace.lake.writer() as con:
        if not con.execute("FROM item_embeddings WHERE day = $day LIMIT 1", {"day": day}).fetchall():
            raise LakeError(f"there are no item vectors of {day}; materialize serving/item_embeddings for it")
        pairs = con.execute(read_query("serving/drift_pairs.sql"), {"day": day}).fetchall()
        drifts = [_drift_rows(con, day, *pair) for pair in pairs]
        stage_frame(con, "embedding_drift", pa.concat_tables(drifts) if drifts else _no_rows())
        snapshot = commit_tables(workspace.lake, con, ["embedding_drift"], days, run)
        others = [other for _, other, _ in pairs] or "nothing: there is no other model yet"
        return written_table(con, "embedding_drift", snapshot, days, compared_with=others)


def _drift_rows(con: duckdb.DuckDBPyConnection, day: Any, version: str, other: str, served: bool) -> Any:
    """The rows of one pair of versions."""
    import numpy as np
    import pyarrow as pa

    from twotower_assets.evaluation.drift import drift

    vectors = con.execute(
        read_query("serving/drift_vectors.sql"), {"day": day, "version": version, "other": other, "served": served}
    ).to_arrow_table()
    if vectors.num_rows < 2:
        return _no_rows()  # the two catalogues share fewer than two items
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

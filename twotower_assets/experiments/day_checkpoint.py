"""Finds the checkpoint of a day's model. `train_day.py` trains it."""

from __future__ import annotations

from datetime import date

import duckdb

from twotower_assets.lake.artifacts import Artifact
from twotower_assets.lake.lake import LakeError
from twotower_assets.workspace import Workspace


def day_checkpoint(con: duckdb.DuckDBPyConnection, workspace: Workspace, day: date) -> Artifact:
    """The checkpoint of a day's model. Raises `LakeError` where none was trained."""
    row = con.execute(
        "SELECT max_by(model_version, epoch) FROM training_curves WHERE day = $day", {"day": day}
    ).fetchone()
    if row is None or row[0] is None:
        raise LakeError(f"no model was trained as of {day}; materialize training/tower_checkpoint for that partition")
    return workspace.artifacts.open("tower_checkpoint", row[0])

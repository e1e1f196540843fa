"""Finds the checkpoint of a day's model. `train_day.py` trains it."""

from __future__ import annotations

from datetime import date

import duckdb

from twotower_assets.lake.artifacts import Artifact
from twotower_assets.lake.lake import LakeError
from twotower_assets.lake.queries import read_query, scalar
from twotower_assets.lake.writing import Run
from twotower_assets.workspace import Workspace


def day_checkpoint(con: duckdb.DuckDBPyConnection, workspace: Workspace, day: date, run: Run) -> Artifact:
    """The checkpoint that a run trained as of a day; the newest of the day if it trained none.

    So a run follows its own model, whatever other runs publish meanwhile. Raises `LakeError` where none was trained.
    """
    found = scalar(con, read_query("training/checkpoint_of_day.sql"), {"day": day, "run_ids": run.ids})
    if found is None:
        raise LakeError(f"no model was trained as of {day}; materialize training/tower_checkpoint for that partition")
    return workspace.artifacts.open_recorded(con, "tower_checkpoint", found)

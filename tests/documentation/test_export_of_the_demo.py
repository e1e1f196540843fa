"""Every user and every item of the demo has the same vector by onnxruntime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from end_to_end.test_export import inputs_of, vectors_by

from documentation.reading import Demo
from twotower_assets.experiments.compare_versions import hold_out_of
from twotower_assets.serving.export_model import export_model
from twotower_assets.serving.versions import find_version
from twotower_assets.settings import load_settings
from twotower_assets.two_tower.checkpoint import load_checkpoint
from twotower_assets.workspace import open_workspace

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e .[dev])")


def test_onnx_gives_the_vectors_of_every_user_and_item_of_the_demo(demo: Demo, tmp_path: Path) -> None:
    workspace = open_workspace(load_settings(home=demo.home, dataset="movielens"))
    with workspace.lake.reader() as con:
        version = find_version(con, "champion").model_version
    export_model(workspace, version, tmp_path / "model", "onnx")
    artifact = workspace.artifacts.open("tower_checkpoint", version)
    checkpoint, hold_out = load_checkpoint(artifact.folder), hold_out_of(workspace, artifact)
    items = vectors_by(tmp_path / "model", "item_tower", vars(checkpoint.encoder.encode_items(hold_out.items)))
    view = hold_out.present(checkpoint.config.history_length)
    clicked = dict(zip(view.user_ids.to_pylist(), view.histories.to_pylist(), strict=True))
    user_ids = hold_out.users["user_id"].combine_chunks().cast(pa.string())
    histories = pa.array([clicked.get(user) for user in user_ids.to_pylist()], pa.list_(pa.string()))
    users = vectors_by(tmp_path / "model", "user_tower", inputs_of(checkpoint, user_ids, histories))
    assert (len(items), len(users)) == (1682, 943)
    assert np.abs(items - checkpoint.embed_items(hold_out.items)).max() < 1e-5
    assert np.abs(users - checkpoint.embed_users(user_ids, histories, hold_out.users)).max() < 1e-5

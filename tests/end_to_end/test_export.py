"""A model in files of its own: other runtimes give the vectors and lists of the platform."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from end_to_end.market import LAST, copy_of, materialize, twotower, workspace_in
from twotower_assets.serving import export_model as export_module
from twotower_assets.serving.export_model import ExportError, export_model
from twotower_assets.serving.recommendations import recommend
from twotower_assets.serving.versions import find_version
from twotower_assets.two_tower.checkpoint import Checkpoint, load_checkpoint
from twotower_assets.two_tower.towers.compiled_towers import CompiledUserTower
from twotower_assets.workspace import Workspace

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed (pip install -e .[dev])")
LISTS = [["i1", "i5", "i9"], [], None, [f"i{item}" for item in range(30)], ["new", "i2"]]
HISTORIES, USERS = pa.array(LISTS, pa.list_(pa.string())), pa.array(["u1", "u2", "nobody", "u7", None], pa.string())


def newest(workspace: Workspace) -> str:
    """The version that was made last."""
    with workspace.lake.reader() as con:
        return find_version(con, str(LAST)).model_version


def inputs_of(checkpoint: Checkpoint, users: pa.Array, histories: pa.Array) -> dict[str, np.ndarray]:
    """The inputs of an exported user tower, as its manifest describes them."""
    encoder = checkpoint.encoder
    side = encoder.encode_users(users, None)
    history = encoder.encode_histories(histories)
    padded = np.zeros((len(users), encoder.history_length), np.int64)
    for row in range(len(users)):
        own = history.values[history.offsets[row] : history.offsets[row + 1]]
        padded[row, : len(own)] = own
    return {"ids": side.ids, "history": padded, "categorical": side.categorical, "numeric": side.numeric}


def vectors_by(folder: Path, tower: str, inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The vectors that the exported tower gives, by onnxruntime or by torch."""
    manifest = json.loads((folder / "manifest.json").read_text())
    given = {name: inputs[name] for name in manifest["inputs"][tower]}
    if manifest["format"] == "onnx":
        session = onnxruntime.InferenceSession(folder / f"{tower}.onnx")
        return np.asarray(session.run(None, given)[0])
    import torch

    program = torch.export.load(folder / f"{tower}.pt2").module()
    with torch.no_grad():
        return np.asarray(program(**{name: torch.from_numpy(array) for name, array in given.items()}).numpy())


@pytest.fixture(scope="module")
def own_home(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A model with MLPs, biases and a learned temperature, and one with towers of one's own."""
    home = copy_of(built.home, tmp_path_factory.mktemp("export"))
    own = {"user_tower": "two_tower.own_towers:Attention", "item_tower": "two_tower.own_towers:Categories"}
    recipe = {"description": "Own towers.", "training": own}
    (home / "recipes.yaml").write_text(json.dumps({"own": recipe}))
    workspace = workspace_in(home)
    made = ("tower_checkpoint", "item_embeddings")
    materialize(workspace, *made, hidden_sizes=[7], item_bias=True, learn_temperature=True)
    return workspace


@pytest.mark.parametrize("format", ["onnx", "torch"])
@pytest.mark.parametrize("recipe", [None, "own"])
def test_exported_towers_give_the_vectors_of_every_item_and_of_users(
    own_home: Workspace, tmp_path: Path, format: Any, recipe: str | None
) -> None:
    if recipe:
        materialize(own_home, "tower_checkpoint", "item_embeddings", recipe=recipe)
    version = newest(own_home)
    export_model(own_home, version, tmp_path / "model", format)
    checkpoint = load_checkpoint(own_home.artifacts.open("tower_checkpoint", version).folder)
    with own_home.lake.reader() as con:
        catalogue = con.execute("SELECT item_id, category, features FROM items").to_arrow_table()
    side = checkpoint.encoder.encode_items(catalogue)
    items = vectors_by(tmp_path / "model", "item_tower", vars(side))
    assert items == pytest.approx(checkpoint.embed_items(catalogue), abs=1e-5)
    users = vectors_by(tmp_path / "model", "user_tower", inputs_of(checkpoint, USERS, HISTORIES))
    expected = checkpoint.embed_users(USERS, HISTORIES)
    assert users == pytest.approx(expected, abs=1e-5)


def test_the_files_give_the_lists_of_the_platform_at_every_weight(trained: Workspace, tmp_path: Path) -> None:
    output = twotower(trained.settings.home, "export", str(tmp_path / "model"))
    assert "user_tower.onnx" in output
    manifest = json.loads((tmp_path / "model" / "manifest.json").read_text())
    items, users = (pq.read_table(tmp_path / "model" / f"{name}.parquet") for name in ("items", "users"))
    ids, row_of = (
        items["item_id"].to_pylist(),
        dict(zip(*(users[name].to_pylist() for name in ("user_id", "row")), strict=True)),
    )
    rows = dict(zip(ids, items["row"].to_pylist(), strict=True))
    vectors, log_q, bias = np.stack(items["vector"].to_numpy()), items["log_q"].to_numpy(), items["bias"].to_numpy()
    with trained.lake.reader() as con:
        clicks = con.execute(
            "SELECT item_id FROM training_pairs WHERE user_id = 'u3' ORDER BY clicked_at, item_id"
        ).fetchall()
    clicked = [item for (item,) in clicks]
    known = [rows[item] for item in clicked if rows.get(item)][-manifest["history_length"] :]
    padded = np.zeros((1, manifest["history_length"]), np.int64)
    padded[0, : len(known)] = known
    session = onnxruntime.InferenceSession(tmp_path / "model" / "user_tower.onnx")
    (vector,) = session.run(None, {"ids": np.array([row_of["u3"]]), "history": padded})[0]
    for gamma in (0.0, 0.5, 1.0):
        scores = manifest["inverse_temperature"] * vectors @ vector + bias
        scores += (gamma - manifest["trained_popularity_weight"]) * log_q
        scores[np.isin(ids, clicked)] = -np.inf
        best = [ids[place] for place in np.argsort(-scores)[:10]]
        assert best == [item.item_id for item in recommend(trained, "u3", 10, gamma)]


def test_weights_alone_are_all_weights(trained: Workspace, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    twotower(trained.settings.home, "export", str(tmp_path / "model"), "--format", "safetensors")
    weights = load_file(tmp_path / "model" / "towers.safetensors")
    checkpoint = load_checkpoint(trained.artifacts.open("tower_checkpoint", newest(trained)).folder)
    expected = checkpoint.towers.state_dict()
    assert weights.keys() == expected.keys()
    assert all((weights[name] == tensor.numpy()).all() for name, tensor in expected.items())


def test_a_folder_that_holds_something_is_refused_and_left_alone(trained: Workspace, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    message = twotower(trained.settings.home, "export", str(tmp_path), exit_code=1)
    assert f"{tmp_path} is not empty" in message
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_without_the_packages_of_onnx_they_are_named(trained: Workspace, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(export_module, "find_spec", lambda name: None if name == "onnxscript" else name)
    with pytest.raises(ExportError, match=r"ONNX needs onnxscript: pip install 'twotower-assets\[export\]'"):
        export_model(trained, newest(trained), tmp_path / "model", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_tower_that_cannot_be_traced_leaves_nothing_behind(trained: Workspace, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(CompiledUserTower, "forward", lambda tower, inputs: inputs.ids.numpy())
    with pytest.raises(ExportError, match="torch cannot export user_tower: "):
        export_model(trained, newest(trained), tmp_path / "model", "torch")
    assert list(tmp_path.iterdir()) == []


def test_a_version_without_item_embeddings_leaves_nothing_behind(own_home: Workspace, tmp_path: Path) -> None:
    materialize(own_home, "tower_checkpoint", seed=5)
    with own_home.lake.reader() as con:
        (version,) = con.execute(
            "SELECT version FROM artifacts WHERE asset = 'tower_checkpoint' AND version NOT IN "
            "(SELECT model_version FROM item_embeddings) LIMIT 1"
        ).fetchone() or ("",)
    with pytest.raises(ExportError, match="has no item embeddings"):
        export_model(own_home, str(version), tmp_path / "model", "safetensors")
    assert list(tmp_path.iterdir()) == []

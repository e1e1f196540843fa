"""A version of the model in files that need neither this package nor its lake.

    user_tower.*, item_tower.*   `encode` of each tower: .onnx, or .pt2 of `torch.export`
    towers.safetensors           instead of both, all weights by name
    items.parquet                item_id, row, vector, log_q, bias of every item that the version embeds
    users.parquet                user_id, row of every user that it knows
    manifest.json                what they are of, 1/τ, γ₀, vocabularies, and how a score is made of them

Here: which files, and what they hold. Not here: the arithmetic (`two_tower/towers/exported_towers.py`).
"""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twotower_assets.core.errors import ExpectedError
from twotower_assets.lake.queries import read_query
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    from twotower_assets.two_tower.checkpoint import Checkpoint

Format = Literal["onnx", "torch", "safetensors"]
SCORE = "inverse_temperature * <user vector, item vector> + bias + (γ - trained_popularity_weight) * log_q"
EXAMPLE_ROWS = 3
"""Of the inputs by which the towers are traced; exported towers take any number."""


class ExportError(ExpectedError, RuntimeError):
    """The version cannot be exported; the message says why."""


def export_model(workspace: Workspace, version: str, folder: Path, format: Format) -> list[Path]:
    """Write the files above into `folder`, which must not exist or be empty; returns their paths.

    Either all files are written or none. Raises `ExportError`; `CheckpointError` where the version's files are damaged.
    """
    from twotower_assets.two_tower.checkpoint import load_checkpoint

    missing = [package for package in ("onnx", "onnxscript") if format == "onnx" and find_spec(package) is None]
    if missing:
        raise ExportError(f"ONNX needs {' and '.join(missing)}: pip install 'twotower-assets[export]'")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ExportError(f"{folder} is not empty; give a new folder, so that no files of two models are mixed")
    artifact = workspace.artifacts.open("tower_checkpoint", version)
    checkpoint = load_checkpoint(artifact.folder, artifact.content_hash)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "export"
        made.mkdir()
        _write_vocabularies(workspace, version, checkpoint, made)
        inputs = _write_towers(checkpoint, made, format)
        manifest = {
            "format": format,
            "model_version": version,
            "model_day": artifact.manifest["model_day"],
            "recipe": artifact.manifest["recipe"],
            "content_hash": checkpoint.content_hash,
            "dimensions": checkpoint.config.dimensions,
            "inverse_temperature": checkpoint.inverse_temperature,
            "trained_popularity_weight": checkpoint.trained_popularity_weight,
            "trained_weight_is_known": checkpoint.trained_weight_is_known,
            "history_length": checkpoint.config.history_length,
            "score": SCORE,
            "inputs": inputs,
            "users": _vocabularies(checkpoint.encoder.users.describe()),
            "items": _vocabularies(checkpoint.encoder.items.describe()),
        }
        (made / "manifest.json").write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        if folder.exists():
            folder.rmdir()
        shutil.move(made, folder)
    return sorted(folder.iterdir())


def _vocabularies(description: dict[str, Any]) -> dict[str, Any]:
    """The values of each categorical feature, from index 1, and mean and deviation of each numeric one."""
    return {"categorical": description["categorical"], "numeric": description["numeric"]}


def _write_vocabularies(workspace: Workspace, version: str, checkpoint: Checkpoint, folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with workspace.lake.reader() as con:
        items = con.execute(read_query("serving/exported_items.sql"), {"version": version}).to_arrow_table()
    if not items.num_rows:
        raise ExportError(f"{version} has no item embeddings; materialize item_embeddings of its day first")
    rows = pa.array(checkpoint.encoder.items.encode_ids(items["item_id"]))
    pq.write_table(items.add_column(1, "row", rows), folder / "items.parquet")
    users = checkpoint.encoder.users
    pq.write_table(
        pa.table({"user_id": users.ids.ids, "row": users.encode_ids(users.ids.ids)}), folder / "users.parquet"
    )


def _write_towers(checkpoint: Checkpoint, folder: Path, format: Format) -> dict[str, list[str]]:
    """The names of the inputs of each tower, in their order."""
    import torch

    from twotower_assets.two_tower.towers.exported_towers import ExportedTower
    from twotower_assets.two_tower.training.tensor_file import write_tensors

    encoder, towers = checkpoint.encoder, checkpoint.towers
    sides = {"user_tower": (encoder.users, encoder.history_length), "item_tower": (encoder.items, 0)}
    inputs = {}
    for name, (side, history_length) in sides.items():
        example = {"ids": torch.arange(EXAMPLE_ROWS) % (side.embedded_ids + 1)}
        if name == "user_tower":
            example["history"] = torch.zeros(EXAMPLE_ROWS, history_length, dtype=torch.int64)
        if side.categorical:
            example["categorical"] = torch.zeros(EXAMPLE_ROWS, len(side.categorical), dtype=torch.int64)
        if side.numeric:
            example["numeric"] = torch.zeros(EXAMPLE_ROWS, len(side.numeric))
        inputs[name] = list(example)
        if format != "safetensors":
            _write_tower(ExportedTower(getattr(towers, name)).eval(), example, folder / name, format)
    if format == "safetensors":
        write_tensors(folder / "towers.safetensors", towers.state_dict(), {})
    return inputs


def _write_tower(tower: Any, example: dict[str, Any], file: Path, format: Format) -> None:
    import torch

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns of packages that towers do not need
    rows = torch.export.Dim("rows", min=1)
    shapes = {name: {0: rows} for name in example}
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, about its own parts
        try:
            exported = torch.export.export(tower, (), example, dynamic_shapes=shapes, strict=False)
            if format == "torch":
                torch.export.save(exported, file.with_suffix(".pt2"))
                return
            program = torch.onnx.export(exported, input_names=list(example), output_names=["vectors"], verbose=False)
            assert program is not None
            program.save(file.with_suffix(".onnx"))
        except Exception as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise ExportError(f"torch cannot export {file.name}: {reason}") from error

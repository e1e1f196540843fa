"""Saving a trained model to a folder, and loading it.

Here: the files, the content hash over those that determine the model, and the verification of both. Not here: names and
retention of folders; the artifact store decides these.

    weights.safetensors     the towers
    encoder.json            configuration, vocabularies of categorical features, scales of numeric ones
    users.parquet           user_id, in the order of the embedding rows from 1
    items.parquet           item_id and its training clicks, in the order of the embedding rows from 1
    training.json           a report per epoch and the caller's additions; not part of the hash
    checkpoint.json         format version, SHA-256 of each file above, and the content hash
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.popularity import log_q
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.encoders import Encoder, SideEncoder
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.data.vocabulary import Vocabulary
from twotower_assets.two_tower.towers.embedding import Embedder
from twotower_assets.two_tower.towers.model import Towers, build_towers
from twotower_assets.two_tower.towers.tower import TowerError
from twotower_assets.two_tower.training.epoch_report import EpochReport
from twotower_assets.two_tower.training.loop import TrainingResult
from twotower_assets.two_tower.training.tensor_file import read_tensors, write_tensors

FORMAT_VERSION = 3
READABLE_VERSIONS = (2, FORMAT_VERSION)
RENAMED = {
    "user_side.": "user_tower.side.",
    "history.": "user_tower.history.",
    "second_history.": "user_tower.second_history.",
    "user_mlp.": "user_tower.mlp.",
    "item_side.": "item_tower.side.",
    "item_mlp.": "item_tower.mlp.",
}
"""Beginnings of the names of weights in version 2, and what they are now."""
MODEL_FILES = ("weights.safetensors", "encoder.json", "users.parquet", "items.parquet")
FILES = (*MODEL_FILES, "training.json")
MANIFEST = "checkpoint.json"


class CheckpointError(ExpectedError, RuntimeError):
    """The folder is not an intact checkpoint; the message names the file and says what to do."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"Checkpoint file {path} {problem}. Restore the folder from a backup, or materialize "
            "tower_checkpoint again for that partition."
        )


@dataclass(frozen=True)
class Checkpoint(Embedder):
    """A loaded model: an `Embedder`, and what serving needs in addition."""

    config: TrainingConfig
    clicks: npt.NDArray[np.int64]
    content_hash: str
    reports: list[EpochReport]
    extra: dict[str, Any]

    @classmethod
    def from_result(cls, result: TrainingResult, training_set: TrainingSet, config: TrainingConfig) -> Checkpoint:
        """A model that is not saved yet, and has no content hash."""
        items = training_set.encoder.items.ids.size
        return cls(
            towers=result.towers,
            encoder=training_set.encoder,
            config=config,
            clicks=training_set.item_counts[:items],
            content_hash="",
            reports=result.reports,
            extra={},
        )

    @property
    def trained_popularity_weight(self) -> float:
        """γ₀: how much log q the score ⟨u, v⟩/τ + bias holds; only assumed where `trained_weight_is_known` is false."""
        return self.config.trained_popularity_weight

    @property
    def trained_weight_is_known(self) -> bool:
        """Whether γ₀ follows from how the model was trained."""
        return self.config.trained_weight_is_known

    @property
    def training_pairs(self) -> int:
        """N, the number of pairs trained on."""
        return int(self.clicks.sum())

    def item_counts(self, item_ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """Training clicks of each item, int64 [n]; 0 for items without training pairs."""
        return self.clicks[self.encoder.items.ids.encode(item_ids)]

    def log_q(self, item_ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.float32]:
        """Log of each item's share of the training pairs, float32 [n].

        Clipped from below, as if an item never clicked had half a click.
        """
        return log_q(self.clicks)[self.encoder.items.ids.encode(item_ids)].astype(np.float32)


def save_checkpoint(
    folder: Path,
    towers: Towers,
    training_set: TrainingSet,
    config: TrainingConfig,
    reports: Sequence[EpochReport] = (),
    extra: dict[str, Any] | None = None,
) -> str:
    """Write the files listed above into `folder`, which is created if missing.

    Returns:
        The content hash: SHA-256 over weights, configuration, vocabularies and counts. Reports and `extra` (run ids,
        times) are stored but not hashed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    encoder = training_set.encoder
    write_tensors(folder / "weights.safetensors", towers.state_dict(), {})
    _write_json(
        folder / "encoder.json",
        {
            "config": config.model_dump(mode="json"),
            "users": encoder.users.describe(),
            "items": encoder.items.describe(),
        },
    )
    pq.write_table(pa.table({"user_id": encoder.users.ids.ids}), folder / "users.parquet")
    pq.write_table(
        pa.table({"item_id": encoder.items.ids.ids, "clicks": training_set.item_counts[1 : encoder.items.ids.size]}),
        folder / "items.parquet",
    )
    _write_json(folder / "training.json", {"reports": [report.as_dict() for report in reports], "extra": extra or {}})
    digests = {name: _file_digest(folder / name) for name in FILES}
    content_hash = _content_hash(digests)
    _write_json(
        folder / MANIFEST,
        {"format_version": FORMAT_VERSION, "content_hash": content_hash, "sha256": digests},
    )
    return content_hash


def load_checkpoint(folder: Path, expected_hash: str | None = None) -> Checkpoint:
    """The model saved in `folder`; with `expected_hash`, only if this is its content hash.

    Raises:
        CheckpointError: A file is missing, has other bytes than were written, is of another format version, does not
            fit the others, or is of another model than was expected.
    """
    content_hash = _verified(folder)
    if expected_hash not in (None, content_hash):
        raise CheckpointError(folder / MANIFEST, f"has the content hash {content_hash}, not {expected_hash}")
    description = _read_json(folder / "encoder.json")
    training = _read_json(folder / "training.json")
    users = pq.read_table(folder / "users.parquet")
    items = pq.read_table(folder / "items.parquet")
    try:
        config = TrainingConfig.model_validate(description["config"])
        encoder = Encoder(
            users=SideEncoder.from_description(Vocabulary(users.column("user_id")), description["users"]),
            items=SideEncoder.from_description(Vocabulary(items.column("item_id")), description["items"]),
            history_length=config.history_length,
        )
        reports = [EpochReport(**report) for report in training["reports"]]
    except ValidationError as error:
        problems = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise CheckpointError(folder / "encoder.json", f"names what is not here: {problems}") from error
    except (KeyError, TypeError) as error:
        raise CheckpointError(folder / "encoder.json", f"was written by another version ({error})") from error
    return Checkpoint(
        towers=_load_towers(folder / "weights.safetensors", encoder, config),
        encoder=encoder,
        config=config,
        clicks=np.concatenate([np.zeros(1, np.int64), items.column("clicks").to_numpy()]),
        content_hash=content_hash,
        reports=reports,
        extra=training["extra"],
    )


def _load_towers(path: Path, encoder: Encoder, config: TrainingConfig) -> Towers:
    tensors, _ = read_tensors(path)
    try:
        towers = build_towers(encoder, config)
        towers.load_state_dict({_name_now(name): tensor for name, tensor in tensors.items()})
    except TowerError as error:
        raise CheckpointError(path, f"cannot be loaded: {error}") from error
    except RuntimeError as error:
        raise CheckpointError(path, f"does not fit the towers and vocabularies beside it ({error})") from error
    return towers.eval()


def _name_now(name: str) -> str:
    old = next((old for old in RENAMED if name.startswith(old)), None)
    return name if old is None else RENAMED[old] + name.removeprefix(old)


def _verified(folder: Path) -> str:
    """The content hash, after checking that every file has the digest in the manifest."""
    manifest = _read_json(folder / MANIFEST)
    version = manifest.get("format_version")
    if version not in READABLE_VERSIONS:
        readable = " and ".join(map(str, READABLE_VERSIONS))
        raise CheckpointError(folder / MANIFEST, f"is of format version {version}, but this code reads {readable}")
    digests = manifest.get("sha256", {})
    for name in FILES:
        if not (folder / name).is_file():
            raise CheckpointError(folder / name, "is missing")
        if _file_digest(folder / name) != digests.get(name):
            raise CheckpointError(folder / name, "has other bytes than were written")
    content_hash = _content_hash(digests, version)
    if content_hash != manifest.get("content_hash"):
        raise CheckpointError(folder / MANIFEST, "names a content hash that differs from that of its files")
    return content_hash


def _content_hash(digests: dict[str, str], version: int = FORMAT_VERSION) -> str:
    named = {"format_version": version} | {name: digests[name] for name in MODEL_FILES}
    return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CheckpointError(path, "is missing") from error
    except ValueError as error:
        raise CheckpointError(path, f"is not valid JSON ({error})") from error
    if not isinstance(value, dict):
        raise CheckpointError(path, "does not hold a JSON object")
    return value

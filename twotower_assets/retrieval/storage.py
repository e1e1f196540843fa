"""Saving and loading an index: `index.faiss`, `item_ids.json`, and `index.json`, which ties the two together.

A folder is written once and read as a whole. The caller decides where it lies, and moves and deletes it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from twotower_assets.retrieval.errors import ItemIndexError
from twotower_assets.retrieval.geometry import Geometry
from twotower_assets.retrieval.index import ItemIndex, set_search_depth

VECTORS_FILE: Final = "index.faiss"
IDS_FILE: Final = "item_ids.json"
DESCRIPTION_FILE: Final = "index.json"
FORMAT: Final = 3
GAMMA_IN_EXTRA: Final = 2
"""The earlier format, which has γ₀ in `extra`."""

_REBUILD = "Restore the folder from a copy, or build the index again"
_TRAINED_WEIGHT = ("trained_popularity_weight", "trained_weight_is_known")
_FIELDS = {
    "format": int,
    "size": int,
    "dimension": int,
    "geometry": dict,
    "factory": str,
    "trained_popularity_weight": float,
    "trained_weight_is_known": bool,
    "sha256": dict,
    "extra": dict,
}


def save_index(index: ItemIndex, folder: Path) -> None:
    """Write the index into a folder, which is created if missing.

    `index.json` is written last, so a folder left by an interrupted write does not load. The same index gives the
    same bytes.

    Raises:
        ItemIndexError: `extra` cannot be written as JSON, or FAISS cannot write there.
    """
    import faiss

    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION_FILE).unlink(missing_ok=True)
    try:
        faiss.write_index(index.faiss_index, str(folder / VECTORS_FILE))
    except RuntimeError as error:
        raise ItemIndexError(f"FAISS cannot write {folder / VECTORS_FILE}: {error}") from error
    (folder / IDS_FILE).write_text(json.dumps(index.item_ids, ensure_ascii=False), encoding="utf-8")
    description = {
        "format": FORMAT,
        "size": len(index),
        "dimension": index.dimension,
        "geometry": asdict(index.geometry),
        "factory": index.factory,
        "trained_popularity_weight": index.trained_popularity_weight,
        "trained_weight_is_known": index.trained_weight_is_known,
        "search_depth": index.search_depth,
        "sha256": {name: _sha256(folder / name) for name in (VECTORS_FILE, IDS_FILE)},
        "extra": index.extra,
    }
    try:
        text = json.dumps(description, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ItemIndexError(f"`extra` of the index must hold JSON values: {error}") from error
    (folder / DESCRIPTION_FILE).write_text(text + "\n", encoding="utf-8")


def load_index(folder: Path) -> ItemIndex:
    """Read an index that `save_index` wrote, and verify that ids and vectors belong together.

    Raises:
        ItemIndexError: a file is missing, was changed after it was written, or does not match the others; the
            message names the file and says what to do.
    """
    import faiss

    description = _description(folder)
    for name, expected in description["sha256"].items():
        path = folder / name
        if not path.is_file():
            raise ItemIndexError(f"{path} is missing. {_REBUILD}")
        if _sha256(path) != expected:
            raise ItemIndexError(
                f"{path} is not the file that {DESCRIPTION_FILE} describes (its SHA-256 differs), so "
                f"ids and vectors may not match. {_REBUILD}"
            )
    try:
        vectors = faiss.read_index(str(folder / VECTORS_FILE))
    except RuntimeError as error:
        raise ItemIndexError(f"FAISS {faiss.__version__} cannot read {folder / VECTORS_FILE}: {error}") from error
    item_ids = tuple(json.loads((folder / IDS_FILE).read_text(encoding="utf-8")))
    size, dimension, geometry = description["size"], description["dimension"], _geometry(description, folder)
    width = geometry.width(dimension)
    if not len(item_ids) == vectors.ntotal == size or vectors.d != width:
        raise ItemIndexError(
            f"{folder} holds {len(item_ids)} ids and {vectors.ntotal} vectors of dimension {vectors.d}, but "
            f"{DESCRIPTION_FILE} says {size} of dimension {dimension} + {width - dimension}. {_REBUILD}"
        )
    return ItemIndex(
        faiss_index=vectors,
        item_ids=item_ids,
        dimension=dimension,
        geometry=geometry,
        factory=description["factory"],
        trained_popularity_weight=float(description["trained_popularity_weight"]),
        trained_weight_is_known=description["trained_weight_is_known"],
        search_depth=set_search_depth(vectors, description.get("search_depth")),
        extra=description["extra"],
    )


def _description(folder: Path) -> dict[str, Any]:
    """The content of `index.json`, checked to have every field."""
    path = folder / DESCRIPTION_FILE
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ItemIndexError(f"{path} is missing: no index was written there, or not completely. {_REBUILD}") from None
    except ValueError as error:
        raise ItemIndexError(f"{path} is not JSON ({error}). {_REBUILD}") from error
    if not isinstance(description, dict):
        raise ItemIndexError(f"{path} does not hold a JSON object. {_REBUILD}")
    if description.get("format") == GAMMA_IN_EXTRA and isinstance(description.get("extra"), dict):
        extra = dict(description["extra"])
        trained_weight = {name: extra.pop(name) for name in _TRAINED_WEIGHT if name in extra}
        description |= {"format": FORMAT, "extra": extra, **trained_weight}
    wrong = [
        name
        for name, kind in _FIELDS.items()
        if not isinstance(description.get(name), (int, float) if kind is float else kind)
    ]
    if wrong or set(description["sha256"]) != {VECTORS_FILE, IDS_FILE}:
        raise ItemIndexError(f"{path} lacks, or has the wrong kind of, {', '.join(wrong) or 'sha256'}. {_REBUILD}")
    if description["format"] != FORMAT:
        raise ItemIndexError(f"{path} has format {description['format']}, this version reads {FORMAT}. {_REBUILD}")
    return description


def _geometry(description: dict[str, Any], folder: Path) -> Geometry:
    """The geometry that `index.json` describes."""
    try:
        return Geometry(**description["geometry"])
    except TypeError as error:
        raise ItemIndexError(f"{folder / DESCRIPTION_FILE} has another geometry ({error}). {_REBUILD}") from error


def _sha256(path: Path) -> str:
    """The hex digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

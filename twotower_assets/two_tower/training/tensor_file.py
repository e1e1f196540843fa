"""Named tensors and a JSON description in one file, written atomically and verified when read.

Here: the safetensors file with its digest. Not here: what the tensors are (`resume.py`, `checkpoint.py`). Nothing is
ever pickled.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from twotower_assets.core.errors import ExpectedError


class BrokenFileError(ExpectedError, ValueError):
    """The file is not what was written; the message says why."""


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and values, independent of the order of the mapping."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)};".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], description: Mapping[str, Any]) -> None:
    """Write to a temporary file beside `path`, flush to the disk, and rename. Raises OSError if that fails."""
    contiguous = {name: _unshared(tensor.detach().cpu().contiguous()) for name, tensor in tensors.items()}
    text = json.dumps(description)
    digest = hashlib.sha256((tensors_digest(contiguous) + text).encode()).hexdigest()
    # A single key: safetensors writes several keys in no fixed order, and equal contents must give equal bytes.
    metadata = {"contents": f"{digest} {text}"}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        save_file(contiguous, temporary, metadata=metadata)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except SafetensorError as error:
        raise OSError(f"cannot write {path}: {error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _unshared(tensor: Tensor) -> Tensor:
    """The tensor, or a copy if it is a view of a larger one: safetensors rejects tensors that share memory."""
    return tensor if tensor.untyped_storage().nbytes() == tensor.nbytes else tensor.clone()


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and description. Raises FileNotFoundError, or BrokenFileError if any byte differs."""
    if not path.is_file():
        raise FileNotFoundError(path)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise BrokenFileError(f"{path.name} is not an intact safetensors file ({error})") from error
    written, _, text = metadata.get("contents", "").partition(" ")
    digest = hashlib.sha256((tensors_digest(tensors) + text).encode()).hexdigest()
    if digest != written:
        raise BrokenFileError(f"{path.name} has other bytes than were written")
    return tensors, json.loads(text)

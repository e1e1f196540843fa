"""The state of an interrupted training run on disk.

Here: writing it after each epoch, and reading it back only if it belongs to the same configuration and data. Not here:
the loop (`loop.py`), and finished models (`checkpoint.py`). All randomness of an epoch is derived from (seed, epoch),
so the number of finished epochs is the whole state of the random generators.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.training.epoch_report import EpochReport
from twotower_assets.two_tower.training.tensor_file import BrokenFileError, read_tensors, write_tensors
from twotower_assets.two_tower.training.trainer import Trainer

logger = logging.getLogger(__name__)

FORMAT_VERSION = 8
FILE_NAME = "training_state.safetensors"


@dataclass
class Progress:
    """The progress of a run; `best_weights` is a copy of the towers' state after `best_epoch`."""

    reports: list[EpochReport]
    best_epoch: int
    best_metric: float | None
    best_weights: dict[str, Tensor]


def run_fingerprint(
    training_set: TrainingSet, config: TrainingConfig, mined: ItemSets | None, *, validation: str
) -> dict[str, Any]:
    """What must be equal for a saved state to be continued."""
    return {
        "format_version": FORMAT_VERSION,
        "config": config.model_dump(mode="json"),
        "data": training_set.fingerprint(),
        "mined": mined.fingerprint() if mined is not None else "none",
        "validation": validation,
    }


def save_state(
    folder: Path,
    fingerprint: dict[str, Any],
    trainer: Trainer,
    progress: Progress,
) -> None:
    """Replace the state in `folder` atomically: weights, average, best weights, optimizer, objective, reports."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"weights/{name}": tensor for name, tensor in trainer.towers.state_dict().items()}
    tensors |= {f"best/{name}": tensor for name, tensor in progress.best_weights.items()}
    tensors |= {f"objective/{name}": tensor for name, tensor in trainer.objective.state_dict().items()}
    if trainer.average is not None:
        tensors |= {f"average/{name}": tensor for name, tensor in trainer.average.state_dict().items()}
    tensors |= {f"optimizer/{name}": tensor for name, tensor in trainer.optimizer.state_dict().items()}
    description = {
        "fingerprint": fingerprint,
        "best_epoch": progress.best_epoch,
        "best_metric": progress.best_metric,
        "reports": [report.as_dict() for report in progress.reports],
    }
    write_tensors(folder / FILE_NAME, {name: tensor.cpu() for name, tensor in tensors.items()}, description)


def load_state(folder: Path, fingerprint: dict[str, Any], trainer: Trainer) -> Progress | None:
    """Load the state in `folder` into the trainer, and return the progress of the run.

    None if there is no state. None and a logged warning, with the trainer unchanged, if the state is damaged or belongs
    to another run.
    """
    path = folder / FILE_NAME
    try:
        tensors, description = read_tensors(path)
    except FileNotFoundError:
        return None
    except BrokenFileError as error:
        logger.warning("Training starts afresh: the resume state in %s is damaged: %s.", folder, error)
        return None
    saved = description.get("fingerprint", {})
    if different := [key for key in fingerprint if saved.get(key) != fingerprint[key]]:
        logger.warning(
            "Training starts afresh: the resume state in %s was written for another %s.",
            folder,
            " and another ".join(different),
        )
        return None
    trainer.towers.load_state_dict(_without_prefix("weights/", tensors))
    trainer.optimizer.load_state_dict(_without_prefix("optimizer/", tensors))
    trainer.objective.load_state_dict(_without_prefix("objective/", tensors))
    if trainer.average is not None:
        trainer.average.load_state_dict(_without_prefix("average/", tensors))
    return Progress(
        reports=[EpochReport(**report) for report in description["reports"]],
        best_epoch=description["best_epoch"],
        best_metric=description["best_metric"],
        best_weights=_without_prefix("best/", tensors),
    )


def _without_prefix(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}

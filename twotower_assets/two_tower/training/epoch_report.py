"""What a training run reports after each epoch.

Here: the record, and its JSON form. Not here: how it is measured (`loop.py`) or shown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EpochReport:
    """The report of one epoch. Its fields are part of the checkpoint format.

    Attributes:
        epoch: From 1.
        loss: Mean over the batches.
        validation_metric: None without validation.
        is_best: Whether this is the best epoch so far.
        repeat_share: Share of pairs whose user already had a pair in the same batch.
        pairs_per_second: Training pairs per second of training.
        seconds: Time of training, without validation.
        validation_seconds: Time of validation.
        seconds_left: Estimated time until the configured number of epochs.
        negatives_per_positive: Mean number of negatives per pair after masking.
        masked_per_positive: Mean number of candidates per pair that each mask removed.
    """

    epoch: int
    loss: float
    validation_metric: float | None
    is_best: bool
    repeat_share: float
    pairs_per_second: float
    seconds: float
    validation_seconds: float
    seconds_left: float
    negatives_per_positive: float
    masked_per_positive: dict[str, float]

    def as_dict(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return asdict(self)

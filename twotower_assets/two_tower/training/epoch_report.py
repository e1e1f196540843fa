"""What a training run tells about each epoch.

Here: the record and its plain form for tables and JSON. Not here: how it is measured or shown.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class EpochReport:
    """One epoch, counted from 1.

    `loss` is the mean over the epoch's batches, `validation_metric` None without validation, `is_best`
    whether this epoch's weights were the best so far, `repeat_share` the share of pairs whose user was
    already in the batch, `seconds` of training without validation, `validation_seconds` beside it, and
    `seconds_left` an estimate up to the configured number of epochs. `negatives_per_positive` is how many negatives a
    pair has left on average, `masked_per_positive` how many each mask took out.
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

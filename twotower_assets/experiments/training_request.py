"""What a training run is given: the data, the splits to train and to validate on, and how it reports progress."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twotower_assets.experiments.hold_out import HoldOut, HoldOutRule
from twotower_assets.settings import Settings


@dataclass(frozen=True)
class TrainingRequest:
    """The data to train on, and how the towers are validated during training.

    Attributes:
        hold_out: the pairs with their splits, the catalogue and the users.
        popularity_from: what log q counts when lists are served, `clicks` or `impressions`.
        popularity_weight: γ at which lists are served, and therefore validated.
        train_splits: splits to train on.
        validation_split: split to validate on; None for no validation.
        validation_description: identifies the validation; a resumed training must have the same.
        threads: of torch and FAISS; None for the default.
        device: what trains, `auto`, `cpu` or `cuda`.
        show_progress: whether to draw a progress bar.
        on_epoch: called with the report of each epoch.
    """

    hold_out: HoldOut
    popularity_from: str
    popularity_weight: float
    train_splits: tuple[str, ...] = ("train",)
    validation_split: str | None = "validation"
    validation_description: str = ""
    threads: int | None = None
    device: str = "cpu"
    show_progress: bool = False
    on_epoch: Callable[[Any], None] | None = None


def describe_validation(rule: HoldOutRule, settings: Settings, hold_out: HoldOut) -> str:
    """Everything that the validation depends on, besides the training's configuration and its pairs."""
    served = f"γ = {settings.popularity_weight} of {settings.popularity_from}"
    return f"{rule.description}; {served}; {hold_out.fingerprint('validation')}"


def epoch_logger(log: logging.Logger, epochs: int) -> Callable[[Any], None]:
    """A callback that writes one line to the log per epoch."""

    def log_epoch(report: Any) -> None:
        recall = "" if report.validation_metric is None else f", validation recall@20 {report.validation_metric:.4f}"
        log.info(
            f"epoch {report.epoch} of at most {epochs}: loss {report.loss:.4f}{recall}, "
            f"{report.pairs_per_second:,.0f} pairs/s, at most {report.seconds_left:.0f} s left"
        )

    return log_epoch

"""What is to be trained on what, and how the towers are evaluated on the way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from twotower_assets.experiments.hold_out import HoldOut, HoldOutRule
from twotower_assets.settings import Settings


@dataclass(frozen=True)
class Training:
    """What is to be trained on what, and how it is judged on the way.

    `parts` are trained on; the towers are judged on the part `validated_on`, or on none. `popularity_from` and
    `popularity_weight` (γ) are what recommendations are served with.
    """

    hold_out: HoldOut
    popularity_from: str
    popularity_weight: float
    parts: tuple[str, ...] = ("train",)
    validated_on: str | None = "validation"
    judged_by: str = ""
    threads: int | None = None
    show_progress: bool = False
    on_epoch: Callable[[Any], None] | None = None


def judged_by_of(rule: HoldOutRule, settings: Settings, hold_out: HoldOut) -> str:
    """What the validation of a training depends on beside its configuration and its pairs."""
    served = f"γ = {settings.popularity_weight} of {settings.popularity_from}"
    return f"{rule.description}; {served}; {hold_out.fingerprint('validation')}"


def logged_epochs(log: logging.Logger, epochs: int) -> Callable[[Any], None]:
    """Tells the log of every epoch's report."""

    def tell(report: Any) -> None:
        recall = "" if report.validation_metric is None else f", validation recall@20 {report.validation_metric:.4f}"
        log.info(
            f"epoch {report.epoch} of at most {epochs}: loss {report.loss:.4f}{recall}, "
            f"{report.pairs_per_second:,.0f} pairs/s, at most {report.seconds_left:.0f} s left"
        )

    return tell

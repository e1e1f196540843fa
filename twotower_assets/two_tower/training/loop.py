"""The training loop: epochs, early stopping, resuming, progress.

Here: what happens in which order. Not here: a step (`trainer.py`), the order of batches, the files of the resume state,
and where a finished model is kept.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.kernels.compiled import kernel_threads
from twotower_assets.two_tower.sampling.batches import epoch_generator, repeat_share, shuffled_batches, spread_batches
from twotower_assets.two_tower.towers.compiled_towers import Towers
from twotower_assets.two_tower.training.epoch_report import EpochReport
from twotower_assets.two_tower.training.prefetch import prefetched
from twotower_assets.two_tower.training.resume import Progress, load_state, run_fingerprint, save_state
from twotower_assets.two_tower.training.trainer import Trainer

logger = logging.getLogger(__name__)
deterministic: Any = torch.utils.deterministic  # its stub lacks what it has


@dataclass(frozen=True)
class TrainingResult:
    """Towers with the weights of `best_epoch` (the last without validation), and a report per epoch."""

    towers: Towers
    reports: list[EpochReport]
    best_epoch: int


def train(
    training_set: TrainingSet,
    config: TrainingConfig,
    *,
    validate: Callable[[Towers], float] | None = None,
    on_epoch: Callable[[EpochReport], None] | None = None,
    resume_dir: Path | None = None,
    progress: bool = False,
    threads: int | None = None,
    validation: str = "",
    mined: ItemSets | None = None,
) -> TrainingResult:
    """Train towers on the pairs; bit for bit the same weights on the same machine and threads.

    Args:
        training_set: From `build_training_set` with the same configuration.
        config: Hyper-parameters.
        validate: Metric of the towers after each epoch, higher is better; training stops after
            `config.patience` epochs without a better one. Without it, exactly `config.epochs` are trained.
            `Embedder(towers, training_set.encoder)` embeds tables with them.
        on_epoch: Told each epoch's report as it ends, after the resume state was written.
        resume_dir: Where the state after each epoch is kept, and continued from if it is of this very run; it
            stays there at the end, for the caller to discard once the result is saved.
        progress: Show a bar on standard error.
        threads: Of torch; None leaves it as it is. Trainings side by side that ask for more than there are cores
            take each other's time many times over.
        validation: Says what `validate` measures; a resume state that was judged by something else is not used.
        mined: One set per user number, which mined negatives are drawn from (`mining.py`).

    Raises:
        TrainingDataError: `mined` is missing where the configuration needs it.
        FloatingPointError: the loss is no longer finite. Whatever else is raised inside passes through at
            once; nothing but the resume state is left behind.
    """
    trainer = Trainer(training_set, config, mined)
    done = Progress([], 0, None, {})
    fingerprint = run_fingerprint(training_set, config, mined, validation=validation if validate else "none")
    if resume_dir is not None and (found := load_state(resume_dir, fingerprint, trainer)):
        done = found
        logger.info("Continuing after epoch %d of %d.", len(done.reports), config.epochs)
    with _reproducible(threads):
        while not _finished(done, config):
            report = _one_epoch(trainer, done, validate, progress)
            done.reports.append(report)
            if report.is_best:
                done.best_epoch, done.best_metric = report.epoch, report.validation_metric
                done.best_weights = {name: tensor.clone() for name, tensor in trainer.served.state_dict().items()}
            if resume_dir is not None:
                save_state(resume_dir, fingerprint, trainer, done)
            _tell(report, config, on_epoch)
    trainer.towers.load_state_dict(done.best_weights)
    return TrainingResult(trainer.towers.eval(), done.reports, done.best_epoch)


def _finished(done: Progress, config: TrainingConfig) -> bool:
    epochs = len(done.reports)
    if done.best_metric is not None and epochs - done.best_epoch >= config.patience:
        logger.info("Stopping: no better validation metric since epoch %d.", done.best_epoch)
        return True
    return epochs >= config.epochs


def _one_epoch(
    trainer: Trainer, done: Progress, validate: Callable[[Towers], float] | None, progress: bool
) -> EpochReport:
    objective = trainer.objective
    data, config = objective.data, objective.config
    epoch = len(done.reports) + 1
    started = time.perf_counter()
    generator = epoch_generator(config.seed, epoch)
    if config.batch_order == "spread":
        batches = spread_batches(data.user, data.item, config.batch_size, generator)
    else:
        batches = shuffled_batches(len(data), config.batch_size, generator)
    losses = []
    trainer.towers.train()
    shown = tqdm(batches, desc=f"epoch {epoch}", unit="batch", leave=False, disable=not progress)
    for drawn in prefetched(objective.sampler.draw(batch, generator) for batch in shown):
        losses.append(trainer.step(drawn))
    trainer.end_epoch()
    seconds = time.perf_counter() - started
    metric = None if validate is None else _validated(trainer.served, validate)
    validation_seconds = time.perf_counter() - started - seconds
    spent = sum(report.seconds + report.validation_seconds for report in done.reports)
    counts = objective.pop_counts()
    return EpochReport(
        epoch=epoch,
        loss=float(np.mean(losses)),
        validation_metric=metric,
        is_best=metric is None or done.best_metric is None or metric > done.best_metric,
        repeat_share=repeat_share(data.user, batches),
        pairs_per_second=len(data) / seconds,
        seconds=seconds,
        validation_seconds=validation_seconds,
        seconds_left=(spent + seconds + validation_seconds) / epoch * (config.epochs - epoch),
        negatives_per_positive=counts.negatives_per_positive,
        masked_per_positive=counts.masked_per_positive,
    )


def _validated(towers: Towers, validate: Callable[[Towers], float]) -> float:
    towers.eval()
    with torch.no_grad():
        metric = float(validate(towers))
    if math.isnan(metric):
        raise ValueError("The validation metric is NaN. Is there any user with clicks in the validation part?")
    return metric


def _tell(report: EpochReport, config: TrainingConfig, on_epoch: Callable[[EpochReport], None] | None) -> None:
    metric = "" if report.validation_metric is None else f", validation {report.validation_metric:.4f}"
    logger.info(
        "Epoch %d of %d: loss %.4f%s, %.0f pairs/s, at most %.0f s left.",
        report.epoch,
        config.epochs,
        report.loss,
        metric,
        report.pairs_per_second,
        report.seconds_left,
    )
    if on_epoch is not None:
        on_epoch(report)


@contextmanager
def _reproducible(threads: int | None) -> Iterator[None]:
    """Deterministic algorithms on a fixed number of threads; as before afterwards."""
    before = torch.get_deterministic_debug_mode()
    threads_before = torch.get_num_threads()
    filled_before = deterministic.fill_uninitialized_memory
    torch.set_deterministic_debug_mode("error")  # use_deterministic_algorithms imports torch's compiler, for seconds
    deterministic.fill_uninitialized_memory = False  # it costs a pass over every new tensor
    torch.set_num_threads(threads or threads_before)
    try:
        with kernel_threads(torch.get_num_threads()):
            yield
    finally:
        torch.set_num_threads(threads_before)
        deterministic.fill_uninitialized_memory = filled_before
        torch.set_deterministic_debug_mode(before)

"""The training loop: epochs, early stopping, resuming, progress.

Here: the order of events. Not here: a step (`trainer.py`), the order of batches (`sampling/batches.py`), the files of
the resume state (`resume.py`), and where a finished model is kept.
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
from torch import Tensor
from tqdm import tqdm

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.kernels.threads import computing_threads
from twotower_assets.two_tower.loss.objective import EngineName
from twotower_assets.two_tower.sampling.batches import epoch_generator, repeat_share, shuffled_batches, spread_batches
from twotower_assets.two_tower.towers.model import Towers
from twotower_assets.two_tower.training.device import training_device
from twotower_assets.two_tower.training.epoch_report import EpochReport
from twotower_assets.two_tower.training.prefetch import prefetched
from twotower_assets.two_tower.training.resume import Progress, load_state, run_fingerprint, save_state
from twotower_assets.two_tower.training.trainer import Trainer, check_finite

logger = logging.getLogger(__name__)
EPOCHS_OF_A_SEED = 1_000_003
"""More than any training has, so that no two epochs of two seeds draw the same."""
deterministic: Any = torch.utils.deterministic  # its type stub is incomplete


@dataclass(frozen=True)
class TrainingResult:
    """Towers with the weights of `best_epoch` (without validation the last), and a report per epoch."""

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
    device: str = "cpu",
    engine: EngineName | None = None,
) -> TrainingResult:
    """Train towers on the pairs; bit-identical weights on the same machine with the same number of threads.

    Args:
        training_set: From `build_training_set` with the same configuration.
        config: Hyperparameters.
        validate: Metric of the towers after each epoch, higher is better; training stops after `config.patience`
            epochs without a better one. Without it, all `config.epochs` are trained.
            `Embedder(towers, training_set.encoder)` embeds tables with them.
        on_epoch: Called with each epoch's report, after the resume state is written.
        resume_dir: Folder of the state after each epoch. A state of the same run is continued. The state stays there
            at the end; the caller discards it once the result is saved.
        progress: Show a progress bar on standard error.
        threads: Threads of torch; None leaves them unchanged. Concurrent trainings with more threads than cores slow
            each other down many times over.
        validation: Names what `validate` measures; a resume state with another validation is not used.
        mined: The sets that mined negatives are drawn from, one per user index.
        device: `cpu`, `cuda`, or `auto`: a GPU where there is one. On a GPU, weights are not the same bit for bit.
        engine: As for `Trainer`.

    Raises:
        TrainingDataError: `mined` is missing where the configuration needs it.
        DeviceError: The device is not there.
        FloatingPointError: The loss is no longer finite. This and any other exception leaves nothing behind but the
            resume state.
    """
    trainer = Trainer(training_set, config, mined, device=training_device(device), engine=engine)
    done = Progress([], 0, None, {})
    fingerprint = run_fingerprint(training_set, config, mined, validation=validation if validate else "none")
    if resume_dir is not None and (found := load_state(resume_dir, fingerprint, trainer)):
        done = found
        logger.info("Continuing after epoch %d of %d.", len(done.reports), config.epochs)
    with _reproducible(threads, trainer.device):
        while not _finished(done, config):
            report = _run_epoch(trainer, done, validate, progress)
            done.reports.append(report)
            if report.is_best:
                done.best_epoch, done.best_metric = report.epoch, report.validation_metric
                done.best_weights = {
                    name: tensor.to("cpu", copy=True) for name, tensor in trainer.evaluation_towers.state_dict().items()
                }
            if resume_dir is not None:
                save_state(resume_dir, fingerprint, trainer, done)
            _log(report, config)
            if on_epoch is not None:
                on_epoch(report)
    trainer.towers.to("cpu").load_state_dict(done.best_weights)
    return TrainingResult(trainer.towers.eval(), done.reports, done.best_epoch)


def _finished(done: Progress, config: TrainingConfig) -> bool:
    epochs = len(done.reports)
    if done.best_metric is not None and epochs - done.best_epoch >= config.patience:
        logger.info("Stopping: no better validation metric since epoch %d.", done.best_epoch)
        return True
    return epochs >= config.epochs


def _run_epoch(
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
    losses: list[float | Tensor] = []
    trainer.towers.train()
    progress_bar = tqdm(batches, desc=f"epoch {epoch}", unit="batch", leave=False, disable=not progress)
    with torch.random.fork_rng(devices=[trainer.device] if trainer.device.type == "cuda" else []):
        seed = config.seed * EPOCHS_OF_A_SEED + epoch  # of dropout in towers
        torch.default_generator.manual_seed(seed)
        if trainer.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        problems = (objective.sampler.draw(batch, generator) for batch in progress_bar)
        for problem in prefetched(problems, always=trainer.device.type != "cpu"):
            losses.append(trainer.step(problem))
    trainer.end_epoch()
    loss = float(np.mean([float(one) for one in losses]))  # waits for the device
    check_finite(loss)
    seconds = time.perf_counter() - started
    metric = None if validate is None else _validate(trainer.evaluation_towers, validate)
    validation_seconds = time.perf_counter() - started - seconds
    spent = sum(report.seconds + report.validation_seconds for report in done.reports)
    counts = objective.pop_counts()
    return EpochReport(
        epoch=epoch,
        loss=loss,
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


def _validate(towers: Towers, validate: Callable[[Towers], float]) -> float:
    towers.eval()
    with torch.no_grad():
        metric = float(validate(towers))
    if math.isnan(metric):
        raise ValueError("The validation metric is NaN. Does any user have clicks in the validation split?")
    return metric


def _log(report: EpochReport, config: TrainingConfig) -> None:
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


@contextmanager
def _reproducible(threads: int | None, device: torch.device) -> Iterator[None]:
    """Deterministic algorithms on a fixed number of threads, on the processor; restored afterwards."""
    before = torch.get_deterministic_debug_mode()
    fill_before = deterministic.fill_uninitialized_memory
    torch.set_deterministic_debug_mode(
        "error" if device.type == "cpu" else before
    )  # use_deterministic_algorithms would import torch's compiler, which takes seconds
    deterministic.fill_uninitialized_memory = False  # filling costs a pass over every new tensor
    try:
        with computing_threads(threads):
            yield
    finally:
        deterministic.fill_uninitialized_memory = fill_before
        torch.set_deterministic_debug_mode(before)

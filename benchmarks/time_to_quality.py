"""Seconds from the ratings in memory to a model that recalls more than EASE, on MovieLens-100K.

    python benchmarks/time_to_quality.py [--data FOLDER] [--seeds 3] [--threads N] [--json PATH]
    python benchmarks/time_to_quality.py --short

Protocol:

- Data, split and metric are those of quality_movielens.py: all ratings are positives, test is the last fifth of each
  user's ratings, recall@20 over all items without those the user rated before.
- Validation first: settings and epochs are chosen on the last fifth of each user's training part, where a training ends
  with the first epoch that recalls more than EASE does there. Of a peer's grid, with seed 0, the setting that needs the
  fewest epochs, of those the best. Then the epochs by which every seed is above EASE; where one stays below ("never
  within N"), the epoch with the best mean.
- Then every model is fitted on the whole training part with what was chosen, and evaluated on the test part. These fits
  take turns, one of each per seed, after the choice has warmed everything up. Nothing is chosen by the test part.
- Seconds run from the ratings as arrays to scores that can be asked for: encoding, histories, and batches count;
  reading the files, choosing, and evaluating do not. Saving is counted apart.
- EASE with λ = 200; ALS of `implicit`; the platform with its default recipe. The textbook loop is peers.TextbookLoop
  with the DataLoader (settings are chosen with sliced batches, which train the same); as it has no logQ correction, its
  scores are served with log q added, without which it recalls far less.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import timing
import torch
from peers import PeerMissingError, TextbookLoop, Work, blas_threads, implicit_als
from quality_movielens import EPOCHS, Dataset, Evaluator, Ratings, ScoreBlock, Trial, fetched, read
from safetensors.numpy import save_file

from twotower_assets.core.popularity import log_q
from twotower_assets.evaluation.baselines import ease
from twotower_assets.evaluation.scores import inner_products, served_scores
from twotower_assets.recipes.recipes import load_recipes, recipe_named
from twotower_assets.two_tower.checkpoint import save_checkpoint
from twotower_assets.two_tower.towers.model import Towers
from twotower_assets.two_tower.training.loop import train

METRIC = "recall@20"
RECIPE = "logq"  # TrainingConfig() as it stands, which quality_movielens.py rates
Settings = dict[str, Any]
Curve = list[float]


@dataclass(frozen=True)
class Fit:
    """A model's scores, the seconds to them, and how it is saved; EASE's weights are not."""

    scores: ScoreBlock
    seconds: float
    save: Callable[[Path], object] | None = None


@dataclass
class Learner:
    """A way to get a model: `curve` for choosing among `grid` and up to `epochs`, `fit` for the clock."""

    name: str
    grid: list[Settings] = field(default_factory=lambda: [{}])
    epochs: int = 1

    def curve(
        self,
        data: Dataset,
        part: Ratings,
        evaluator: Evaluator,
        seed: int,
        settings: Settings,
        bar: float,  # noqa: ARG002
    ) -> Curve:
        """The metric after each epoch, up to the first above `bar`."""
        return [evaluator(self.fit(data, part, seed, settings, 1).scores)[METRIC]]

    def fit(self, data: Dataset, part: Ratings, seed: int, settings: Settings, epochs: int) -> Fit:
        raise NotImplementedError


class Linear(Learner):
    """EASE."""

    def fit(self, data: Dataset, part: Ratings, seed: int, settings: Settings, epochs: int) -> Fit:  # noqa: ARG002
        with blas_threads(torch.get_num_threads()):
            started = time.perf_counter()
            scores = ease(part.user, part.item, len(data.user_ids), data.items.num_rows, 200.0)
            return Fit(scores, time.perf_counter() - started)


class Factorization(Learner):
    """ALS of implicit; its iterations are part of the grid."""

    def fit(self, data: Dataset, part: Ratings, seed: int, settings: Settings, epochs: int) -> Fit:  # noqa: ARG002
        shape = len(data.user_ids), data.items.num_rows
        found = implicit_als(part.user, part.item, *shape, seed=seed, **settings)
        arrays = {"users": found.users, "items": found.items}
        return Fit(inner_products(found.users, found.items, 1.0), found.seconds, partial(save_file, arrays))


@dataclass
class Textbook(Learner):
    """A tutorial's loop, epoch by epoch."""

    sparse: bool = False

    def curve(
        self, data: Dataset, part: Ratings, evaluator: Evaluator, seed: int, settings: Settings, bar: float
    ) -> Curve:
        loop = TextbookLoop(self._work(data, part, seed, settings), sparse=self.sparse, batches="sliced")
        popularity, found = _log_q(data, part), [0.0]
        while len(found) <= self.epochs and found[-1] <= bar:
            loop.train_epoch()
            found.append(evaluator(_served(loop, popularity))[METRIC])
        return found[1:]

    def fit(self, data: Dataset, part: Ratings, seed: int, settings: Settings, epochs: int) -> Fit:
        started = time.perf_counter()
        loop = TextbookLoop(self._work(data, part, seed, settings), sparse=self.sparse)
        for _ in range(epochs):
            loop.train_epoch()
        scores = _served(loop, _log_q(data, part))
        seconds = time.perf_counter() - started
        weights = {name: tensor.numpy() for name, tensor in loop.towers.state_dict().items()}
        return Fit(scores, seconds, partial(save_file, weights))

    def _work(self, data: Dataset, part: Ratings, seed: int, settings: Settings) -> Work:
        return Work(part.user, part.item, len(data.user_ids), data.items.num_rows, seed=seed, **settings)


def _served(loop: TextbookLoop, popularity: npt.NDArray[np.float64]) -> ScoreBlock:
    with torch.no_grad():
        users = loop.towers.users(torch.arange(loop.work.n_users)).numpy()
        items = loop.towers.items(torch.arange(loop.work.n_items)).numpy()
    own = inner_products(users, items, 1.0 / loop.work.temperature)
    served: ScoreBlock = served_scores(own, popularity, 1.0, 0.0)
    return served


def _log_q(data: Dataset, part: Ratings) -> npt.NDArray[np.float64]:
    return log_q(np.bincount(part.item, minlength=data.items.num_rows))


class _AboveBarError(Exception):
    """Leaves a training whose curve need not go on."""


@dataclass
class Workspace(Learner):
    """`train` with a shipped recipe."""

    recipe: str = RECIPE

    def curve(
        self, data: Dataset, part: Ratings, evaluator: Evaluator, seed: int, settings: Settings, bar: float
    ) -> Curve:
        config = self._config(seed, self.epochs, settings)
        trial, found = Trial(data, part, config), []

        def validate(towers: Towers) -> float:
            found.append(evaluator(trial.scores(towers))[METRIC])
            if found[-1] > bar:
                raise _AboveBarError
            return found[-1]

        with suppress(_AboveBarError):
            train(trial.training_set, config, validate=validate)
        return found

    def fit(self, data: Dataset, part: Ratings, seed: int, settings: Settings, epochs: int) -> Fit:
        started = time.perf_counter()
        config = self._config(seed, epochs, settings)
        trial = Trial(data, part, config)
        result = train(trial.training_set, config)
        seconds = time.perf_counter() - started
        save = partial(
            save_checkpoint,
            towers=result.towers,
            training_set=trial.training_set,
            config=config,
            reports=result.reports,
        )
        return Fit(trial.scores(result.towers), seconds, save)

    def _config(self, seed: int, epochs: int, settings: Settings) -> Any:
        return recipe_named(load_recipes(), self.recipe).config(epochs=epochs, patience=epochs, seed=seed, **settings)


@dataclass(frozen=True)
class Choice:
    """Settings and epochs by the validation part, what they recalled there, and whether that is more than EASE."""

    settings: Settings
    epochs: int
    validation: float
    beats: bool


def choose(learner: Learner, data: Dataset, inner: Ratings, evaluator: Evaluator, seeds: int, bar: float) -> Choice:
    """See the protocol; `bar` is what EASE recalls on the validation part."""
    first = [learner.curve(data, inner, evaluator, 0, settings, bar) for settings in learner.grid]

    def rank(place: int) -> tuple[bool, int, float]:
        above = first[place][-1] > bar
        return above, -len(first[place]) if above else 0, max(first[place])

    best = max(range(len(first)), key=rank)
    settings = learner.grid[best]
    others = [learner.curve(data, inner, evaluator, seed, settings, bar) for seed in range(1, seeds)]
    every = [first[best], *others]
    longest = max(map(len, every))
    curves = np.array([curve + curve[-1:] * (longest - len(curve)) for curve in every])  # (seeds, epochs)
    above = (curves > bar).all(axis=0)
    epoch = int(above.argmax() if above.any() else curves.mean(axis=0).argmax())
    return Choice(settings, epoch + 1, float(curves[:, epoch].mean()), bool(above.any()))


def seconds_to_save(fit: Fit) -> float | None:
    if fit.save is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        fit.save(Path(folder) / "model")
        return time.perf_counter() - started


def compare(data: Dataset, learners: list[Learner], seeds: int) -> Iterator[dict[str, Any]]:
    """A row per learner, EASE first."""
    training, test = data.ratings.split()
    inner, validation = training.split()
    evaluators = Evaluator(data, inner, validation), Evaluator(data, training, test)
    (bar,) = learners[0].curve(data, inner, evaluators[0], 0, {}, 1.0)
    choices: dict[str, Choice] = {}
    for learner in list(learners):
        try:
            choice = choices[learner.name] = choose(learner, data, inner, evaluators[0], seeds, bar)
            print(f"chosen for {learner.name}: {choice.settings}, epochs {choice.epochs}", flush=True)
        except PeerMissingError as error:
            learners.remove(learner)
            print(error, flush=True)
    found: dict[str, list[tuple[float, float | None, float]]] = {learner.name: [] for learner in learners}
    for seed in range(seeds):
        for learner in learners:
            choice = choices[learner.name]
            fit = learner.fit(data, training, seed, choice.settings, choice.epochs)
            found[learner.name].append((fit.seconds, seconds_to_save(fit), evaluators[1](fit.scores)[METRIC]))
    test_bar = found[learners[0].name][0][2]
    for learner in learners:
        seconds, saving, recall = (list(column) for column in zip(*found[learner.name], strict=True))
        yield {
            "model": learner.name,
            **vars(choices[learner.name]),
            "epochs_tried": learner.epochs,
            "seconds": seconds,
            "seconds_to_save": saving,
            "test": recall,
            "test_beats": sum(value > test_bar for value in recall),
        }


def cells(row: dict[str, Any], is_bar: bool) -> list[str]:
    beaten = f"after {row['epochs']}" if row["beats"] else f"never within {row['epochs_tried']}"
    if is_bar or row["epochs_tried"] == 1:
        beaten = "the bar" if is_bar else "yes" if row["beats"] else "never"
    return [
        row["model"],
        f"{row['validation']:.4f}",
        beaten,
        timing.Spread.of(row["seconds"]).text(".2f"),
        "" if row["seconds_to_save"][0] is None else timing.Spread.of(row["seconds_to_save"]).text(".3f"),
        timing.Spread.of(row["test"]).text(".4f"),
        "the bar" if is_bar else f"{row['test_beats']} of {len(row['test'])}",
    ]


def learners(epochs: int, recipes: list[str], *, short: bool) -> list[Learner]:
    names = "factors", "regularization", "alpha", "iterations"
    als = [
        dict(zip(names, values, strict=True)) for values in product((32, 64, 128), (3.0, 30.0, 10.0), (2.0, 1.0), (15,))
    ]
    loop = [{"temperature": tau, "learning_rate": rate} for tau, rate in product((0.1, 0.2), (0.001, 0.01))]
    if short:
        als, loop = als[-1:], loop[-1:]
    return [
        Linear("EASE, λ = 200"),
        Factorization("ALS (implicit)", als),
        Textbook("textbook loop", loop, epochs),
        Textbook("textbook loop, sparse", loop, epochs, sparse=True),
        *(Workspace(f"twotower_assets, {name}", epochs=2 if short else EPOCHS, recipe=name) for name in recipes),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of ml-100k.inter and ml-100k.item, else fetched")
    parser.add_argument("--seeds", type=int, default=3, help="trainings per row, and per choice")
    parser.add_argument("--epochs", type=int, default=15, help="most epochs of the textbook loop")
    parser.add_argument("--recipes", nargs="+", default=[RECIPE], metavar="NAME", help="of the platform")
    parser.add_argument("--threads", type=int, help="of everything; torch's default otherwise")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write one JSON object per row")
    parser.add_argument("--short", action="store_true", help="one seed, few epochs and settings")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.short:
        arguments.seeds, arguments.epochs = 1, min(arguments.epochs, 5)
    data = read(arguments.data or fetched())
    print(timing.machine_line(), flush=True)
    rows = list(compare(data, learners(arguments.epochs, arguments.recipes, short=arguments.short), arguments.seeds))
    columns = ["model", "validation", "above EASE, epochs", "seconds", "to save", "test", "above EASE"]
    timing.print_table(f"{METRIC}; median (least – most)", columns, [cells(row, row is rows[0]) for row in rows])
    if arguments.json:
        timing.write_json_lines(arguments.json, rows)


if __name__ == "__main__":
    main()

"""The public Python API, in addition to `connect`: train, evaluate, recommend and load a checkpoint, without Dagster.

Each function is a few calls into the packages below, and tables are returned as polars frames. Publishing and promoting
versions is left to the assets. Use it through the package: `twotower_assets.train(...)`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from twotower_assets.core.popularity import REPORTED_WEIGHTS
from twotower_assets.experiments.compare_versions import hold_out_of
from twotower_assets.experiments.evaluate_model import (
    ModelEvaluation,
    embed_view,
    evaluate_checkpoint,
    metric_rows,
    recommendation_lists,
)
from twotower_assets.experiments.hold_out import HoldOut, HoldOutError, HoldOutRule, read_hold_out, window_from
from twotower_assets.experiments.hold_out_from_frames import hold_out_from_frames
from twotower_assets.experiments.train_recipe import TrainedModel, needs_exposures, train_recipe
from twotower_assets.experiments.training_request import TrainingRequest
from twotower_assets.lake.queries import scalar
from twotower_assets.recipes.recipes import load_recipes, recipe_named
from twotower_assets.serving.recommendations import NothingServedError, serving
from twotower_assets.serving.versions import CHAMPION, find_version
from twotower_assets.settings import Settings, load_settings
from twotower_assets.workspace import Workspace, open_workspace

if TYPE_CHECKING:
    from typing import TypeAlias

    import pandas as pd
    import polars as pl
    import pyarrow as pa

    from twotower_assets.two_tower.checkpoint import Checkpoint

    Frame: TypeAlias = pa.Table | pl.DataFrame | pd.DataFrame


@dataclass(frozen=True)
class Model:
    """A trained model with its training and hold-out clicks. Made by `train`.

    Attributes:
        trained: the configuration, the training set, and a report per epoch in `trained.result.reports`.
        hold_out: the clicks, each with its `split`: train, validation or test.
        popularity_from: what log q counts, `clicks` or `impressions`.
        popularity_weight: the default γ.
    """

    trained: TrainedModel
    hold_out: HoldOut
    popularity_from: str
    popularity_weight: float

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """Towers and vocabularies: `embed_items`, `embed_users`, `log_q`, `trained_popularity_weight` (γ₀)."""
        return self.trained.checkpoint

    def recommend(self, user: str | int, k: int = 10, popularity_weight: float | None = None) -> pl.DataFrame:
        """The k best items that the user has not clicked, best first: rank, item_id, title, category, score.

        Args:
            user: id of a user with a click in the data.
            k: length of the list; shorter where the user has fewer items left.
            popularity_weight: γ between 0 (affinity alone) and 1 (click probability).

        Raises:
            NothingServedError: the data have no click of the user.
            ValueError: γ outside 0 to 1.
        """
        import numpy as np
        import polars as pl

        from twotower_assets.evaluation.ranking import top_k

        view = self._serving_scores.view
        row = view.user_ids.index(str(user)).as_py()
        if row < 0:
            raise NothingServedError(f"the model does not know the user '{user}': there is no click of theirs")
        scores = self._serving_scores.served(self.popularity_weight if popularity_weight is None else popularity_weight)
        found = top_k(lambda rows: scores(rows + row), 1, view.seen.take(np.asarray([row])), k)[0]
        found = found[found >= 0]
        items = pl.DataFrame(pl.from_arrow(self.hold_out.items.select(["item_id", "title", "category"]).take(found)))
        numbers = np.asarray(scores(np.asarray([row])))[0, found]
        return items.with_columns(score=numbers).with_row_index("rank", offset=1)

    def save(self, folder: str | Path) -> str:
        """Write the model into `folder` for `load_checkpoint`; returns its SHA-256 content hash."""
        from twotower_assets.two_tower.checkpoint import save_checkpoint

        trained, result = self.trained, self.trained.result
        return save_checkpoint(
            Path(folder), result.towers, trained.training_set, trained.config, result.reports, {"made_by": "train"}
        )

    @cached_property
    def _serving_scores(self) -> ModelEvaluation:
        """Scores for every user, from all of their clicks."""
        view = self.hold_out.present(self.trained.config.history_length)
        return embed_view(self.checkpoint, self.hold_out, view, self.popularity_from)


def train(
    impressions: Frame | None = None,
    items: Frame | None = None,
    users: Frame | None = None,
    *,
    recipe: str | None = None,
    hold_out: Literal["by_day", "per_user_last"] | None = None,
    home: str | Path | None = None,
    as_of: date | None = None,
    **changes: Any,
) -> Model:
    """Train a recipe on frames, or on the tables of a home. Nothing is written; `Model.save` does that.

    Args:
        impressions: A log with `user_id`, `item_id`, `shown_at`, optionally `clicked` (without it every row is a
            click) and the other columns of the data contract; an Arrow table, a polars or a pandas frame. Without it
            the tables of the home are read.
        items: The catalogue: `item_id`, optionally `category`, `title`, features. Default: what was clicked.
        users: `user_id` and features. Default: none.
        recipe: A shipped recipe or one of the home's own. Default: the setting of the home, else `best`.
        hold_out: Which clicks are held out. Default: the setting of the home; of frames `per_user_last`, each
            user's last fifth.
        home: The home folder, if no frames are given. Default as for `connect`.
        as_of: With a home, the day whose trailing window is trained on. Default: its newest day with clicks.
        changes: Training settings over those of the recipe, such as `epochs=5`.

    Raises:
        SourceError: a frame lacks a column, or too many of its rows are rejected.
        HoldOutError: there is no click to train on.
        RecipeError, pydantic.ValidationError: an unknown recipe, or an invalid training setting.
        TrainingDataError: the data lack what the recipe needs.
        LakeError: there is no lake in the home.
    """
    if impressions is None:
        if items is not None or users is not None:
            raise ValueError("items and users need impressions; pass impressions too, or none of the three")
        settings = load_settings() if home is None else load_settings(home=Path(home))
        settings = settings.model_copy(update={"hold_out": hold_out} if hold_out else {})
    else:
        if home is not None or as_of is not None:
            raise ValueError("home and as_of select tables of a home; omit them if you pass frames")
        settings = Settings.model_construct(hold_out=hold_out or "per_user_last")
    recipes = load_recipes(settings.recipes_file if impressions is None else None)
    config = recipe_named(recipes, recipe or settings.recipe).config(**changes)
    exposures = needs_exposures(config, recipes)
    if impressions is None:
        split = _hold_out_in(open_workspace(settings), as_of, exposures)
    else:
        split = hold_out_from_frames(impressions, items, users, settings, exposures=exposures)
    training = TrainingRequest(
        split,
        settings.popularity_from,
        settings.popularity_weight,
        threads=settings.training_threads,
        device=settings.device,
    )
    trained = train_recipe(training, config, recipes, changes)
    return Model(trained, split, settings.popularity_from, settings.popularity_weight)


def evaluate(model: Model | str = CHAMPION, *, home: str | Path | None = None) -> pl.DataFrame:
    """Metrics on the held-out test clicks, with 95 % intervals over users, for the model, most-popular and EASE.

    Args:
        model: A model from `train`; or a version in the home, given as its name, the start of it, a day or `champion`.
        home: The home folder with the version. Default as for `connect`.

    Returns:
        Columns model (`two_tower`, `most_popular`, `ease`), popularity_weight (γ; null for a baseline), metric, k,
        bucket (`all`, `head`, `mid`, `tail`, `cold`, `beyond_head`), value, low, high, users.

    Raises:
        HoldOutError: there is no test click to evaluate on.
        VersionError, ArtifactError, CheckpointError: the version does not exist, or its files are missing or damaged.
    """
    import polars as pl

    if isinstance(model, Model):
        checkpoint, hold_out = model.checkpoint, model.hold_out
        popularity_from, gamma = model.popularity_from, model.popularity_weight
    else:
        from twotower_assets.two_tower.checkpoint import load_checkpoint as load

        workspace = _workspace(home)
        artifact = workspace.artifacts.open("tower_checkpoint", _version(workspace, model))
        checkpoint, hold_out = load(artifact.folder), hold_out_of(workspace, artifact)
        popularity_from, gamma = workspace.settings.popularity_from, workspace.settings.popularity_weight
    evaluation = evaluate_checkpoint(checkpoint, hold_out, popularity_from)
    lists = recommendation_lists(evaluation, sorted({*REPORTED_WEIGHTS, gamma}))
    return pl.DataFrame(metric_rows(evaluation, lists), infer_schema_length=None)


def recommend(
    user: str | int,
    k: int = 10,
    popularity_weight: float | None = None,
    *,
    version: str | None = None,
    home: str | Path | None = None,
) -> pl.DataFrame:
    """Recommendations for a user, as `twotower recommend`: rank, item_id, title, category, bucket, score.

    Args:
        user: The user's id.
        k: Length of the list.
        popularity_weight: γ between 0 (affinity alone) and 1 (click probability). Default: the setting of the home.
        version: A version, the start of one, or a day. Default: the champion.
        home: The home folder. Default as for `connect`.

    Raises:
        NothingServedError: there is no champion, or the version does not know the user.
        VersionError: the version does not exist.
        ValueError: γ outside 0 to 1.
    """
    import polars as pl

    workspace = _workspace(home)
    with serving(workspace, version) as served:
        found = served.recommend(str(user), k, popularity_weight)
    names = ("rank", "item_id", "title", "category", "bucket", "score")
    return pl.DataFrame([suggestion.as_dict() for suggestion in found], schema=None if found else list(names))


def load_checkpoint(version_or_path: str | Path = CHAMPION, *, home: str | Path | None = None) -> Checkpoint:
    """A trained model: vectors for any items and users, γ₀, training clicks. Its methods take and return arrays.

    Args:
        version_or_path: A folder that `Model.save` wrote; or a version in the home, given as its name, the start of it,
            a day or `champion`.
        home: The home folder with the version. Default as for `connect`.

    Raises:
        VersionError, ArtifactError, CheckpointError: the version does not exist, or its files are missing or damaged.
    """
    from twotower_assets.two_tower.checkpoint import load_checkpoint as load

    if isinstance(version_or_path, Path) or Path(version_or_path).is_dir():
        return load(Path(version_or_path))
    workspace = _workspace(home)
    return load(workspace.artifacts.open("tower_checkpoint", _version(workspace, version_or_path)).folder)


def _workspace(home: str | Path | None) -> Workspace:
    return open_workspace(load_settings() if home is None else load_settings(home=Path(home)))


def _version(workspace: Workspace, name: str) -> str:
    with workspace.lake.reader() as con:
        return find_version(con, name).model_version


def _hold_out_in(workspace: Workspace, as_of: date | None, exposures: bool) -> HoldOut:
    settings = workspace.settings
    with workspace.lake.reader() as con:
        day = as_of or scalar(con, "SELECT max(day) FROM training_pairs")
        if day is None:
            raise HoldOutError(
                f"{settings.home} has no training pairs; run `twotower materialize features_job`, or pass frames"
            )
        window_days = window_from(con, workspace.days()[0], day, settings.window_days)
        rule = HoldOutRule.from_settings(settings, window_days)
        return read_hold_out(con, rule, day, workspace.lake.snapshot(con), exposures=exposures)

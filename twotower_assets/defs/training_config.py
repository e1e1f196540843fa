"""The run configuration of a training: a recipe and changes to its settings, as Dagster shows and checks them.

The meaning and range of each setting is declared in `recipes/config.py`; training itself is in `two_tower`.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Literal, Optional, get_args, get_origin

import dagster as dg
from pydantic import Field, ValidationError, create_model

from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.suggestions import did_you_mean
from twotower_assets.defs.launch_checks import CHOICES
from twotower_assets.experiments.known_features import require_known_features
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import Recipe, load_recipes, recipe_named
from twotower_assets.settings import Settings
from twotower_assets.workspace import open_workspace

log = logging.getLogger(__name__)


class TrainingSettingError(ExpectedError, ValueError):
    """A training setting is unknown or out of range; the message names it and the valid ones."""


NOT_IN_LAUNCHPAD = (
    "negatives",
    "user_tower",
    "user_tower_parameters",
    "item_tower",
    "item_tower_parameters",
    "loss",
)
"""Fields of `TrainingConfig` that only a recipe can set."""


def _limits(field: Any) -> dict[str, Any]:
    return {
        name: getattr(limit, name)
        for limit in field.metadata
        for name in ("ge", "gt", "le", "lt")
        if hasattr(limit, name)
    }


def _with_range(description: str, limits: dict[str, Any]) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    shown = ", ".join(f"{signs[name]} {value:.10g}" for name, value in limits.items())
    return f"{description} ({shown})" if shown else description


def _without_literals(annotation: Any) -> tuple[Any, list[str]]:
    """A type that Dagster can make optional, and its allowed values; Dagster has no optional `Literal`."""
    if get_origin(annotation) is Literal:
        return str, list(get_args(annotation))
    if get_origin(annotation) is list and get_origin(get_args(annotation)[0]) is Literal:
        return list[str], list(get_args(get_args(annotation)[0]))
    return annotation, []


def _as_dagster_config() -> type[dg.Config]:
    """A recipe and the settings that may override it, as shown in the launchpad, with ranges in the descriptions."""
    fields: dict[str, Any] = {
        "recipe": (
            str | None,
            Field(None, description="Recipe to train; the settings below override it. Default: TWOTOWER_RECIPE."),
        )
    }
    for name, field in TrainingConfig.model_fields.items():
        if name in NOT_IN_LAUNCHPAD:
            continue
        annotation, choices = _without_literals(field.annotation)
        limits = _limits(field)
        pattern = f"^({'|'.join(choices)})$" if choices and annotation is str else None
        description = f"{_with_range(field.description or '', limits)} Default: the recipe's, else {field.default!r}."
        extra: Any = {CHOICES: choices} if choices else None
        shown = Field(None, description=description, pattern=pattern, json_schema_extra=extra, **limits)
        fields[name] = (Optional[annotation], shown)  # noqa: UP045 - a union of a type known only here
    fields["window_days"] = (
        int | None,
        Field(
            None,
            ge=1,
            description="Days of pairs to train on, this day included; at most, and by default, the platform's "
            "TWOTOWER_WINDOW_DAYS.",
        ),
    )
    return create_model("TowerTrainingConfig", __base__=dg.Config, **fields)


TowerTrainingConfig = _as_dagster_config()


def shown_in_launchpad(settings: Settings, recipes: Mapping[str, Recipe]) -> dict[str, Any] | None:
    """What the launchpad starts with: the default recipe, its settings and the window. None for an unknown recipe."""
    if settings.recipe not in recipes:
        return None
    own = recipes[settings.recipe].config().model_dump(exclude=set(NOT_IN_LAUNCHPAD), exclude_none=True)
    own["history_length"] = min(own["history_length"], settings.history_length)
    return {"recipe": settings.recipe, "window_days": settings.window_days, **own}


def require_trainable(settings: Settings, recipes: Mapping[str, Recipe], requested: Mapping[str, Any]) -> None:
    """Check that a run with this configuration can be trained. Raises `ValueError`."""
    recipe = recipe_named(recipes, requested["recipe"] or settings.recipe)
    shown = shown_in_launchpad(settings, recipes) or {}
    if recipe.name != settings.recipe and shown and all(requested[name] is not None for name in shown):
        raise ValueError(
            f"every setting is given, so nothing of the recipe '{recipe.name}' would be used; keep only the settings "
            "that should differ from the recipe, and delete the others"
        )
    changes, _ = split_config(TowerTrainingConfig(**requested), recipe, settings, log)
    require_known_features(open_workspace(settings), recipe.config(**changes))


def require_known_setting(name: str, fields: Iterable[str] = TrainingConfig.model_fields) -> None:
    """Check the name of a training setting. Raises `TrainingSettingError` with the name that was probably meant."""
    if name not in fields:
        suggestion = did_you_mean(name, fields)
        known = "" if suggestion.endswith("?") else f" The settings: {', '.join(fields)}"
        raise TrainingSettingError(f"unknown training setting '{name}'{suggestion}{known}")


def require_changes(settings: Settings, changes: Mapping[str, Any]) -> None:
    """Check training settings before a run is created.

    Raises:
        TrainingSettingError: a setting is unknown or has an invalid value.
        RecipeError: there is no such recipe.
    """
    fields, recipes = TowerTrainingConfig.model_fields, load_recipes(settings.recipes_file)
    for name, value in changes.items():
        require_known_setting(name, fields)
        extra: Any = fields[name].json_schema_extra
        choices = (extra or {}).get(CHOICES)
        for choice in value if isinstance(value, list) else [value]:
            if choices and choice not in choices:
                raise TrainingSettingError(
                    f"{name} cannot be '{choice}'{did_you_mean(choice, choices)} It may be: {', '.join(choices)}"
                )
    if "recipe" in changes:
        recipe_named(recipes, changes["recipe"])
    try:
        require_trainable(settings, recipes, TowerTrainingConfig(**changes).model_dump())
    except ValidationError as error:
        raise TrainingSettingError("; ".join(map(_describe, error.errors()))) from error


def _describe(problem: Any) -> str:
    field = ".".join(map(str, problem["loc"]))
    message = problem["msg"].removeprefix("Value error, ")
    return f"{field}: {message} (found: {problem['input']!r})" if field else message


def split_config(
    run_config: Any, recipe: Recipe, settings: Settings, log: logging.Logger
) -> tuple[dict[str, Any], int]:
    """The settings that a run changes, and the window in days. Raises `ValueError` if the window is too long.

    A value equal to the recipe's is not a change. A history longer than that of the training pairs is cut to their
    length, so that training and serving see the same history.
    """
    own = recipe.config()
    names = [name for name in TrainingConfig.model_fields if name not in NOT_IN_LAUNCHPAD]
    given = {name: getattr(run_config, name) for name in names}
    changes = {name: value for name, value in given.items() if value is not None and value != getattr(own, name)}
    return changes_for(changes, recipe, settings, log), window_for(run_config.window_days, settings)


def changes_for(changes: dict[str, Any], recipe: Recipe, settings: Settings, log: logging.Logger) -> dict[str, Any]:
    """The changes to a recipe, with its history cut to the length that training pairs keep."""
    wanted = recipe.config(**changes).history_length
    if wanted > settings.history_length:
        log.info(
            f"history_length is {settings.history_length}, not {wanted}: training pairs keep no more "
            "(TWOTOWER_HISTORY_LENGTH)"
        )
        return {**changes, "history_length": settings.history_length}
    return changes


def window_for(window_days: int | None, settings: Settings) -> int:
    """The days to train on. Raises `ValueError` for more days than the features look back."""
    if window_days and window_days > settings.window_days:
        raise ValueError(
            f"window_days is {window_days}, but the platform's features look back {settings.window_days} days; raise "
            "TWOTOWER_WINDOW_DAYS and materialize the features again, or train on fewer days"
        )
    return window_days or settings.window_days

"""Recipes: named training settings in a few lines of YAML, shipped ones and a user's own.

Here: what a recipe is, and reading and validating the files. Not here: which settings there are (`config.py`,
`negative_settings.py`), and what a recipe does to a model (`docs/recipes.md`).
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from twotower_assets.core.errors import ExpectedError
from twotower_assets.core.suggestions import did_you_mean
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import MinedNegatives

SHIPPED = Path(__file__).with_name("recipes.yaml")
NAME = r"^[a-z][a-z0-9_]*$"


class RecipeError(ExpectedError, ValueError):
    """A recipe is unknown, or its file is invalid; the message says where and why."""


class Recipe(BaseModel):
    """A named way to sample negatives and to handle popularity."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=NAME, description="Lower case letters, digits and underscores.")
    description: str = Field(min_length=1, description="What it is, in a sentence or two.")
    assumes: str = Field(default="", description="What must hold.")
    helps: str = Field(default="", description="Where it helps.")
    costs: str = Field(default="", description="What it costs.")
    source: str = Field(default="", description="Where it comes from.")
    training: dict[str, Any] = Field(
        default_factory=dict, description="Fields of TrainingConfig in which it differs from the defaults."
    )

    def config(self, **changes: Any) -> TrainingConfig:
        """The training configuration; `changes` override the recipe's settings. Raises `pydantic.ValidationError`."""
        return TrainingConfig.model_validate({**self.training, **changes})

    @property
    def mined_recipe(self) -> str | None:
        """The recipe whose model is mined for this one; None without mined negatives."""
        return next(
            (negatives.recipe for negatives in self.config().negatives if isinstance(negatives, MinedNegatives)), None
        )


def load_recipes(user_file: Path | None = None) -> dict[str, Recipe]:
    """The shipped recipes, then those of `user_file` (none if it does not exist), by name.

    Raises:
        RecipeError: The file is invalid, or one of its recipes is.
    """
    recipes = shipped = dict(_shipped())
    if user_file is not None and user_file.is_file():
        user_recipes = _read(user_file)
        if used := [name for name in user_recipes if name in recipes]:
            raise RecipeError(f"{user_file}: '{used[0]}' is a shipped recipe; choose another name")
        recipes = shipped | user_recipes
    for recipe in recipes.values():
        mined = recipe.mined_recipe
        if mined is not None and (mined not in recipes or recipes[mined].mined_recipe is not None):
            file = SHIPPED if recipe.name in shipped else user_file
            raise RecipeError(
                f"{file}: recipe '{recipe.name}' mines '{mined}', which must be another recipe, without mined negatives"
            )
    return recipes


def recipe_named(recipes: Mapping[str, Recipe], name: str) -> Recipe:
    """The recipe of that name. Raises `RecipeError` naming those there are."""
    if name not in recipes:
        raise RecipeError(f"unknown recipe '{name}'{did_you_mean(name, recipes)} The recipes: {', '.join(recipes)}")
    return recipes[name]


@functools.cache
def _shipped() -> Mapping[str, Recipe]:
    return _read(SHIPPED)


def _read(file: Path) -> dict[str, Recipe]:
    try:
        found = yaml.load(file.read_text(encoding="utf-8"), Loader=_UniqueKeys)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{file} cannot be read as YAML: {error}") from error
    if not isinstance(found or {}, dict):
        raise RecipeError(f"{file} must map recipe names to recipes")
    return {str(name): _recipe(file, name, body) for name, body in (found or {}).items()}


def _recipe(file: Path, name: Any, body: Any) -> Recipe:
    try:
        recipe = Recipe.model_validate({"name": name, **(body if isinstance(body, dict) else {"training": body})})
        recipe.config()
    except ValidationError as error:
        problems = "; ".join(
            ": ".join([*([".".join(map(str, problem["loc"]))] if problem["loc"] else []), problem["msg"]])
            for problem in error.errors()
        )
        raise RecipeError(f"{file}: recipe '{name}': {problems}") from error
    return recipe


class _UniqueKeys(yaml.SafeLoader):  # type: ignore[misc]
    """A YAML loader that rejects repeated keys; PyYAML keeps the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        if repeated := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(
                None, None, f"the key '{repeated[0]}' occurs twice", node.start_mark
            )
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return mapping

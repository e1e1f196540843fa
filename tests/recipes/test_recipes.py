"""Recipes: the shipped ones are whole, a user's own are added, and a wrong file is one clear error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import RecipeError, load_recipes, recipe_named

SHIPPED = """
in_batch in_batch_plain_shuffle logq logq_positive_excluded logq_streaming learned_bias mixed
cross_batch hard_category hard_exposure_1 hard_exposure_2 hard_context hard_mined exposure_only best
"""
KNOWN_WEIGHTS = {
    "in_batch": 0.0,
    "in_batch_plain_shuffle": 0.0,
    "learned_bias": 0.0,
    "logq": 1.0,
    "logq_positive_excluded": 1.0,
    "logq_streaming": 1.0,
    "mixed": 1.0,
    "cross_batch": 1.0,
    "hard_category": 1.0,
    "hard_context": 1.0,
    "best": 1.0,
}
MINE = "mine:\n  description: My own.\n  training: {correction: none, temperature: 0.5}\n"


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The path of a user's file, which does not exist yet."""
    return tmp_path / "recipes.yaml"


def test_the_shipped_recipes_are_these() -> None:
    assert list(load_recipes()) == SHIPPED.split()


@pytest.mark.parametrize("name", SHIPPED.split())
def test_a_shipped_recipe_is_valid_and_says_what_it_is(name: str) -> None:
    recipe = load_recipes()[name]
    assert recipe.name == name
    assert isinstance(recipe.config(), TrainingConfig)
    for text in (recipe.description, recipe.assumes, recipe.helps, recipe.costs, recipe.source):
        assert text.strip()


def test_a_shipped_recipe_knows_its_trained_weight_unless_it_has_uncorrected_negatives() -> None:
    configs = {name: recipe.config() for name, recipe in load_recipes().items()}
    known = {
        name: config.trained_popularity_weight for name, config in configs.items() if config.trained_weight_is_known
    }
    assert known == KNOWN_WEIGHTS
    assert all(config.has_uncorrected for name, config in configs.items() if name not in known)


def test_no_two_shipped_recipes_train_the_same_but_the_recommended_one() -> None:
    settings = [recipe.config() for name, recipe in load_recipes().items() if name != "best"]
    assert all(config not in settings[index + 1 :] for index, config in enumerate(settings))


def test_changes_go_over_the_recipes_own_settings() -> None:
    config = load_recipes()["in_batch"].config(temperature=0.7, seed=4)
    assert (config.correction, config.temperature, config.seed) == ("none", 0.7, 4)


def test_a_recipe_says_which_other_it_mines() -> None:
    mined = {name: recipe.mined_recipe for name, recipe in load_recipes().items() if recipe.mined_recipe}
    assert mined == {"hard_mined": "logq"}


def test_a_file_of_ones_own_adds_its_recipes_after_the_shipped_ones(own: Path) -> None:
    own.write_text(MINE)
    found = load_recipes(own)
    assert list(found) == [*SHIPPED.split(), "mine"]
    assert found["mine"].config() == TrainingConfig(correction="none", temperature=0.5)


def test_a_recipe_of_ones_own_may_mine_another_of_ones_own(own: Path) -> None:
    negatives = "[{source: in_batch}, {source: mined, per_positive: 1, recipe: mine}]"
    own.write_text(f"{MINE}miner:\n  description: Mines mine.\n  training: {{negatives: {negatives}}}\n")
    assert load_recipes(own)["miner"].mined_recipe == "mine"


def test_a_recipe_with_the_former_name_of_the_uncorrected_treatment_is_the_same_recipe(own: Path) -> None:
    def config(treatment: str) -> TrainingConfig:
        source = f"{{source: category, per_positive: 1, treatment: {treatment}}}"
        own.write_text(f"mine:\n  description: Mine.\n  training: {{negatives: [{{source: in_batch}}, {source}]}}\n")
        return load_recipes(own)["mine"].config()

    assert config("margin") == config("uncorrected") != config("corrected")


@pytest.mark.parametrize("text", [None, "", "# nothing yet\n"])
def test_a_file_that_is_missing_or_empty_holds_no_recipe(own: Path, text: str | None) -> None:
    if text is not None:
        own.write_text(text)
    assert list(load_recipes(own)) == SHIPPED.split()


def training(settings: str) -> str:
    return f"mine:\n  description: My own.\n  training: {settings}\n"


def mining(recipe: str) -> str:
    return training(f"{{negatives: [{{source: in_batch}}, {{source: mined, per_positive: 1, recipe: {recipe}}}]}}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (training("{temprature: 0.5}"), ["'mine'", "temprature"]),
        (training("{temperature: 0}"), ["'mine'", "temperature", "greater than 0"]),
        (training("{correction: both}"), ["'mine'", "correction", "logq_positive_excluded"]),
        (training("{negatives: [{source: thin_air}]}"), ["'mine'", "negatives.0", "thin_air", "in_batch"]),
        (training("{negatives: [{source: uniform}]}"), ["'mine'", "negatives.0.uniform.count", "required"]),
        (training("{negatives: [{source: exposed, per_positive: 1}]}"), ["'mine'", "uncorrected"]),
        (training("[1, 2]"), ["'mine'", "training"]),
        ("mine:\n  training: {}\n", ["'mine'", "description", "required"]),
        ("mine:\n  description: Mine.\n  colour: red\n", ["'mine'", "colour"]),
        ("mine: 3\n", ["'mine'"]),
        ("Mine:\n  description: With a capital.\n", ["'Mine'", "name"]),
        ("3:\n  description: A number.\n", ["'3'", "name"]),
        ("mine:\n\tdescription: A tab.\n", ["YAML", "line 2"]),
        ("mine: {description: [}\n", ["YAML", "line 1"]),
        (f"{MINE}{MINE}", ["'mine'", "twice", "line"]),
        (training("{temperature: 0.5, temperature: 0.6}"), ["'temperature'", "twice"]),
        ("logq:\n  description: Another.\n", ["'logq'", "shipped", "another name"]),
        ("- mine\n- yours\n", ["must map recipe names"]),
        ("a sentence\n", ["must map recipe names"]),
        (mining("nothing_like_it"), ["'mine'", "'nothing_like_it'"]),
        (mining("hard_mined"), ["'mine'", "'hard_mined'", "without mined negatives"]),
        (mining("mine"), ["'mine'", "without mined negatives"]),
    ],
)
def test_a_wrong_file_is_one_error_that_names_the_file_and_what_is_wrong(
    own: Path, text: str, words: list[str]
) -> None:
    own.write_text(text)
    with pytest.raises(RecipeError) as error:
        load_recipes(own)
    for word in [str(own), *words]:
        assert word in str(error.value)


def test_a_file_that_is_no_text_is_the_same_error(own: Path) -> None:
    own.write_bytes(b"\xff\xfe\x00mine")
    with pytest.raises(RecipeError, match="cannot be read"):
        load_recipes(own)


def test_an_unknown_recipe_is_refused_with_those_there_are() -> None:
    with pytest.raises(
        RecipeError, match=r"unknown recipe 'logQ'; did you mean logq\? The recipes: in_batch, .*, best$"
    ):
        recipe_named(load_recipes(), "logQ")


def test_loading_recipes_needs_no_torch() -> None:
    code = (
        "import sys; from twotower_assets.recipes.recipes import load_recipes; load_recipes(); "
        "print('torch' in sys.modules, 'dagster' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]

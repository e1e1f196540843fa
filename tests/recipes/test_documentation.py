from pathlib import Path

from twotower_assets.recipes.documentation import markdown
from twotower_assets.recipes.recipes import load_recipes

PAGE = Path(__file__).resolve().parents[2] / "docs" / "recipes.md"


def test_the_page_says_what_recipes_and_sources_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "run `python -m twotower_assets.recipes.documentation > docs/recipes.md`"
    )


def test_the_page_has_a_section_for_every_recipe() -> None:
    page = markdown()
    for recipe in load_recipes().values():
        _, _, section = page.partition(f"### `{recipe.name}`\n")
        for text in (recipe.description, recipe.assumes, recipe.helps, recipe.costs, recipe.source):
            assert text in section.partition("\n### ")[0]

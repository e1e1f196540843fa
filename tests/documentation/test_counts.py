"""What the pages count, and list in full, is what is declared."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from documentation.blocks import PROJECT
from twotower_assets.checks.gates import CHALLENGER_GATES, CHAMPION_GATES
from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.jobs import jobs
from twotower_assets.defs.naming import Naming
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.settings import Settings

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
NUMBERS += ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]


def text(page: str) -> str:
    return (PROJECT / page).read_text(encoding="utf-8")


def counted(page: str, phrase: str) -> tuple[int, ...]:
    """The numbers that stand for `(N)` in a phrase of a page, as words."""
    found = re.search(phrase.replace("(N)", rf"({'|'.join(NUMBERS)})"), text(page).lower())
    assert found, f"{page} has no '{phrase}'"
    return tuple(NUMBERS.index(word) for word in found.groups())


def questions() -> int:
    return len(re.findall(r"^\*\*\d+\. ", text("docs/analysts.md"), re.MULTILINE))


@pytest.fixture(scope="module")
def assets() -> dict[str, str]:
    """The group that each asset is shown in."""
    settings = Settings(home=Path("/nonexistent"), dataset="parquet", first_day=date(2024, 1, 1))
    specs = build_definitions(settings).resolve_all_asset_specs()
    return {spec.key.path[-1]: str(spec.group_name) for spec in specs}


def test_the_page_of_the_assets_counts_and_lists_them_all(assets: dict[str, str]) -> None:
    assert counted("docs/assets.md", "(N) assets in (N) groups") == (len(assets), len(set(assets.values())))
    listed = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", text("docs/assets.md"), re.MULTILINE)
    assert assets.keys() <= {name for cell in listed for name in re.findall(r"`(\w+)`", cell)}


def test_the_page_of_the_assets_lists_every_job() -> None:
    listed = re.findall(r"^\| `(\w+_job)` \|", text("docs/assets.md"), re.MULTILINE)
    assert sorted(listed) == sorted(job.name for job in jobs(Naming()))


def test_recipes_are_counted_as_they_are_shipped() -> None:
    assert counted("README.md", r"(N) \[recipes\]") == (len(load_recipes()),)


@pytest.mark.parametrize("page", ["README.md", "docs/analysts.md"])
def test_the_questions_of_analysts_are_counted(page: str) -> None:
    assert counted(page, "(N) questions") == (questions(),)


def test_the_page_of_the_models_lists_every_gate() -> None:
    table = text("docs/models.md").partition("| gate | holds when |")[2].partition("\n\n")[0]
    listed = [name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])]
    assert listed == [gate.name for gate in (*CHAMPION_GATES, *CHALLENGER_GATES)]

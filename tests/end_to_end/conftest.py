"""The trained home that all tests share, and copies of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from shared_folder import built_once

from end_to_end.market import (
    COMPARED,
    OWN_RECIPES,
    Built,
    Compared,
    copy_of,
    run_recipe,
    trained_home,
    twotower,
    workspace_in,
)
from twotower_assets.reporting import report
from twotower_assets.reporting.report import draw_charts
from twotower_assets.workspace import Workspace


@pytest.fixture(scope="package", autouse=True)
def on_one_thread(one_thread: None) -> None:
    """Models here are tiny, so one thread is enough."""


LOOK_AT_CHARTS = ("test_report", "test_graph")
FIRST_CHARTS: dict[str, str] = {}


@pytest.fixture(autouse=True)
def charts_drawn_once(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports get the charts of the first one; drawing them takes longer than a training does here."""
    if request.module.__name__.rpartition(".")[2] not in LOOK_AT_CHARTS:
        monkeypatch.setattr(report, "draw_charts", charts_of_the_first)


def charts_of_the_first(data: report.ReportData) -> dict[str, str]:
    """The charts of the report that was drawn first in this process."""
    if not FIRST_CHARTS:
        FIRST_CHARTS.update(draw_charts(data))
    return FIRST_CHARTS


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The trained home; read-only."""
    return trained_home(tmp_path_factory)


@pytest.fixture(scope="session")
def trained(built: Built) -> Workspace:
    """The workspace of the trained home; read-only."""
    return workspace_in(built.home)


@pytest.fixture(scope="session")
def compared(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Compared:
    """A copy of the trained home with a recipe of the user's own, in which recipes were compared; read-only."""

    def compare(folder: Path) -> dict[str, str]:
        home = copy_of(built.home, folder)
        (home / "recipes.yaml").write_text(OWN_RECIPES, encoding="utf-8")
        changes = [text for name, value in COMPARED.items() for text in ("--set", f"{name}={value}")]
        for recipe in ("in_batch", "hard_exposure_1", "hard_category", "deep"):
            run_recipe(workspace_in(home), recipe)
        return {"output": twotower(home, "compare-recipes", "hard_mined", "--seeds", "2", *changes)}

    folder, printed = built_once(tmp_path_factory, "compared", compare)
    return Compared(folder / "home", **printed)


@pytest.fixture
def changeable_comparison(compared: Compared, tmp_path: Path) -> Workspace:
    """The workspace of a copy of the home in which recipes were compared."""
    return workspace_in(copy_of(compared.home, tmp_path))


@pytest.fixture
def changeable(built: Built, tmp_path: Path) -> Workspace:
    """The workspace of a copy of the trained home."""
    return workspace_in(copy_of(built.home, tmp_path))

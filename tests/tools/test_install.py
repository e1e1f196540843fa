"""`tools/install.py`: which torch, by which installer, and what is said where the CPU builds are out of reach."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from twotower_assets.core.folders import CHECKOUT

CPU = "https://download.pytorch.org/whl/cpu"


@pytest.fixture
def install() -> ModuleType:
    assert CHECKOUT is not None
    spec = importlib.util.spec_from_file_location("install", CHECKOUT / "tools" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def printed(
    install: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    *,
    tools: tuple[str, ...] = (),
    system: str = "Linux",
    reachable: bool = True,
) -> str:
    """What a dry run prints on a machine with some programs."""
    monkeypatch.setattr(install.shutil, "which", lambda name: f"/bin/{name}" if name in tools else None)
    monkeypatch.setattr(install.platform, "system", lambda: system)
    monkeypatch.setattr(install.Path, "exists", lambda path: False)
    monkeypatch.setattr(install, "answers", lambda index: reachable and index == CPU)
    monkeypatch.setattr(sys, "argv", ["install.py", ".venv", "dev", "--dry-run"])
    assert install.main() == 0
    return capsys.readouterr().out


def test_without_a_gpu_pip_takes_the_cpu_build(
    install: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = printed(install, capsys, monkeypatch)
    *_, last = output.splitlines()
    assert last == (
        f".venv/bin/python -m pip install --quiet --quiet --extra-index-url {CPU} --constraint constraints.txt "
        "--editable '.[dev]'"
    )
    assert "does not answer" not in output


def test_uv_installs_where_it_is_there_and_takes_torch_alone_from_that_index(
    install: ModuleType, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make, fill = printed(install, capsys, monkeypatch, tools=("uv",)).splitlines()
    assert make.startswith("/bin/uv venv")
    assert "--seed" in make  # the demo fetches with pip
    assert "--torch-backend cpu" in fill
    assert "index-url" not in fill


@pytest.mark.parametrize(
    "machine", [{"tools": ("nvidia-smi",)}, {"system": "Darwin"}, {"reachable": False}, {"tools": ("uv", "nvidia-smi")}]
)
def test_elsewhere_torch_comes_from_where_the_installer_looks_anyway(
    machine: dict[str, object],
    install: ModuleType,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = printed(install, capsys, monkeypatch, **machine)  # type: ignore[arg-type]
    assert "--torch-backend" not in output
    assert "--extra-index-url" not in output
    assert output.startswith(f"{CPU} does not answer") == (machine == {"reachable": False})


def test_an_index_that_cannot_be_reached_does_not_answer(install: ModuleType, tmp_path: Path) -> None:
    assert not install.answers("http://127.0.0.1:9/whl/cpu")
    assert not install.answers((tmp_path / "nowhere").as_uri())

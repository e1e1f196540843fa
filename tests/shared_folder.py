"""What is expensive to build and only read: built by one process of a test run, and used by all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

HANGS_AFTER_SECONDS = 1800.0
"""Whatever is waited for this long will never happen. No test decides by how fast something is."""


def built_once(
    factory: pytest.TempPathFactory, name: str, build: Callable[[Path], dict[str, str]]
) -> tuple[Path, dict[str, str]]:
    """The folder that `build` filled, and the texts that it gave.

    The first process that asks builds, and others wait for it; where building fails, the next one tries again.
    """
    own = factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    texts = folder.with_name(f"{name}.json")
    with FileLock(f"{folder}.lock"):
        if not texts.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            texts.write_text(json.dumps(build(folder)), encoding="utf-8")
    return folder, json.loads(texts.read_text(encoding="utf-8"))

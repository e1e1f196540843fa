"""The trained home, shared by all tests, and copies of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from end_to_end.market import Built, build, copy_of, platform_in
from twotower_assets.platform import Platform


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The trained home, not to be changed."""
    return build(tmp_path_factory.getbasetemp())


@pytest.fixture(scope="session")
def trained(built: Built) -> Platform:
    """The platform of the trained home, not to be changed."""
    return platform_in(built.home)


@pytest.fixture
def changeable(built: Built, tmp_path: Path) -> Platform:
    """The platform of a copy of the trained home."""
    return platform_in(copy_of(built.home, tmp_path))

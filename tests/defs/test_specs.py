"""How assets are declared: keys, groups, code versions."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pytest

from twotower_assets.defs.specs import code_version, group_of, key_of


def test_a_code_version_follows_the_text_and_not_the_order_of_files(tmp_path: Path) -> None:
    first, second = tmp_path / "a.sql", tmp_path / "b.sql"
    first.write_text("SELECT 1")
    second.write_text("SELECT 2")
    version = code_version([first, second])
    assert code_version([second, first]) == version
    second.write_text("SELECT 3")
    assert code_version([first, second]) != version


def test_the_key_of_an_asset_starts_with_its_group() -> None:
    assert key_of("exposure_log") == dg.AssetKey(["features", "exposure_log"])


def test_an_asset_outside_every_group_is_refused() -> None:
    with pytest.raises(KeyError, match="nothing belongs to no group"):
        group_of("nothing")

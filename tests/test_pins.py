"""The pinned versions can be installed with every Python that the README promises."""

from __future__ import annotations

import re
from importlib.metadata import distributions

from packaging.specifiers import SpecifierSet

from twotower_assets.core.folders import CHECKOUT

OLDEST = "3.11.0"


def test_every_pin_can_be_installed_with_the_oldest_python() -> None:
    assert CHECKOUT is not None
    lines = (CHECKOUT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines if "==" in line}
    wanted = {
        re.sub(r"[-_.]+", "-", each.metadata["Name"]).lower(): each.metadata["Requires-Python"]
        for each in distributions()
        if each.metadata["Name"]
    }
    assert len(pinned & set(wanted)) > 100
    too_new = {name: wanted[name] for name in pinned & set(wanted) if OLDEST not in SpecifierSet(wanted[name] or "")}
    assert too_new == {}

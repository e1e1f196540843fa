from __future__ import annotations

import os
from pathlib import Path

import pytest

from twotower_assets.core.cores import available_cores

MACHINE = 8


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(MACHINE)), raising=False)


def cores(folder: Path, **quotas: str) -> int:
    """The cores of a process in the group `pod/app`, where some groups have quotas."""
    app = folder / "cgroup" / "pod" / "app"
    app.mkdir(parents=True)
    for name, quota in quotas.items():
        {"app": app, "pod": app.parent, "root": app.parent.parent}[name].joinpath("cpu.max").write_text(f"{quota}\n")
    (folder / "membership").write_text("0::/pod/app\n")
    return available_cores(folder / "cgroup", folder / "membership")


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ({}, MACHINE),
        ({"app": "max 100000"}, MACHINE),
        ({"app": "200000 100000"}, 2),
        ({"app": "150000 100000"}, 2),
        ({"app": "50000 100000"}, 1),
        ({"app": "max 100000", "pod": "300000 100000"}, 3),
        ({"app": "400000 100000", "root": "100000 50000"}, 2),
        ({"app": "6400000 100000"}, MACHINE),
    ],
)
def test_the_lowest_quota_of_a_control_group_and_those_above_it_counts(
    tmp_path: Path, quotas: dict[str, str], expected: int
) -> None:
    assert cores(tmp_path, **quotas) == expected


def test_cores_taken_away_by_affinity_do_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 7})
    assert available_cores(tmp_path, tmp_path / "nowhere") == 2


def test_where_there_is_no_affinity_the_machine_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert available_cores(tmp_path, tmp_path / "nowhere") == 3


@pytest.mark.parametrize("membership", ["1:cpu:/old\n", "", "0::/gone\n"])
def test_a_group_of_version_1_or_one_that_is_gone_limits_nothing(tmp_path: Path, membership: str) -> None:
    (tmp_path / "membership").write_text(membership)
    assert available_cores(tmp_path, tmp_path / "membership") == MACHINE

"""A failing blocking check: what is downstream does not run, and later trainings refuse what failed."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from end_to_end.market import instance_of, materialize, rows, why
from twotower_assets.lake import queries
from twotower_assets.workspace import Workspace

CHAIN = ("training_pairs", "tower_checkpoint", "item_embeddings")


@pytest.fixture
def leaking_sql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`training_pairs.sql` as somebody may get it wrong: the click itself is in its history."""
    folder = Path(shutil.copytree(queries.SQL_FOLDER, tmp_path / "sql"))
    file = folder / "features" / "training_pairs.sql"
    text = file.read_text()
    assert "AND click_index - clicks_before PRECEDING" in text
    file.write_text(text.replace("AND click_index - clicks_before PRECEDING", "AND CURRENT ROW"))
    monkeypatch.setattr(queries, "SQL_FOLDER", folder)


def test_a_failed_blocking_check_stops_what_is_downstream_and_later_trainings(
    changeable: Workspace, leaking_sql: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = "SELECT version FROM artifacts ORDER BY version"
    before = rows(changeable, versions)
    with instance_of(changeable) as instance:
        run = materialize(changeable, *CHAIN, checks=True, instance=instance, succeeds=False)
        failed = {found.check_name for found in run.get_asset_check_evaluations() if not found.passed}
        assert failed == {"history_is_past"}
        assert {event.step_key for event in run.all_events if event.is_step_success}.isdisjoint(CHAIN[1:])
        assert rows(changeable, versions) == before

        later = materialize(changeable, "tower_checkpoint", instance=instance, succeeds=False)
        assert "features/training_pairs failed its check 'history_is_past'" in why(later)
        assert "then train again" in why(later)
        assert rows(changeable, versions) == before

        monkeypatch.undo()
        repaired = materialize(changeable, "training_pairs", "tower_checkpoint", checks=True, instance=instance, seed=1)
        assert repaired.success
    assert len(rows(changeable, versions)) == len(before) + 1

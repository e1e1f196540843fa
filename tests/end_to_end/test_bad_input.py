"""Wrong, missing and odd input: one message that says what to do, and nothing half-written."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from end_to_end.market import (
    FIRST,
    UNLISTED,
    catalogue,
    market_log,
    materialize,
    rows,
    twotower,
    why,
    workspace_in,
    write_raw,
    write_settings,
)
from twotower_assets.lake import instances
from twotower_assets.serving.recommendations import recommend
from twotower_assets.workspace import Workspace

MakeHome = Callable[..., Path]
LOG = market_log()
FEATURES = ("impressions", "items", "users", "training_pairs")


@pytest.fixture
def make_home(tmp_path: Path) -> MakeHome:
    """A home folder with its own raw files, before the first run."""

    def make(log: pl.DataFrame = LOG, items: pl.DataFrame | None = None, **settings: object) -> Path:
        raw = write_raw(tmp_path / "raw", log, items)
        write_settings(tmp_path / "home", **{"source_path": raw, **settings})
        return tmp_path / "home"

    return make


def refused(workspace: Workspace, *names: str) -> str:
    """Why the assets cannot be made."""
    return why(materialize(workspace, *names, succeeds=False))


def test_a_failing_command_prints_one_error_and_writes_nothing(make_home: MakeHome) -> None:
    home = make_home(LOG.rename({"shown_at": "ts"}))
    (home.parent / "raw" / "items.parquet").unlink()
    output = twotower(home, "materialize", "features_job", "--days", str(FIRST), exit_code=1)
    assert output.count("error:") == 1
    for name in ("impressions", "items"):
        assert f"step {name}: {name}.sql of the data set 'parquet' cannot read" in output
    assert "shown_at" in output
    assert "Traceback" not in output
    assert "Stack Trace" not in output
    workspace = workspace_in(home)
    assert rows(workspace, "FROM impressions") == rows(workspace, "FROM training_pairs") == []
    assert not list(workspace.artifacts.folder.rglob("*"))


def test_a_missing_column_is_named(make_home: MakeHome) -> None:
    reason = refused(workspace_in(make_home(LOG.drop("clicked"))), "impressions")
    assert "impressions.sql gave no column 'clicked' (it has: user_id, item_id, shown_at" in reason


def test_missing_files_are_named(make_home: MakeHome, tmp_path: Path) -> None:
    home = make_home(source_path=tmp_path / "nowhere")
    assert "nowhere does not exist. Set TWOTOWER_SOURCE_PATH" in refused(workspace_in(home), "impressions")


def test_users_are_optional(make_home: MakeHome) -> None:
    home = make_home()
    (home.parent / "raw" / "users.parquet").unlink()
    workspace = workspace_in(home)
    result = materialize(workspace, "users")
    assert rows(workspace, "FROM users") == []
    (event,) = result.asset_materializations_for_node("users")
    assert "no users file" in event.metadata["note"].value


def test_a_log_of_the_future_alone_names_no_first_day(make_home: MakeHome) -> None:
    log = LOG.with_columns(shown_at=pl.lit(datetime.now() + timedelta(days=2)))
    home = make_home(log, first_day="", last_day="")
    assert "set TWOTOWER_FIRST_DAY" in twotower(home, "materialize", "features_job", exit_code=1)


def test_items_without_a_category_are_of_an_unknown_one(make_home: MakeHome) -> None:
    workspace = workspace_in(make_home(items=catalogue().drop("category")))
    materialize(workspace, "items")
    assert rows(workspace, "SELECT DISTINCT category FROM items") == [("unknown",)]


def test_a_log_of_one_user_is_enough_to_train_on(make_home: MakeHome) -> None:
    workspace = workspace_in(make_home(LOG.filter(pl.col("user_id") == "u1")))
    materialize(workspace, *FEATURES, since=FIRST)
    materialize(workspace, "tower_checkpoint", "user_embeddings")
    known = (
        "SELECT user_id, isfinite(list_sum(embedding)) FROM user_embeddings WHERE user_id IN ('u1', 'u2') ORDER BY ALL"
    )
    assert rows(workspace, known) == [("u1", True), ("u2", True)]


def test_a_log_of_one_item_is_refused(make_home: MakeHome) -> None:
    workspace = workspace_in(make_home(LOG.with_columns(item_id=pl.lit("i1"))))
    materialize(workspace, *FEATURES, since=FIRST)
    assert "have the same item, 'i1'" in refused(workspace, "tower_checkpoint")


def test_a_window_with_a_day_that_was_never_materialized_is_refused(make_home: MakeHome) -> None:
    workspace = workspace_in(make_home())
    materialize(workspace, "impressions")
    reason = refused(workspace, "training_pairs")
    assert "sources/impressions was never materialized for 5 of the 6 days" in reason
    assert "the first is 2024-01-01" in reason


def test_a_checkpoint_with_a_flipped_byte_is_refused(changeable: Workspace) -> None:
    (version,) = rows(changeable, "SELECT model_version FROM champion")[0]
    file = changeable.artifacts.open("tower_checkpoint", version).folder / "weights.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    reason = refused(changeable, "item_embeddings")
    assert str(file) in reason
    assert "materialize tower_checkpoint again" in reason


def test_a_damaged_index_is_refused(changeable: Workspace) -> None:
    (version,) = rows(changeable, "SELECT index_version FROM champion")[0]
    folder = changeable.artifacts.open("ann_index", version).folder
    ids = next(folder.glob("*ids*"))
    ids.write_text(ids.read_text(encoding="utf-8").replace(UNLISTED, "another"), encoding="utf-8")
    output = twotower(changeable.settings.home, "recommend", "--user", "u1", exit_code=1)
    assert output.startswith("error: ")
    assert str(ids) in output


@pytest.mark.parametrize("asset", ["ann_index", "tower_checkpoint"])
def test_an_artifact_whose_folder_is_gone_is_named(changeable: Workspace, asset: str) -> None:
    column = {"ann_index": "index_version", "tower_checkpoint": "model_version"}[asset]
    (version,) = rows(changeable, f"SELECT {column} FROM champion")[0]
    folder = changeable.artifacts.open(asset, version).folder
    folder.rename(folder.with_name("moved"))
    home = changeable.settings.home
    if asset == "ann_index":
        assert f"{version} is gone" in twotower(home, "recommend", "--user", "u1", exit_code=1)
    else:
        assert f"{version} is gone" in refused(changeable, "user_embeddings")
        assert recommend(changeable, "u1", 3)
    assert f"{version} is gone" in twotower(home, "lineage", "ann_index", exit_code=1)


def test_a_setting_out_of_range_is_named(make_home: MakeHome) -> None:
    output = twotower(make_home(window_days=0), "sql", "SELECT 1", exit_code=1)
    assert "TWOTOWER_WINDOW_DAYS: Input should be greater than or equal to 1 (found: '0')" in output


def test_a_training_setting_out_of_range_is_named(changeable: Workspace) -> None:
    output = twotower(changeable.settings.home, "materialize", "training_job", "--set", "temperature=0", exit_code=1)
    assert "temperature" in output
    assert "greater than 0" in output
    assert "pydantic.dev" not in output


def test_a_lake_of_another_data_set_is_refused(changeable: Workspace) -> None:
    write_settings(changeable.settings.home, dataset="kuairand", source_path=changeable.source.path)
    output = twotower(changeable.settings.home, "sql", "FROM impressions", exit_code=1)
    assert "belongs to the data set 'parquet', not to 'kuairand'" in output


def test_a_missing_duckdb_extension_is_named(changeable: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instances, "EXTENSIONS", {"no_such_extension": "duckdb_extension_no_such"})
    monkeypatch.setattr(instances, "_idle", deque())
    output = twotower(changeable.settings.home, "sql", "FROM impressions", exit_code=1)
    assert "cannot load its extension 'no_such_extension'" in output
    assert "pip install duckdb-extension-no-such" in output

"""Logs as they come: late files, ids that the catalogue writes otherwise, days that do not count, two runs at once."""

from __future__ import annotations

import json
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from end_to_end.market import (
    EMPTY_DAY,
    FIRST,
    LAST,
    TRAINING,
    Built,
    catalogue,
    market_log,
    materialize,
    metadata,
    rows,
    twotower,
    why,
    workspace_in,
    write_raw,
    write_settings,
)
from twotower_assets.experiments.train_day import train_day
from twotower_assets.experiments.write_report import write_report
from twotower_assets.lake import artifacts
from twotower_assets.lake.writing import Run
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.serving.embed_day import embed_items, embed_users
from twotower_assets.serving.publish_index import publish_index
from twotower_assets.serving.summaries import every_version
from twotower_assets.serving.versions import find_version
from twotower_assets.workspace import Workspace

DEFAULT = load_recipes(Path("none"))["logq"]


def test_a_day_without_rows_says_so_in_its_check_and_in_the_summary(built: Built) -> None:
    assert f"{EMPTY_DAY}: no rows" in built.features
    workspace = workspace_in(built.home)
    result = materialize(workspace, "impressions", since=FIRST, checks=True)
    (check,) = [each for each in result.get_asset_check_evaluations() if each.check_name == "has_rows"]
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert f"no rows on {EMPTY_DAY}" in str(check.description)


def test_nothing_is_trained_as_of_a_day_whose_file_is_late(changeable: Workspace) -> None:
    reason = why(materialize(changeable, "tower_checkpoint", day=EMPTY_DAY, succeeds=False))
    assert f"{EMPTY_DAY} has no rows in the log" in reason
    assert rows(changeable, f"SELECT count(*) FROM artifacts WHERE model_day = '{EMPTY_DAY}'") == [(0,)]


@pytest.fixture(scope="module")
def zeros(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workspace, dg.ExecuteInProcessResult]:
    """A home whose catalogue writes every other id with a leading zero, and the run of its features."""
    folder = tmp_path_factory.mktemp("zeros")
    odd = pl.col("item_id").str.contains(r"[13579]$")
    items = catalogue().with_columns(item_id=pl.when(odd).then("0" + pl.col("item_id")).otherwise("item_id"))
    write_settings(folder / "home", source_path=write_raw(folder / "raw", market_log(), items))
    workspace = workspace_in(folder / "home")
    names = ("impressions", "items", "users", "training_pairs", "orphan_items")
    return workspace, materialize(workspace, *names, since=FIRST, checks=True, succeeds=False)


def test_ids_that_the_catalogue_writes_otherwise_are_counted_per_day(
    zeros: tuple[Workspace, dg.ExecuteInProcessResult],
) -> None:
    workspace, result = zeros
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    noticed, failed = checks["items_are_in_the_catalogue"], checks["most_items_are_in_the_catalogue"]
    assert (noticed.passed, noticed.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert re.search(
        r"of 2024-01-0\d have an item that is not in the catalogue; most often (i\d+ \(\d+\),? ?){3}; "
        r'likely cause: leading zeros, the log has "i\d*[13579]" and the catalogue "0i\d*[13579]"',
        str(failed.description),
    )
    of_days = [metadata(each) for each in result.asset_materializations_for_node("orphan_items")]
    assert len(of_days) == (LAST - FIRST).days + 1
    assert {each["share_of_impressions"] > 0.2 for each in of_days if each["dagster/row_count"]} == {True}
    counted = rows(
        workspace,
        "SELECT count(*) FROM impressions WHERE item_id NOT IN (SELECT item_id FROM items)",
    )
    assert counted == rows(workspace, "SELECT sum(impressions)::BIGINT FROM orphan_items")
    output = twotower(workspace.settings.home, "doctor", exit_code=1, output="stdout")
    assert re.search(r"catalogue: \d\d\.\d% of [\d,]+ impressions have an item that is not in the catalogue", output)


def test_doctor_counts_in_the_log_of_a_home_that_has_no_orphan_items_yet(changeable: Workspace) -> None:
    with changeable.lake.writer() as con:
        con.execute("DELETE FROM orphan_items")
        con.execute("DELETE FROM items WHERE item_id != 'i0'")
    output = twotower(changeable.settings.home, "doctor", exit_code=1, output="stdout")
    assert re.search(r"catalogue: 9\d\.\d% of [\d,]+ impressions", output)


def test_a_model_is_not_trained_on_a_log_that_the_catalogue_does_not_know(
    zeros: tuple[Workspace, dg.ExecuteInProcessResult],
) -> None:
    workspace, _ = zeros
    reason = why(materialize(workspace, "tower_checkpoint", succeeds=False))
    assert "features/orphan_items failed its check 'most_items_are_in_the_catalogue'" in reason
    assert "likely cause: leading zeros" in reason


def test_rows_before_the_first_day_are_in_no_window(changeable: Workspace) -> None:
    later = FIRST + timedelta(days=3)
    write_settings(changeable.settings.home, source_path=changeable.settings.source_path, first_day=later)
    moved = workspace_in(changeable.settings.home)
    assert rows(moved, f"SELECT count(*) > 0 FROM impressions WHERE day < '{later}'") == [(True,)]
    features = ("impressions", "training_pairs", "exposure_log", "item_frequency_daily", "item_frequency")
    materialize(moved, *features, since=later, checks=True)
    materialize(moved, "tower_checkpoint", "user_embeddings")
    old = f"""
        SELECT count(*)
        FROM (SELECT user_id, clicked_at, unnest(history) AS item_id FROM training_pairs WHERE day >= '{later}') AS past
        WHERE NOT EXISTS (
            FROM impressions AS click
            WHERE
                click.user_id = past.user_id AND click.item_id = past.item_id AND click.clicked
                AND click.shown_at < past.clicked_at AND click.day >= '{later}'
        )
    """
    assert rows(moved, old) == [(0,)]
    shown = f"SELECT max(impressions) <= (SELECT count(*) FROM impressions WHERE day >= '{later}') FROM item_frequency"
    assert rows(moved, f"{shown} WHERE day = '{LAST}'") == [(True,)]
    (version,) = rows(moved, "SELECT version FROM artifacts WHERE asset = 'tower_checkpoint' ORDER BY rowid DESC")[0]
    made = moved.artifacts.open("tower_checkpoint", version).manifest
    assert made["details"]["window_days"] == (LAST - later).days + 1
    assert next(each for each in made["tables"] if each["table"] == "training_pairs")["first_day"] == str(later)


def test_a_first_day_alone_leaves_the_last_day_of_the_data_set(tmp_path: Path) -> None:
    write_settings(tmp_path, dataset="movielens", first_day="1998-04-01", last_day="")
    assert workspace_in(tmp_path).days() == (date(1998, 4, 1), date(1998, 4, 22))


def test_a_run_follows_its_own_model_whatever_others_publish_meanwhile(changeable: Workspace) -> None:
    one, other = (Run("tower_checkpoint", name, "code") for name in ("one", "other"))
    made = {run.run_id: train_day(changeable, LAST, DEFAULT, TRAINING | {"seed": seed}, 6, run).artifact.version
            for seed, run in ((11, one), (12, other))}  # fmt: skip
    assert made["one"] != made["other"]
    embed_items(changeable, LAST, one)
    embed_items(changeable, LAST, other)
    embed_users(changeable, LAST, other)
    embed_users(changeable, LAST, one)
    for run in (other, one):
        assert publish_index(changeable, LAST, run).model_version == made[run.run_id]
        assert write_report(changeable, LAST, run).checkpoint.version == made[run.run_id]
    with changeable.lake.reader() as con:
        for version in made.values():
            found = find_version(con, version)
            assert found.index_version
            assert found.report_version


def test_the_newest_version_is_the_last_committed_whatever_the_clock_says(
    changeable: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Past(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return datetime(2001, 1, 1, tzinfo=UTC)

    monkeypatch.setattr(artifacts, "datetime", Past)
    run = Run("tower_checkpoint", "in the past", "code")
    version = train_day(changeable, LAST, DEFAULT, TRAINING | {"seed": 13}, 6, run).artifact.version
    assert every_version(changeable)[0].model_version == version
    with changeable.lake.reader() as con:
        assert find_version(con, str(LAST)).model_version == version
    listed = json.loads(twotower(changeable.settings.home, "versions", "--json"))
    assert listed[0]["model_version"] == version


@pytest.mark.parametrize("name", ["item_vectors.parquet", "index.json"])
def test_a_changed_byte_beside_an_index_is_noticed_when_it_is_served(changeable: Workspace, name: str) -> None:
    ((version,),) = rows(changeable, "SELECT index_version FROM champion")
    file = changeable.artifacts.open("ann_index", version).folder / name
    content = bytearray(file.read_bytes())
    content[-1] = ord(" ")
    file.write_bytes(content)
    home = changeable.settings.home
    assert "are not those that were published" in twotower(home, "recommend", "--user", "u1", exit_code=1)
    assert "are not those that were published" in twotower(home, "doctor", exit_code=1, output="stdout")


def test_folders_that_were_swapped_are_noticed(changeable: Workspace) -> None:
    run = Run("tower_checkpoint", "another", "code")
    another = train_day(changeable, LAST, DEFAULT, TRAINING | {"seed": 14}, 6, run).artifact
    ((served,),) = rows(changeable, "SELECT model_version FROM champion")
    folder = another.folder.with_name(served)
    folder.rename(folder.with_name("aside"))
    another.folder.rename(folder)
    folder.with_name("aside").rename(another.folder)
    output = twotower(changeable.settings.home, "doctor", exit_code=1, output="stdout")
    assert f"holds tower_checkpoint {another.version}: it was renamed or swapped" in output


def test_a_feature_that_no_item_has_is_refused_before_a_run(changeable: Workspace) -> None:
    home = changeable.settings.home
    runs = "SELECT count(*) FROM artifacts"
    before = rows(changeable, runs)
    named = "item_categorical_features=[title, nosuchkey]"
    output = twotower(home, "materialize", "training_job", "--set", named, exit_code=1)
    assert "item_categorical_features names 'title', which none of the items has" in output
    assert rows(changeable, runs) == before

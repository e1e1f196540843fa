"""What is served: the newest version that passes the gates, whatever is rebuilt, the same in SQL and from the index."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import dagster as dg
import pytest

from end_to_end.market import (
    LAST,
    TRAINING,
    assert_scores_in_sql_are_those_of_the_index,
    materialize,
    metadata,
    rows,
    why,
    workspace_in,
)
from twotower_assets.experiments.train_day import train_day
from twotower_assets.lake.writing import Run
from twotower_assets.recipes.recipes import load_recipes, recipe_named
from twotower_assets.serving.recommendations import recommend
from twotower_assets.workspace import Workspace

SERVED = "SELECT model_day, model_version FROM champion"
DECISIONS = "SELECT model_version, decision, champion_before FROM champion_decisions WHERE decision != 'promoted'"
RECALL = "metric = 'recall' AND k = 20 AND bucket = 'all'"
FAULTS = {
    "item_embeddings_are_sound": "UPDATE item_embeddings SET embedding = [2.0] WHERE day = $day AND item_id = 'i7'",
    "index_recall": "UPDATE ann_index_quality SET recall_at_k = 0.5 WHERE day = $day AND popularity_weight = 0.5",
    "model_beats_most_popular": f"UPDATE model_metrics SET value = 0.01 WHERE day = $day AND {RECALL} "
    "AND model = 'two_tower'",
}


def plant(workspace: Workspace, day: date, change: str = "") -> str:
    """A new model in the tables of another day, with all that the last one has, and one change to what was measured."""
    ((real,),) = rows(workspace, f"SELECT DISTINCT model_version FROM item_embeddings WHERE day = '{LAST}'")
    recipe = recipe_named(load_recipes(workspace.settings.recipes_file), workspace.settings.recipe)
    run = Run("tower_checkpoint", "planted")
    version = train_day(workspace, LAST, recipe, {**TRAINING, "seed": 20 + day.day}, 6, run).artifact.version
    with workspace.lake.writer() as con:
        for table in ("item_embeddings", "user_embeddings", "ann_index_quality", "model_metrics"):
            con.execute(
                f"INSERT INTO {table} SELECT * REPLACE ($day AS day, $version AS model_version) FROM {table} "
                "WHERE day = $last",
                {"day": day, "version": version, "last": LAST},
            )
        con.execute(
            "INSERT INTO artifacts SELECT * REPLACE ($day AS model_day, "
            "replace(upstream::VARCHAR, $real, $version)::JSON AS upstream) FROM artifacts "
            "WHERE asset = 'popularity_bias_report'",
            {"day": day, "real": real, "version": version},
        )
        if change:
            con.execute(change, {"day": day})
    return version


def promote(workspace: Workspace) -> dict[str, Any]:
    """What the materialization of the champion says."""
    (event,) = materialize(workspace, "champion").asset_materializations_for_node("champion")
    return metadata(event)


def test_the_newest_version_that_passes_the_gates_is_served(changeable: Workspace) -> None:
    version = plant(changeable, LAST + timedelta(days=1))
    plant(changeable, LAST - timedelta(days=1))
    assert promote(changeable)["refused"] == []
    assert rows(changeable, SERVED) == [(LAST + timedelta(days=1), version)]


def test_newer_versions_that_fail_a_gate_are_not_served(changeable: Workspace) -> None:
    before = rows(changeable, SERVED)
    versions = [
        plant(changeable, LAST + timedelta(days=3 - place), change) for place, change in enumerate(FAULTS.values())
    ]
    refused = promote(changeable)["refused"]
    for reason, version, gate in zip(refused, versions, FAULTS, strict=True):
        assert reason.startswith(f"{version}: failed: {gate.replace('_', ' ')} (")
    assert rows(changeable, SERVED) == before
    assert rows(changeable, f"{DECISIONS} ORDER BY model_version DESC") == [
        (version, "refused", before[0][1]) for version in versions
    ]


def test_a_refusal_fails_a_check_with_its_reasons_and_not_the_run(changeable: Workspace) -> None:
    version = plant(changeable, LAST + timedelta(days=1), FAULTS["index_recall"])
    result = materialize(changeable, "champion", checks=True)
    (check,) = (each for each in result.get_asset_check_evaluations() if each.check_name == "challenger_is_not_worse")
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    assert f"refused: {version}; served: " in str(metadata(check)["observed"])
    assert "lowest recall@41: 0.5" in str(metadata(check)["sample"])


def test_where_no_version_passes_and_none_is_served_the_run_fails_and_the_decision_is_kept(
    changeable: Workspace,
) -> None:
    with changeable.lake.writer() as con:
        con.execute("DELETE FROM champion")
        con.execute("DELETE FROM champion_decisions")
        con.execute(f"UPDATE model_metrics SET value = 0.01 WHERE model = 'two_tower' AND {RECALL}")
    reason = why(materialize(changeable, "champion", succeeds=False))
    assert "No version passes the gates, and nothing is served. Refused: " in reason
    assert "model beats most popular (recall@20 of 0.01" in reason
    assert rows(changeable, SERVED) == []
    assert [row[1:] for row in rows(changeable, DECISIONS)] == [("refused", None)]


@pytest.mark.parametrize("floor", ["minimum_coverage", "minimum_beyond_head_recall"])
def test_the_floors_hold_for_a_first_version_too(changeable: Workspace, floor: str) -> None:
    with changeable.lake.writer() as con:
        con.execute("DELETE FROM champion")
        con.execute("DELETE FROM champion_decisions")
        con.execute("UPDATE model_metrics SET value = 0.5 WHERE metric = 'coverage' OR bucket = 'beyond_head'")
    strict = workspace_in(changeable.settings.home, **{floor: 0.6})
    assert "wanted: at least 0.6, the floor" in why(materialize(strict, "champion", succeeds=False))


def test_rebuilding_a_partition_does_not_change_what_is_served(changeable: Workspace) -> None:
    served = "FROM current_item_embeddings ORDER BY item_id"
    before, listed = rows(changeable, served), recommend(changeable, "u1", 5)
    materialize(changeable, "tower_checkpoint", "item_embeddings", "user_embeddings", seed=1)
    assert rows(changeable, f"SELECT model_version FROM item_embeddings WHERE day = '{LAST}'") != [
        row[:1] for row in rows(changeable, "SELECT model_version FROM current_item_embeddings")
    ]
    assert rows(changeable, served) == before
    assert recommend(changeable, "u1", 5) == listed


def test_analysts_get_vectors_of_a_fixed_length(trained: Workspace) -> None:
    types = {row[0]: row[1] for row in rows(trained, "DESCRIBE current_item_embeddings")}
    assert types["embedding"] == f"FLOAT[{TRAINING['dimensions']}]"
    lengths = rows(trained, "SELECT array_inner_product(embedding, embedding) FROM current_item_embeddings")
    assert [length for (length,) in lengths] == pytest.approx([1.0] * len(lengths), abs=1e-5)


def test_scores_by_hand_in_sql_give_the_list_of_the_index(trained: Workspace) -> None:
    assert_scores_in_sql_are_those_of_the_index(trained)


def test_a_version_whose_files_are_damaged_is_not_served(changeable: Workspace) -> None:
    version = plant(changeable, LAST + timedelta(days=1))
    weights = changeable.artifacts.folder / "tower_checkpoint" / version / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    (refused,) = promote(changeable)["refused"]
    assert version in refused
    assert "weights.safetensors" in refused
    assert str(rows(changeable, "SELECT model_day FROM champion")[0][0]) == str(LAST)

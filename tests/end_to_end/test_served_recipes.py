"""Recipes on the way to what is served: uncorrected negatives, learned biases, impressions in log q, older lakes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from end_to_end.market import (
    DAYS,
    LAST,
    assert_scores_in_sql_are_those_of_the_index,
    compare,
    materialize,
    metadata,
    rows,
    run_recipe,
    twotower,
    workspace_in,
)
from twotower_assets.lake.schema import outstanding, present
from twotower_assets.lake.tables import RECIPES, TABLES
from twotower_assets.retrieval.storage import load_index
from twotower_assets.serving.recommendations import serving
from twotower_assets.workspace import Workspace

SERVED = ("tower_checkpoint", "item_embeddings", "user_embeddings", "ann_index", "popularity_bias_report", "champion")
COUNTED = """
SELECT item_id, sum(n)::BIGINT FROM (
    SELECT item_id, count(*) AS n FROM training_pairs WHERE day <= $last GROUP BY item_id
    UNION ALL
    SELECT item_id, sum(times_shown) FROM exposure_log WHERE day <= $last AND $with_exposures GROUP BY item_id
)
GROUP BY item_id
"""


def served_index(workspace: Workspace) -> Any:
    ((version,),) = rows(workspace, "SELECT index_version FROM champion")
    return load_index(workspace.artifacts.open("ann_index", version).folder)


def test_a_recipe_with_uncorrected_negatives_is_served_with_a_note_that_its_weight_is_relative(
    changeable: Workspace,
) -> None:
    before = rows(changeable, "SELECT model_version FROM champion")
    trained = materialize(changeable, *SERVED, recipe="hard_exposure_1", positive_aware_share=0.95)
    (event,) = [
        event
        for event in trained.asset_materializations_for_node("tower_checkpoint")
        if event.asset_key.path[-1] == "tower_checkpoint"
    ]
    facts = metadata(event)
    assert facts["recipe"] == "hard_exposure_1, changed: positive_aware_share"
    assert (facts["trained_popularity_weight"], facts["trained_weight_is_known"]) == (1.0, False)
    assert rows(changeable, "SELECT model_version FROM champion") != before
    for table in ("item_embeddings", "user_embeddings", "current_item_embeddings", "current_user_embeddings"):
        day = f"WHERE day = '{LAST}'" if TABLES.get(table) else ""
        weights = rows(
            changeable, f"SELECT DISTINCT trained_popularity_weight, trained_weight_is_known FROM {table} {day}"
        )
        assert weights == [(1.0, False)], table
    assert served_index(changeable).trained_weight_is_known is False
    home = changeable.settings.home
    for arguments in ([], ["--popularity-weight", "0.3"]):
        arguments = ("recommend", "--user", "u1", "-k", "3", "--json", *arguments)
        assert len(json.loads(twotower(home, *arguments))) == 3
        output = twotower(home, *arguments, output="stderr")
        assert output.startswith("note: γ₀ of the served recipe is unknown")
    assert "note:" not in twotower(home, "recommend", "--user", "u1")
    (tables,) = rows(changeable, "SELECT upstream FROM artifacts WHERE asset = 'tower_checkpoint' ORDER BY created_at")[
        -1
    ]
    assert '"exposure_log"' in tables


def test_a_recipe_without_uncorrected_negatives_is_served_without_a_note(trained: Workspace) -> None:
    assert served_index(trained).trained_weight_is_known is True
    assert twotower(trained.settings.home, "recommend", "--user", "u1", "--json", output="stderr") == ""


def test_the_note_says_what_was_measured_at_the_weight_that_is_asked_for(changeable: Workspace) -> None:
    index = replace(served_index(changeable), trained_weight_is_known=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("twotower_assets.retrieval.storage.load_index", lambda _: index)
        with changeable.lake.writer() as con:
            con.execute(
                "UPDATE popularity_diagnostics SET delta = 0.4, delta_low = 0.3, delta_high = 0.5 "
                "WHERE popularity_weight = 0.5"
            )
        with serving(changeable) as served:
            warning = str(served.popularity_warning(0.5))
            assert "δ = +0.40 [+0.30, +0.50]" in warning
            assert warning.endswith("raise γ.")
            assert "δ is not known at γ = 0.3" in str(served.popularity_warning(0.3))


def test_a_learned_bias_and_temperature_are_served_as_the_formula_says_with_log_q_of_impressions(
    changeable: Workspace,
) -> None:
    log_q = "SELECT item_id, log_q FROM current_item_embeddings ORDER BY item_id"
    of_clicks = rows(changeable, log_q)
    workspace = workspace_in(changeable.settings.home, popularity_from="impressions")
    materialize(workspace, *SERVED, recipe="learned_bias", learn_temperature=True)
    assert rows(changeable, log_q) != of_clicks
    ((distinct, largest),) = rows(
        changeable, "SELECT count(DISTINCT bias), max(abs(bias)) FROM current_item_embeddings"
    )
    assert distinct > 30
    assert largest > 0.01
    ((scale,),) = rows(changeable, "SELECT DISTINCT inverse_temperature FROM current_item_embeddings")
    assert abs(scale - 5.0) > 0.01
    assert rows(changeable, "SELECT DISTINCT inverse_temperature FROM current_user_embeddings") == [(scale,)]
    assert rows(changeable, "SELECT DISTINCT trained_popularity_weight FROM current_item_embeddings") == [(0.0,)]
    assert_scores_in_sql_are_those_of_the_index(changeable)


@pytest.mark.parametrize("counted", ["clicks", "impressions"])
def test_log_q_is_of_what_the_setting_says_and_of_the_training_part_alone(changeable: Workspace, counted: str) -> None:
    workspace = workspace_in(changeable.settings.home, popularity_from=counted)
    materialize(workspace, "item_embeddings")
    with workspace.lake.reader() as con:
        found = con.execute(COUNTED, {"last": DAYS[3], "with_exposures": counted == "impressions"}).fetchall()
    counts = dict(found)
    total = sum(counts.values())
    served = dict(rows(workspace, f"SELECT item_id, log_q FROM item_embeddings WHERE day = '{LAST}'"))
    assert len(served) > 35
    for item, log_q in served.items():
        assert log_q == pytest.approx(math.log(max(counts.get(item, 0), 0.5) / total), abs=1e-5)


@pytest.fixture
def older(changeable: Workspace) -> Workspace:
    """A lake as it was before there were recipes."""
    with changeable.lake.writer() as con:
        for table in RECIPES:
            con.execute(f"DROP TABLE {table.name}")
        con.execute("ALTER TABLE exposure_log DROP COLUMN request_id")
        for table in ("item_embeddings", "user_embeddings", "served_item_embeddings", "served_user_embeddings"):
            con.execute(f"ALTER TABLE {table} DROP COLUMN trained_weight_is_known")
        for name in ("negatives_per_positive", "masked_clicked", "masked_accidental_hits"):
            con.execute(f"ALTER TABLE training_curves DROP COLUMN {name}")
        con.execute("ALTER TABLE lake_identity DROP COLUMN definitions")
        assert len(outstanding(con, present(con))) > 50
    return changeable


def test_a_lake_from_before_there_were_recipes_gets_what_it_lacks_and_keeps_its_rows(older: Workspace) -> None:
    ((rows_before,),) = rows(older, "SELECT count(*) FROM exposure_log")
    assert rows_before > 100
    assert rows(older, "SELECT count(*) FROM exposure_log WHERE request_id IS NULL") == [(rows_before,)]
    assert rows(older, "FROM negative_sampling_runs") == []
    with older.lake.reader() as con:
        assert outstanding(con, present(con)) == []
        comments = con.execute(
            "SELECT comment FROM duckdb_columns() WHERE table_name = 'exposure_log' AND column_name = 'request_id'"
        ).fetchall()
    assert comments == [(TABLES["exposure_log"]["request_id"].description,)]
    assert len(json.loads(twotower(older.settings.home, "recommend", "--user", "u1", "-k", "3", "--json"))) == 3


def test_on_an_older_lake_models_are_trained_and_recipes_compared(older: Workspace) -> None:
    materialize(older, "tower_checkpoint", recipe="hard_context")
    assert rows(older, "SELECT count(*) FROM training_curves WHERE negatives_per_positive > 0") == [(3,)]
    run_recipe(older, "logq", seeds=[0])
    compare(older)
    assert rows(older, "SELECT DISTINCT recipe FROM negative_sampling_comparison") == [("logq",)]


def test_a_model_that_mines_a_recipe_of_exposures_gets_its_exposures(changeable: Workspace) -> None:
    own = """
mines_exposures:
  description: Mines a recipe that needs what was shown.
  training:
    negatives:
      - {source: in_batch}
      - {source: mined, per_positive: 1, recipe: hard_exposure_1, first_rank: 3, last_rank: 12}
"""
    (changeable.settings.home / "recipes.yaml").write_text(own, encoding="utf-8")
    materialize(changeable, "tower_checkpoint", recipe="mines_exposures")
    newest = "SELECT recipe FROM artifacts WHERE asset = 'tower_checkpoint' ORDER BY created_at DESC LIMIT 1"
    assert rows(changeable, newest) == [("mines_exposures",)]

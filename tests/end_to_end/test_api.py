"""The public Python API on a trained home: it gives what the assets have put into the lake, and what is served."""

from __future__ import annotations

import pytest

import twotower_assets
from end_to_end.market import rows
from twotower_assets.serving.recommendations import recommend
from twotower_assets.workspace import Workspace


def test_a_version_is_evaluated_as_its_report_did(trained: Workspace) -> None:
    version = rows(trained, "SELECT model_version FROM champion")[0][0]
    columns = "model, popularity_weight, metric, k, bucket, value, low, high, users"
    with twotower_assets.connect(trained.settings.home) as con:
        reported = con.execute(f"SELECT {columns} FROM model_metrics WHERE model_version = $1", [version]).pl()
    metrics = twotower_assets.evaluate("champion", home=trained.settings.home)
    key = ["model", "popularity_weight", "metric", "k", "bucket"]
    both = metrics.join(reported, on=key, nulls_equal=True, suffix="_reported")
    assert len(metrics) == len(reported) == len(both)
    for name in ("value", "low", "high"):
        assert both[name].to_list() == pytest.approx(both[f"{name}_reported"].to_list(), abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("gamma", [None, 0.0, 0.5])
def test_recommendations_are_what_is_served(trained: Workspace, gamma: float | None) -> None:
    user = rows(trained, "SELECT min(user_id) FROM served_user_embeddings")[0][0]
    listed = twotower_assets.recommend(user, 5, gamma, home=trained.settings.home)
    assert listed.to_dicts() == [suggestion.as_dict() for suggestion in recommend(trained, user, 5, gamma)]


def test_the_checkpoint_of_a_version_is_loaded_by_any_of_its_names(trained: Workspace) -> None:
    (version, day), *_ = rows(trained, "SELECT model_version, model_day::VARCHAR FROM champion")
    hashes = {
        twotower_assets.load_checkpoint(name, home=trained.settings.home).content_hash[:12]
        for name in ("champion", version, day)
    }
    assert hashes == {version[-12:]}


def test_training_on_a_home_holds_out_as_the_home_does(trained: Workspace) -> None:
    home = trained.settings.home
    model = twotower_assets.train(home=home, epochs=1, dimensions=8)
    newest = rows(trained, "SELECT max(day) FROM training_pairs")[0][0]
    assert set(model.hold_out.pairs.filter(split="test")["clicked_at"].dt.date()) == {newest}
    other = twotower_assets.train(home=home, hold_out="per_user_last", epochs=1, dimensions=8)
    assert other.hold_out.pairs.filter(split="test")["clicked_at"].dt.date().n_unique() > 1
    assert len(model.recommend(model.hold_out.pairs["user_id"][0], 3)) == 3

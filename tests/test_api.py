"""Training, evaluating and recommending from Python on frames, without a home and without Dagster.

What the functions do with a home is in `end_to_end/test_api.py`.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

import twotower_assets
from twotower_assets.datasets.raw_source import SourceError
from twotower_assets.experiments.hold_out import HoldOutError
from twotower_assets.recipes.recipes import RecipeError
from twotower_assets.serving.recommendations import NothingServedError

USERS, ITEMS, CLICKS = 40, 30, 15
QUICK = {"epochs": 2, "dimensions": 8, "batch_size": 64}


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    """Each user is shown half of the items, one an hour, and clicks those of the user's taste."""
    generator = np.random.default_rng(3)
    return pl.DataFrame(
        {
            "user_id": user,
            "item_id": f"i{item}",
            "shown_at": datetime(2024, 1, 1 + place // 5, 8 + place % 5, user),
            "clicked": bool(item % 2 == user % 2),
        }
        for user in range(USERS)
        for place, item in enumerate(generator.permutation(ITEMS)[:CLICKS])
    )


@pytest.fixture(scope="module")
def items() -> pl.DataFrame:
    return pl.DataFrame({"item_id": [f"i{item}" for item in range(ITEMS)], "category": "c", "title": "T"})


@pytest.fixture(scope="module")
def model(log: pl.DataFrame, items: pl.DataFrame) -> twotower_assets.Model:
    return twotower_assets.train(log, items, **QUICK)


def test_each_users_last_fifth_of_clicks_is_held_out_and_nothing_of_it_is_trained_on(
    model: twotower_assets.Model, log: pl.DataFrame
) -> None:
    pairs = model.hold_out.pairs
    assert len(pairs) == log["clicked"].sum()
    shares = dict(pairs.group_by("split").len().iter_rows())
    assert 0.15 < shares["test"] / len(pairs) < 0.3
    train = pairs.filter(split="train").group_by("user_id").agg(pl.col("clicked_at").max().alias("last"))
    later = pairs.filter(split="test").join(train, on="user_id")
    assert (later["clicked_at"] > later["last"]).all()
    assert model.checkpoint.training_pairs == shares["train"]


@pytest.mark.parametrize("kind", ["arrow", "pandas"])
def test_arrow_tables_and_pandas_frames_give_the_same_model(
    kind: str, model: twotower_assets.Model, log: pl.DataFrame, items: pl.DataFrame, tmp_path: Path
) -> None:
    frames = [frame.to_arrow() if kind == "arrow" else frame.to_pandas() for frame in (log, items)]
    again = twotower_assets.train(*frames, **QUICK)
    assert again.save(tmp_path / "again") == model.save(tmp_path / "first")


def test_a_log_without_clicked_is_a_log_of_clicks(model: twotower_assets.Model, log: pl.DataFrame) -> None:
    clicks = log.filter("clicked").drop("clicked")
    of_clicks = twotower_assets.train(clicks, **QUICK)
    columns = ["user_id", "item_id", "clicked_at", "split"]
    assert of_clicks.hold_out.pairs.select(columns).equals(model.hold_out.pairs.select(columns))
    assert of_clicks.recommend(1, 1).columns == ["rank", "item_id", "title", "category", "score"]


def test_a_list_is_the_k_best_items_that_the_user_has_not_clicked(
    model: twotower_assets.Model, log: pl.DataFrame
) -> None:
    clicked = set(log.filter((pl.col("user_id") == 1) & pl.col("clicked"))["item_id"])
    listed = model.recommend(1, ITEMS)
    assert set(listed["item_id"]) == {f"i{item}" for item in range(ITEMS)} - clicked
    assert listed["score"].is_sorted(descending=True)
    assert model.recommend("1", 3).equals(listed.head(3))


def test_the_popularity_weight_is_gamma_as_it_is_served(model: twotower_assets.Model) -> None:
    checkpoint = model.checkpoint
    assert checkpoint.trained_popularity_weight == 1
    for gamma in (0.0, 0.25, 1.0):
        listed = model.recommend(2, ITEMS, popularity_weight=gamma)
        held = model.recommend(2, ITEMS, popularity_weight=1).join(listed, on="item_id", suffix="_at_gamma")
        gained = (held["score_at_gamma"] - held["score"]).to_numpy()
        assert gained == pytest.approx((gamma - 1) * checkpoint.log_q(held["item_id"].to_arrow()), abs=1e-5)
    assert model.recommend(2, 5).equals(model.recommend(2, 5, popularity_weight=1))
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="popularity_weight is γ"):
            model.recommend(2, 5, popularity_weight=wrong)


def test_metrics_come_with_intervals_and_baselines(model: twotower_assets.Model) -> None:
    metrics = twotower_assets.evaluate(model)
    assert set(metrics["model"]) == {"two_tower", "most_popular", "ease"}
    recall = metrics.filter(model="two_tower", metric="recall", k=20, bucket="all", popularity_weight=1)
    (row,) = recall.to_dicts()
    assert 0 <= row["low"] <= row["value"] <= row["high"] <= 1
    assert row["users"] <= USERS


def test_a_saved_model_embeds_as_the_trained_one(model: twotower_assets.Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    loaded = twotower_assets.load_checkpoint(tmp_path / "model")
    catalogue = model.hold_out.items
    np.testing.assert_array_equal(loaded.embed_items(catalogue), model.checkpoint.embed_items(catalogue))
    assert twotower_assets.load_checkpoint(str(tmp_path / "model")).content_hash == loaded.content_hash


@pytest.mark.parametrize("hold_out", ["by_day", "per_user_last"])
def test_a_recipe_with_exposures_trains_on_what_was_shown_and_not_clicked(
    log: pl.DataFrame, items: pl.DataFrame, hold_out: Any
) -> None:
    trained = twotower_assets.train(log, items, recipe="hard_exposure_1", hold_out=hold_out, **QUICK)
    shown = trained.hold_out.exposures
    assert shown is not None
    assert 0 < shown.num_rows < (~log["clicked"]).sum()
    if hold_out == "by_day":
        test = trained.hold_out.pairs.filter(split="test")["clicked_at"]
        assert set(test.dt.date()) == {log["shown_at"].dt.date().max()}


def test_what_is_wrong_with_frames_is_said(log: pl.DataFrame, items: pl.DataFrame, tmp_path: Path) -> None:
    train = twotower_assets.train
    with pytest.raises(SourceError, match=r"the frame of impressions gave no column 'shown_at' \(it has: user_id"):
        train(log.drop("shown_at"))
    with pytest.raises(SourceError, match="rows of impressions were rejected"):
        train(log.with_columns(user_id=pl.lit(None)))
    with pytest.raises(SourceError, match=r"DuckDB cannot read the items, a int"):
        train(log, 7)
    with pytest.raises(HoldOutError, match="no impressions"):
        train(log.clear())
    with pytest.raises(RecipeError, match="unknown recipe 'bset'"):
        train(log, recipe="bset")
    with pytest.raises(ValidationError, match="temprature"):
        train(log, temprature=1)
    with pytest.raises(ValueError, match="need impressions"):
        train(items=items)
    with pytest.raises(ValueError, match="omit them"):
        train(log, home=tmp_path)


def test_rows_that_are_rejected_are_logged(
    log: pl.DataFrame, items: pl.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    future = log.head(1).with_columns(shown_at=pl.lit(datetime.now() + timedelta(days=9)))
    twotower_assets.train(pl.concat([log, future]), items, **QUICK)
    assert "1 of 601 rows of impressions were rejected: {'shown_at lies in the future': 1}" in caplog.text


def test_a_user_without_a_click_is_unknown(model: twotower_assets.Model) -> None:
    with pytest.raises(NothingServedError, match="'nobody'"):
        model.recommend("nobody")


def test_the_api_is_used_without_dagster_and_imported_when_it_is_asked_for() -> None:
    program = (
        "import sys, twotower_assets\n"
        "print([name in sys.modules for name in ('duckdb', 'torch', 'polars')])\n"
        "print(callable(twotower_assets.train), [name in sys.modules for name in ('dagster', 'torch')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[False, False, False]", "True [False, False]"]

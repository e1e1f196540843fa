"""Held-out clicks change nothing that any recipe trains on. Each test also plants a training click, which must be seen.

What is looked at is what reaches `train`, of a recipe that draws from every source, masks what can be masked, and
mines another recipe; and the weights that come out.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from end_to_end.market import (
    FIRST,
    LAST,
    TASTES,
    Built,
    copy_of,
    market_log,
    materialize,
    shown,
    workspace_in,
    write_raw,
)
from twotower_assets.experiments.hold_out import HoldOut, HoldOutRule, read_hold_out
from twotower_assets.experiments.train_recipe import train_recipe
from twotower_assets.experiments.training_request import TrainingRequest
from twotower_assets.recipes.recipes import Recipe
from twotower_assets.two_tower.sampling.proposals import decayed_counts
from twotower_assets.two_tower.training import loop as training_module
from twotower_assets.workspace import Workspace

FEW = {"dimensions": 8, "history_length": 5, "batch_size": 64, "epochs": 1}
MINED = Recipe(name="mined", description="What is mined.", training={"negatives": [{"source": "in_batch"}]})
EVERYTHING = Recipe(
    name="everything",
    description="Every source that there is.",
    training={
        "masks": ["clicked", "same_request"],
        "positive_aware_share": 0.95,
        "negatives": [
            {"source": "in_batch"},
            {"source": "uniform", "count": 16},
            {"source": "popularity", "count": 16},
            {"source": "cross_batch", "count": 64, "warm_up_epochs": 0},
            {"source": "category", "per_positive": 1, "minimum_items": 2},
            {"source": "context", "per_positive": 1},
            {"source": "exposed", "per_positive": 2},
            {"source": "mined", "per_positive": 2, "recipe": "mined", "first_rank": 3, "last_rank": 12},
        ],
    },
)
NEVER_SEEN = "never seen before"
Read = dict[str, Any]


def hold_out_of(workspace: Workspace, rule: str) -> HoldOut:
    """The hold-out as training reads it."""
    with workspace.lake.reader() as con:
        return read_hold_out(con, HoldOutRule(rule, 6, 0.2, 0.2), LAST, workspace.lake.snapshot(con), exposures=True)


def all_that_training_reads(workspace: Workspace, rule: str) -> Read:
    """What reaches `train`, first of the recipe that is mined, and the weights."""
    reached: list[tuple[Any, Any]] = []
    with pytest.MonkeyPatch.context() as patch:
        train = training_module.train

        def spy(data: Any, config: Any, **more: Any) -> Any:
            reached.append((data, more["mined"]))
            return train(data, config, **more)

        patch.setattr(training_module, "train", spy)
        hold_out = hold_out_of(workspace, rule)
        training = TrainingRequest(hold_out, "impressions", 1.0, threads=1)
        recipes = {recipe.name: recipe for recipe in (MINED, EVERYTHING)}
        trained = train_recipe(training, EVERYTHING.config(**FEW), recipes, FEW)
    (of_mined, nothing), (data, mined) = reached
    assert nothing is None
    assert hold_out.exposures is not None
    pools = data.pools
    assert 0 < mined.sizes[1:].max() <= 12 - 3 + 1
    assert not mined.members.multiply(data.clicked.members).sum()
    return {
        "pairs": (data.fingerprint(), of_mined.fingerprint()),
        "items": data.item_ids.to_pylist(),
        "counts": data.item_counts.tolist(),
        "q": data.q.tolist(),
        "decayed q": decayed_counts(data, 1.0).tolist(),
        "clicked": data.clicked.fingerprint(),
        "category pools": [array.tolist() for array in (*pools.categories.arrays(), pools.category_of_item)],
        "context pools": pools.contexts.fingerprint(),
        "exposed": pools.exposed.fingerprint(),
        "exposures": hold_out.exposures.to_pylist(),
        "impressions": hold_out.impressions.to_pylist(),
        "mined": mined.fingerprint(),
        "weights": hashlib.sha256(
            b"".join(weights.detach().numpy().tobytes() for weights in trained.result.towers.state_dict().values())
        ).hexdigest(),
    }


@pytest.fixture(scope="module")
def unchanged(trained: Workspace) -> dict[str, Read]:
    """What training reads in the trained home, by hold-out rule."""
    return {rule: all_that_training_reads(trained, rule) for rule in ("by_day", "per_user_last")}


def planted(built: Built, folder: Path, log: pl.DataFrame) -> Workspace:
    """A copy of the trained home whose log is another one, with the features of all days made again."""
    workspace = workspace_in(copy_of(built.home, folder), source_path=write_raw(folder / "raw", log))
    materialize(workspace, "impressions", "training_pairs", "exposure_log", since=FIRST)
    return workspace


def clicks(day: int) -> pl.DataFrame:
    """Clicks of users of every taste: on an item of another taste, and on one in no catalogue."""
    return shown(
        [
            (f"u{user}", item, datetime(2024, 1, day, 20), True)
            for user in range(TASTES)
            for item in (f"i{(user + 1) % TASTES}", NEVER_SEEN)
        ]
    )


def second_thoughts(day: int) -> pl.DataFrame:
    """Clicks, in the evening of a day, on all that was shown and not clicked on that day and before."""
    passed = market_log().filter(
        ~pl.col("clicked") & (pl.col("shown_at") < datetime(2024, 1, day, 20)) & pl.col("user_id").is_not_null()
    )
    pairs = passed.select("user_id", "item_id").unique().sort("user_id", "item_id")
    return shown([(user, item, datetime(2024, 1, day, 21), True) for user, item in pairs.rows()])


def test_clicks_of_the_last_two_days_change_nothing_that_is_trained_on(
    built: Built, unchanged: dict[str, Read], tmp_path: Path
) -> None:
    log = pl.concat([market_log(), *(add(day) for day in (5, 6) for add in (clicks, second_thoughts))])
    workspace = planted(built, tmp_path, log)
    pairs = hold_out_of(workspace, "by_day").pairs
    assert sorted(pairs.filter(pl.col("item_id") == NEVER_SEEN)["split"].unique()) == ["test", "validation"]
    assert pairs.filter(pl.col("clicked_at").dt.hour() == 21).group_by("split").len()["len"].min() > 50
    after = all_that_training_reads(workspace, "by_day")
    assert {name for name in after if after[name] != unchanged["by_day"][name]} == set()


def test_a_click_on_a_day_of_training_is_seen(built: Built, unchanged: dict[str, Read], tmp_path: Path) -> None:
    log = pl.concat([market_log(), clicks(4), second_thoughts(4)])
    after = all_that_training_reads(planted(built, tmp_path, log), "by_day")
    assert {name for name in after if after[name] == unchanged["by_day"][name]} == set()


@pytest.mark.parametrize(("split", "seen"), [("held out", False), ("train", True)])
def test_other_items_in_each_users_last_clicks_change_nothing_that_is_trained_on(
    built: Built, trained: Workspace, unchanged: dict[str, Read], tmp_path: Path, split: str, seen: bool
) -> None:
    hold_out = hold_out_of(trained, "per_user_last")
    of_split = pl.col("split").is_in(["validation", "test"]) if split == "held out" else pl.col("split") == "train"
    exposed = pl.DataFrame(pl.from_arrow(hold_out.exposures)).group_by("user_id").agg(passed=pl.col("item_id").min())
    chosen = (
        hold_out.pairs.filter(of_split)
        .sort("clicked_at")
        .group_by("user_id", maintain_order=True)
        .last()
        .join(exposed, on="user_id", how="left", maintain_order="left")
        .with_row_index()
        # every other user now clicks what was shown to them and passed over, the others an unknown item
        .select(
            "user_id",
            shown_at="clicked_at",
            other=pl.when(pl.col("index") % 2 == 0).then(pl.lit(NEVER_SEEN)).otherwise(pl.col("passed")),
        )
    )
    assert chosen["other"].drop_nulls().n_unique() > 10
    changed = market_log().join(chosen, on=["user_id", "shown_at"], how="left", maintain_order="left")
    log = changed.with_columns(item_id=pl.coalesce("other", "item_id")).drop("other")
    workspace = planted(built, tmp_path, log)
    pairs = hold_out_of(workspace, "per_user_last").pairs
    planted_clicks = pairs.join(chosen.rename({"shown_at": "clicked_at"}), on=["user_id", "clicked_at"])
    assert len(planted_clicks.filter(pl.col("item_id") == pl.col("other"))) > 50
    assert set(planted_clicks["split"]) <= ({"train"} if seen else {"validation", "test"})
    after, before = all_that_training_reads(workspace, "per_user_last"), unchanged["per_user_last"]
    same = {name for name in after if after[name] == before[name]}
    assert same == (set() if seen else set(after))

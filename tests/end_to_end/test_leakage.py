"""Held-out clicks change nothing that is trained on. Each test also plants a training click, which must be seen."""

from __future__ import annotations

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
    log_of_the_market,
    materialize,
    platform_in,
    shown,
    write_raw,
)
from twotower_assets.assets.hold_out import HoldOut, HoldOutRule, read_hold_out
from twotower_assets.platform import Platform
from twotower_assets.two_tower.config import TrainingConfig
from twotower_assets.two_tower.dataset import TrainingSet, build_training_set

CONFIG = TrainingConfig(dimensions=8, history_length=5)


def hold_out_of(platform: Platform, rule: str) -> HoldOut:
    """The hold-out as training reads it."""
    with platform.lake.reader() as con:
        return read_hold_out(con, HoldOutRule(rule, 6, 0.2, 0.2), LAST, platform.lake.snapshot(con))


def trained_on(platform: Platform, rule: str) -> TrainingSet:
    """What training assembles."""
    hold_out = hold_out_of(platform, rule)
    return build_training_set(hold_out.pairs_of("train"), hold_out.items, hold_out.users, CONFIG)


def all_that_training_reads(data: TrainingSet) -> tuple[Any, ...]:
    return (
        data.fingerprint(),
        data.encoder.users.ids.ids.to_pylist(),
        data.encoder.items.ids.ids.to_pylist(),
        data.item_counts.tolist(),
        data.q.tolist(),
    )


def planted(built: Built, folder: Path, log: pl.DataFrame) -> Platform:
    """A copy of the trained home whose log is another one, with the features of all days made again."""
    platform = platform_in(copy_of(built.home, folder), source_path=write_raw(folder / "raw", log))
    materialize(platform, "impressions", "training_pairs", since=FIRST)
    return platform


def clicks(day: int) -> pl.DataFrame:
    """Clicks of users of every taste: on an item of another taste, and on one in no catalogue."""
    return shown(
        [
            (f"u{user}", item, datetime(2024, 1, day, 20), True)
            for user in range(TASTES)
            for item in (f"i{(user + 1) % TASTES}", "never seen before")
        ]
    )


def test_clicks_of_the_last_two_days_change_nothing_that_is_trained_on(
    built: Built, trained: Platform, tmp_path: Path
) -> None:
    before = all_that_training_reads(trained_on(trained, "by_day"))
    log = pl.concat([log_of_the_market(), clicks(5), clicks(6)])
    platform = planted(built, tmp_path, log)
    parts = hold_out_of(platform, "by_day").pairs.filter(pl.col("item_id") == "never seen before")["part"]
    assert sorted(parts.unique()) == ["test", "validation"]
    assert all_that_training_reads(trained_on(platform, "by_day")) == before


def test_a_click_on_a_day_of_training_is_seen(built: Built, trained: Platform, tmp_path: Path) -> None:
    before = all_that_training_reads(trained_on(trained, "by_day"))
    platform = planted(built, tmp_path, pl.concat([log_of_the_market(), clicks(4)]))
    after = all_that_training_reads(trained_on(platform, "by_day"))
    assert all(now != then for now, then in zip((after[0], *after[2:]), (before[0], *before[2:]), strict=True))


@pytest.mark.parametrize(("part", "seen"), [("held out", False), ("train", True)])
def test_other_items_in_each_users_last_clicks_change_nothing_that_is_trained_on(
    built: Built, trained: Platform, tmp_path: Path, part: str, seen: bool
) -> None:
    before = hold_out_of(trained, "per_user_last").pairs
    held_out = pl.col("part").is_in(["validation", "test"]) if part == "held out" else pl.col("part") == "train"
    chosen = before.filter(held_out).sort("clicked_at").group_by("user_id", maintain_order=True).last()
    changed = log_of_the_market().join(
        chosen.select("user_id", shown_at="clicked_at", other=pl.lit("never seen before")),
        on=["user_id", "shown_at"],
        how="left",
        maintain_order="left",
    )
    log = changed.with_columns(item_id=pl.coalesce("other", "item_id")).drop("other")
    platform = planted(built, tmp_path, log)
    other = hold_out_of(platform, "per_user_last").pairs.filter(pl.col("item_id") == "never seen before")
    assert len(other) == len(chosen) > 50
    then, now = (all_that_training_reads(trained_on(one, "per_user_last")) for one in (trained, platform))
    assert (now != then) is seen

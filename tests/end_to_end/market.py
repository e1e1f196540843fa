"""A small simulated market in Parquet files, its workspace, and helpers that run parts of the graph on it.

60 users with four tastes are shown items on six days, one of them without a row. The trained home is built once,
through the command line; a test that changes something takes a copy.
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import polars as pl
import pytest
import torch
from shared_folder import built_once
from typer.testing import CliRunner

from twotower_assets.cli import app
from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.naming import key_of
from twotower_assets.defs.partitions import range_tags
from twotower_assets.defs.runs import failure_reasons, open_instance
from twotower_assets.serving.recommendations import recommend
from twotower_assets.settings import ENV_PREFIX, load_settings
from twotower_assets.workspace import Workspace, open_workspace

FIRST, LAST = date(2024, 1, 1), date(2024, 1, 6)
DAYS = [date(2024, 1, day) for day in range(1, 7)]
EMPTY_DAY = date(2024, 1, 3)
USERS, ITEMS, TASTES = 60, 40, 4
UNLISTED = "unlisted"
TRAINING = {"dimensions": 8, "batch_size": 64, "epochs": 3, "history_length": 5, "learning_rate": 0.05}
BY_HAND = """
SELECT
    item.item_id,
    item.inverse_temperature * array_inner_product(item.embedding, person.embedding) + item.bias
    + ($gamma - item.trained_popularity_weight) * item.log_q AS score
FROM current_item_embeddings AS item, current_user_embeddings AS person
WHERE
    person.user_id = $user
    AND item.item_id NOT IN (SELECT item_id FROM impressions WHERE clicked AND user_id = $user)
ORDER BY score DESC
LIMIT 10
"""
MADE_TOGETHER = {"impressions": "rejected_impressions", "tower_checkpoint": "training_curves"}
COMPARED = {**TRAINING, "epochs": 2}
OWN_RECIPES = """
deep:
  description: Two that the recipe logq ranks third to twelfth.
  training:
    negatives:
      - {source: in_batch}
      - {source: mined, per_positive: 2, recipe: logq, first_rank: 3, last_rank: 12}
"""


def free_port() -> int:
    """A free port of this machine."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


SETTINGS = {
    "dataset": "parquet",
    "first_day": FIRST,
    "last_day": LAST,
    "window_days": 6,
    "threads": 1,
    "event_log": "batched",  # other tests have the default, which takes longer
    "report_address": f"http://127.0.0.1:{free_port()}",
}


def shown(rows: list[tuple[Any, ...]]) -> pl.DataFrame:
    """A log from rows of user, item, time and clicked: one request per user and day, and two contexts by minute."""
    log = pl.DataFrame(rows, schema=["user_id", "item_id", "shown_at", "clicked"], orient="row")
    minute = pl.col("shown_at").dt.minute()
    return log.with_columns(
        request_id=pl.format("{} on {}", "user_id", pl.col("shown_at").dt.date()),
        context=pl.when(minute % 2 == 0).then(pl.lit("home")).otherwise(pl.lit("search")),
    )


def market_log() -> pl.DataFrame:
    """The log: users click most items of their taste. One item is in no catalogue, and one row has no user."""
    generator = np.random.default_rng(5)
    rows: list[tuple[Any, ...]] = []
    for user in range(USERS):
        for day in DAYS:
            own = generator.choice(ITEMS // TASTES, 3, replace=False) * TASTES + user % TASTES
            any_item = generator.choice(ITEMS, 2, replace=False)
            if day == EMPTY_DAY:
                continue
            for minute, item in enumerate(dict.fromkeys([*own.tolist(), *any_item.tolist()])):
                clicked = bool(item % TASTES == user % TASTES and generator.random() < 0.8)
                rows.append((f"u{user}", f"i{item}", datetime(2024, 1, day.day, 8, minute, user), clicked))
    rows += [(f"u{user}", UNLISTED, datetime(2024, 1, 2, 9), True) for user in range(4)]
    rows.append((None, "i0", datetime(2024, 1, 2, 10), True))
    return shown(rows)


def catalogue() -> pl.DataFrame:
    """The items; the last one has no category."""
    return pl.DataFrame(
        {
            "item_id": [f"i{item}" for item in range(ITEMS)],
            "category": [*(f"c{item % TASTES}" for item in range(ITEMS - 1)), None],
            "title": [f"Item {item}" for item in range(ITEMS)],
        }
    )


def write_raw(folder: Path, log: pl.DataFrame, items: pl.DataFrame | None = None) -> Path:
    """Write the raw files of a data set; the last user has no impression."""
    folder.mkdir(parents=True, exist_ok=True)
    log.write_parquet(folder / "impressions.parquet")
    (catalogue() if items is None else items).write_parquet(folder / "items.parquet")
    pl.DataFrame({"user_id": [f"u{user}" for user in range(USERS + 1)]}).write_parquet(folder / "users.parquet")
    return folder


def write_settings(home: Path, **settings: Any) -> None:
    """Write `twotower.env` of a home folder."""
    home.mkdir(parents=True, exist_ok=True)
    lines = [f"{ENV_PREFIX}{name.upper()}={value}" for name, value in {**SETTINGS, **settings}.items()]
    (home / "twotower.env").write_text("\n".join(lines), encoding="utf-8")


@contextmanager
def only_home(home: Path) -> Iterator[None]:
    """An environment in which only the home folder is set."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(ENV_PREFIX):
                patch.delenv(name)
        patch.setenv(f"{ENV_PREFIX}HOME", str(home))
        patch.setenv("DAGSTER_HOME", str(home / "dagster"))
        yield


def workspace_in(home: Path, **changes: Any) -> Workspace:
    """The workspace of a home folder."""
    with only_home(home):
        return open_workspace(load_settings(home=home, **changes))


@dataclass(frozen=True)
class Built:
    """The trained home, and the output of the commands that built it."""

    home: Path
    features: str
    training: str


@dataclass(frozen=True)
class Compared:
    """A home in which recipes were compared, and the output of the command."""

    home: Path
    output: str


def trained_home(factory: pytest.TempPathFactory) -> Built:
    """All days of features as one range, then a model of the last day, through the command line."""
    folder, printed = built_once(factory, "trained", _train)
    return Built(folder / "home", **printed)


def _train(folder: Path) -> dict[str, str]:
    home = folder / "home"
    write_settings(home, source_path=write_raw(folder / "raw", market_log()))
    changes = [text for name, value in TRAINING.items() for text in ("--set", f"{name}={value}")]
    torch.set_num_threads(1)
    return {
        "features": twotower(home, "materialize", "features_job", "--days", f"{FIRST}..{LAST}"),
        "training": twotower(home, "materialize", "training_job", "--days", str(LAST), *changes),
    }


def twotower(
    home: Path, *arguments: str, exit_code: int = 0, stdin: str | None = None, output: str | None = None
) -> str:
    """Run a command; return what it printed to `output` (default: stdout, or stderr if it is expected to fail)."""
    with only_home(home):
        result = CliRunner().invoke(app, list(arguments), input=stdin)
    assert result.exit_code == exit_code, result.output
    return str(getattr(result, output or ("stderr" if exit_code else "stdout")))


def copy_of(home: Path, folder: Path) -> Path:
    """A copy of a home folder, to change."""
    return Path(shutil.copytree(home, folder / "home"))


def materialize(
    workspace: Workspace,
    *names: str,
    day: date | None = None,
    since: date | None = None,
    checks: bool = False,
    instance: dg.DagsterInstance | None = None,
    succeeds: bool = True,
    **training: Any,
) -> dg.ExecuteInProcessResult:
    """Materialize some assets of a day (default: the last), or of the days from `since` on in one run.

    `training` overrides training settings.
    """
    wanted = {*names, *(MADE_TOGETHER[name] for name in names if name in MADE_TOGETHER)}
    selection = dg.AssetSelection.assets(*(key_of(name) for name in wanted))
    job = dg.define_asset_job("part_of_the_graph", selection if checks else selection.without_checks())
    definitions = dg.Definitions.merge(build_definitions(workspace.settings), dg.Definitions(jobs=[job]))
    config: dict[str, Any] = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if "tower_checkpoint" in names:
        config["ops"] = {"tower_checkpoint": {"config": {**TRAINING, **training}}}
    partitions: dict[str, Any] = {}
    if since:
        partitions["tags"] = range_tags(since, workspace.settings.last_day or LAST)
    elif wanted - {"items", "users", "category_map", "champion"}:
        partitions["partition_key"] = str(day or workspace.settings.last_day)
    with nullcontext(instance) if instance else instance_of(workspace) as used, warnings.catch_warnings():
        for message in ("\\s*Found multiple backfill policies", "Asset job .* materializes assets with varying"):
            warnings.filterwarnings("ignore", message=message)
        result = definitions.resolve_job_def("part_of_the_graph").execute_in_process(
            instance=used, run_config=config, raise_on_error=succeeds, **partitions
        )
    assert result.success == succeeds
    return result


def run_recipe(
    workspace: Workspace,
    recipe: str,
    seeds: Sequence[int] = (0, 1),
    *,
    succeeds: bool = True,
    training: Mapping[str, Any] = COMPARED,
    **config: Any,
) -> dg.ExecuteInProcessResult:
    """Materialize a partition of `negative_sampling_runs`."""
    settings = {"seeds": list(seeds), "training": dict(training), **config}
    return _run_unchecked(workspace, "negative_sampling_runs", settings, succeeds, partition_key=recipe)


def compare(workspace: Workspace, baseline: str = "logq", *, succeeds: bool = True) -> dg.ExecuteInProcessResult:
    """Materialize `negative_sampling_comparison`."""
    return _run_unchecked(workspace, "negative_sampling_comparison", {"baseline": baseline}, succeeds)


def _run_unchecked(
    workspace: Workspace, name: str, config: Mapping[str, Any], succeeds: bool, **where: Any
) -> dg.ExecuteInProcessResult:
    job = dg.define_asset_job("one_asset", dg.AssetSelection.assets(key_of(name)).without_checks())
    definitions = dg.Definitions.merge(build_definitions(workspace.settings), dg.Definitions(jobs=[job]))
    run_config = {
        "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        "ops": {name: {"config": dict(config)}},
    }
    with instance_of(workspace) as instance:
        result = definitions.resolve_job_def("one_asset").execute_in_process(
            instance=instance, run_config=run_config, raise_on_error=succeeds, **where
        )
    assert result.success == succeeds
    return result


def assert_scores_in_sql_are_those_of_the_index(workspace: Workspace) -> None:
    """The SQL formula over the views gives the same lists as the index; scores may differ by a constant."""
    for user, gamma in itertools.product(["u3", "u60"], [0.0, 0.5, 1.0]):
        with workspace.lake.reader() as con:
            by_hand = dict(con.execute(BY_HAND, {"user": user, "gamma": gamma}).fetchall())
        listed = recommend(workspace, user, 10, gamma)
        assert {item.item_id for item in listed} == by_hand.keys(), (user, gamma)
        distances = [item.score - by_hand[item.item_id] for item in listed]
        assert distances == pytest.approx([distances[0]] * 10, abs=1e-4), (user, gamma)
        scores = [by_hand[item.item_id] for item in listed]
        assert all(score > following - 1e-5 for score, following in itertools.pairwise(scores)), (user, gamma)


def why(result: dg.ExecuteInProcessResult) -> str:
    """The reasons why a run failed, as the command line prints them."""
    return "; ".join(failure_reasons(result))


def metadata(event: Any) -> dict[str, Any]:
    """The metadata of a materialization, as plain values."""
    return {name: getattr(value, "value", value) for name, value in event.metadata.items()}


def rows(workspace: Workspace, query: str, snapshot: int | None = None) -> list[tuple[Any, ...]]:
    """The rows of a query on the lake."""
    with workspace.lake.reader(snapshot) as con:
        return con.execute(query).fetchall()


@contextmanager
def instance_of(workspace: Workspace) -> Iterator[dg.DagsterInstance]:
    """The persistent Dagster instance of a home folder."""
    with only_home(workspace.settings.home), open_instance(workspace) as instance:
        yield instance

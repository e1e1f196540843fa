"""The demo: runs MovieLens-100K through the whole graph and summarises the results.

Models are trained as of several days of the log, which gives a history to look at: plots over days, drift between
models, challengers and champions.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from rich.table import Table as RichTable

from twotower_assets.datasets.movielens import LICENCE, fetch_movielens
from twotower_assets.defs.runs import open_instance, run_job
from twotower_assets.lake.queries import read_query
from twotower_assets.serving.summaries import served_version, trained_model
from twotower_assets.settings import Settings, SettingsError, load_settings
from twotower_assets.workspace import Workspace, open_workspace

ENV_FILE = """\
# Settings of this home folder; the environment comes before them. See twotower_assets/settings.py.
TWOTOWER_DATASET=movielens
# Half of the users live less than an hour, so a split by day would leave nobody to test.
TWOTOWER_HOLD_OUT=per_user_last
# All 215 days of the log.
TWOTOWER_WINDOW_DAYS=215
# Its runs span months and report every day of every table.
TWOTOWER_EVENT_LOG=batched
"""
EARLIER_MODELS = (date(1997, 12, 31), date(1998, 2, 28))
"""Days of the earlier models, each trained on the log up to that day."""
HEADLINE = (
    ("recall@20", "recall", 20, "all"),
    ("NDCG@20", "ndcg", 20, "all"),
    ("recall@100", "recall", 100, "all"),
    ("coverage@20", "coverage", 20, "all"),
    ("recall@20 beyond the head", "recall", 20, "beyond_head"),
)
MODELS = {"two_tower": "two towers", "most_popular": "most popular", "ease": "EASE"}
QUERY = (
    "SELECT item_id, title, array_inner_product(embedding, (SELECT embedding FROM current_item_embeddings "
    "WHERE item_id = '50')) AS cosine FROM current_item_embeddings JOIN items USING (item_id) "
    "ORDER BY cosine DESC LIMIT 6"
)


def demo_settings() -> Settings:
    """The settings of the demo, written to `twotower.env` in the home folder unless the file exists."""
    home = load_settings().home
    home.mkdir(parents=True, exist_ok=True)
    if not (home / "twotower.env").exists():
        (home / "twotower.env").write_text(ENV_FILE, encoding="utf-8")
    return load_settings()


def run_demo(report: Callable[[str], None]) -> Workspace:
    """Fetch the data, materialize all features in two runs, and train as of three days.

    Progress goes to `report`, a line at a time. Raises `SettingsError` if the home has another data set,
    `RunFailedError` if a run fails.
    """
    started = time.monotonic()
    workspace = open_workspace(demo_settings())
    if workspace.source.dataset != "movielens":
        raise SettingsError(
            f"the demo uses MovieLens-100K, but {workspace.settings.home} is the home of the data set "
            f"'{workspace.source.dataset}'; set TWOTOWER_HOME to another folder for the demo"
        )
    if workspace.settings.source_path is None:
        report(f"Fetching MovieLens-100K into {workspace.source.path} …\n  {LICENCE}")
        fetch_movielens(workspace.source.path)
    first, last = workspace.days()
    last = last or first
    middle = first + (last - first) // 2
    with open_instance(workspace) as instance:
        for begin, end in ((first, middle), (middle + timedelta(days=1), last)):
            report(f"Sources and features, {begin} to {end} in one run …")
            run_job(workspace, instance, "features_job", begin, end, "WARNING")
        for day in (*EARLIER_MODELS, last):
            report(f"Training, embeddings, index and report as of {day} …")
            run_job(workspace, instance, "training_job", day, day, "WARNING")
            model, served = trained_model(workspace, day), served_version(workspace)
            if model and model.recall_at_20 is not None:
                outcome = "served" if served == model.model_version else f"{model.decision}; {served} is served"
                report(f"  {model.model_version}: recall@20 {model.recall_at_20:.3f}; {outcome}.")
    report(f"Done in {time.monotonic() - started:.0f} s.")
    return workspace


def headline_table(workspace: Workspace) -> RichTable:
    """The headline metrics from the champion's report, with the baselines."""
    table = RichTable(title="On the held-out clicks (full ranking, seen items removed)")
    for heading in ("", *(name for name, *_ in HEADLINE)):
        table.add_column(heading, justify="left" if not heading else "right")
    with workspace.lake.reader() as con:
        rows = con.execute(
            read_query("reports/headline.sql"), {"popularity_weight": workspace.settings.popularity_weight}
        ).fetchall()
    values = {tuple(row[:4]): row[4] for row in rows}
    for model, name in MODELS.items():
        found = [values.get((model, metric, k, bucket)) for _, metric, k, bucket in HEADLINE]
        if any(value is not None for value in found):
            table.add_row(name, *("–" if value is None else f"{value:.3f}" for value in found))
    return table


def report_path(workspace: Workspace) -> Path:
    """The HTML report of the champion."""
    with workspace.lake.reader() as con:
        row = con.execute("SELECT report_version FROM champion").fetchone()
    assert row is not None, "the demo ends with a champion"
    return workspace.artifacts.open("popularity_bias_report", row[0]).folder / "report.html"

"""Commands that run something: the demo, a fetch, jobs, the UI."""

from __future__ import annotations

import json
import os
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twotower_assets.cli.app import AsJson, app, open_home, out, told_in_one_line, training_changes

if TYPE_CHECKING:
    from twotower_assets.workspace import Workspace


@app.command()
@told_in_one_line
def demo() -> None:
    """Run MovieLens-100K through the whole graph and print what came out.

    Safe to run again. Example: `twotower demo`
    """
    from twotower_assets.cli import demo as demo_run

    workspace = demo_run.run_demo(lambda text: out.print(text, markup=False, highlight=False))
    out.print(demo_run.headline_table(workspace))
    out.print(
        "A rating of 4 or 5 is a click, a lower one is shown and not liked. The last 20 % of each user's clicks are "
        "held out.\nBenchmarks that take every rating as a positive have other numbers.\n",
        highlight=False,
    )
    print(f"Report:  {demo_run.report_path(workspace)}")
    print("Dagster: make ui, then http://127.0.0.1:3000")
    print(f'Query:   .venv/bin/twotower sql "{demo_run.QUERY}"')


@app.command()
@told_in_one_line
def fetch(as_json: AsJson = False) -> None:
    """Fetch MovieLens-100K into the cache (2 MB). Example: `twotower fetch`"""
    from twotower_assets.datasets.movielens import LICENCE, fetch_movielens

    workspace = open_home()
    folder = fetch_movielens(workspace.settings.cache_folder / "movielens")
    if as_json:
        print(json.dumps({"folder": str(folder), "licence": LICENCE}, ensure_ascii=False))
        return
    print(folder)
    print(LICENCE)


@app.command()
@told_in_one_line
def materialize(
    job: Annotated[str, typer.Argument(help="features_job, training_job or everything_job.")],
    days: Annotated[
        str,
        typer.Option(
            help="A day, or a range such as 2022-04-24..2022-04-30. Default: the last day; for features_job, all days."
        ),
    ] = "",
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A training setting, as in the launchpad; may be repeated."),
    ] = None,
) -> None:
    """Run a job here and now: features for a range of days in one run, training for each day in a run of its own.

    Examples: `twotower materialize features_job --days 2022-04-24..2022-04-30`,
    `twotower materialize training_job --days 2022-04-30 --set temperature=0.5 --set correction=none`
    """
    from twotower_assets.defs.runs import dagster_instance, run_job

    workspace = open_home()
    first, last = _day_range(workspace, days)
    if not days and job != "features_job":
        first = last
    training = training_changes(changes or [])
    with dagster_instance(workspace) as instance:
        for begin, end in [(first, last)] if job == "features_job" else _each_day(first, last):
            result = run_job(workspace, instance, job, begin, end, training=training)
            print(f"{job} succeeded for {begin} to {end}: run {result.run_id}")
            for check in result.get_asset_check_evaluations():
                if check.check_name == "challenger_is_not_worse" and not check.passed:
                    print(
                        "note: the new version is not served, as it did not pass the gates; "
                        '`twotower sql "SELECT reasons FROM champion_decisions"` says why'
                    )


@app.command()
@told_in_one_line
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 3000) -> None:
    """Open the Dagster UI on this machine, with the daemon that runs schedules and backfills.

    Example: `twotower ui --port 3001`
    """
    from twotower_assets.core.folders import CHECKOUT
    from twotower_assets.workspace import prepare_dagster_home, write_workspace_file

    settings = open_home().settings
    prepare_dagster_home(settings)
    dg_command = str(Path(sys.executable).with_name("dg"))  # beside the interpreter, as pip puts it
    arguments = [dg_command, "dev", "--host", "127.0.0.1", "--port", str(port)]
    if CHECKOUT is None:
        arguments += ["--workspace", str(write_workspace_file(settings.dagster_home))]
    os.chdir(CHECKOUT or settings.dagster_home)
    os.execv(dg_command, arguments)


def _each_day(first: date, last: date) -> list[tuple[date, date]]:
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return [(day, day) for day in days]


def _day_range(workspace: Workspace, days: str) -> tuple[date, date]:
    from twotower_assets.defs.runs import partition_days

    if not days:
        return partition_days(workspace)
    ends = days.split("..")
    try:
        found = [date.fromisoformat(end) for end in ends]
    except ValueError as error:
        raise ValueError(f"--days takes 2022-04-24 or 2022-04-24..2022-04-30, not '{days}'") from error
    if len(found) > 2 or found[0] > found[-1]:
        raise ValueError(f"--days takes a day or first..last, not '{days}'")
    return found[0], found[-1]

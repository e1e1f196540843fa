"""Commands that run something: the demo, downloads, jobs, the UI."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twotower_assets.cli.app import AsJson, app, errors_in_one_line, note, open_home, out, training_changes
from twotower_assets.core.folders import CHECKOUT
from twotower_assets.core.suggestions import did_you_mean

if TYPE_CHECKING:
    from twotower_assets.workspace import Workspace


@app.command()
@errors_in_one_line
def demo() -> None:
    """Run MovieLens-100K through the whole graph and print the results.

    Safe to run again. Example: `twotower demo`
    """
    from twotower_assets.cli import demo as demo_run

    workspace = demo_run.run_demo(lambda text: out.print(text, highlight=False))
    out.print(demo_run.headline_table(workspace))
    out.print(
        "A rating of 4 or 5 is a click, a lower one is shown and not liked. The last 20 % of each user's clicks are "
        "held out.\nBenchmarks that take every rating as a positive have other numbers.\n",
        highlight=False,
    )
    print(f"Report:  {demo_run.report_path(workspace)}")
    program = ".venv/bin/twotower" if CHECKOUT else "twotower"
    print(f"Dagster: {'make' if CHECKOUT else program} ui, then http://127.0.0.1:3000")
    print(f"Models:  {program} versions")
    print(f'Query:   {program} sql "{demo_run.QUERY}"')


@app.command()
@errors_in_one_line
def fetch(as_json: AsJson = False) -> None:
    """Download MovieLens-100K into the cache (2 MB). Example: `twotower fetch`"""
    from twotower_assets.datasets.movielens import LICENCE, fetch_movielens

    workspace = open_home()
    folder = fetch_movielens(workspace.settings.cache_folder / "movielens")
    if as_json:
        print(json.dumps({"folder": str(folder), "licence": LICENCE}, ensure_ascii=False))
        return
    print(folder)
    print(LICENCE)


@app.command()
@errors_in_one_line
def materialize(
    job: Annotated[
        str, typer.Argument(help="features_job, training_job or everything_job; champion_job or comparison_job.")
    ],
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
    as_json: AsJson = False,
) -> None:
    """Run a job in this process: features for a range of days in one run, training in one run per day.

    Then prints a summary: rows read and rejected, recall, the served version and the report's path. With `--json`, it
    is a list with one object per run.

    Examples: `twotower materialize features_job --days 2022-04-24..2022-04-30`,
    `twotower materialize training_job --days 2022-04-30 --set temperature=0.5 --set correction=none`
    """
    from twotower_assets.cli.run_summary import as_json as plain
    from twotower_assets.cli.run_summary import summarize, text_lines
    from twotower_assets.defs.jobs import UNPARTITIONED
    from twotower_assets.defs.runs import open_instance, run_job, run_unpartitioned_job
    from twotower_assets.serving.summaries import served_version

    workspace = open_home()
    training = training_changes(changes or [])
    _require_job(workspace, job, days, training)
    summaries = []
    with open_instance(workspace) as instance:
        for days_of_run in [None] if job in UNPARTITIONED else _days_of_runs(workspace, job, days):
            before = served_version(workspace)
            if days_of_run is None:
                result = run_unpartitioned_job(workspace, instance, job)
            else:
                result = run_job(workspace, instance, job, *days_of_run, training=training)
            summaries.append(summarize(workspace, job, result.run_id, days_of_run, before))
            if not as_json:
                print("\n".join(text_lines(summaries[-1])))
    if as_json:
        print(json.dumps([plain(summary) for summary in summaries], default=str, allow_nan=False, ensure_ascii=False))


def _require_job(workspace: Workspace, job: str, days: str, training: dict[str, Any]) -> None:
    """Check the arguments before a run is created. Raises `ValueError`, and as `require_changes` does."""
    from twotower_assets.cli.run_summary import TRAINING_JOBS
    from twotower_assets.defs.jobs import BY_RECIPE, UNPARTITIONED, jobs
    from twotower_assets.defs.naming import Naming
    from twotower_assets.defs.training_config import require_changes

    known = [definition.name for definition in jobs(Naming())]
    if job not in known:
        raise ValueError(f"unknown job '{job}'{did_you_mean(job, known)} The jobs: {', '.join(known)}")
    if job in BY_RECIPE:
        raise ValueError(f"{job} trains one recipe per run; `twotower compare-recipes` runs it for several")
    if days and job in UNPARTITIONED:
        raise ValueError(f"{job} has no days; omit --days")
    if training and job not in TRAINING_JOBS:
        raise ValueError(f"{job} trains nothing; --set is for {' and '.join(TRAINING_JOBS)}")
    if training:
        require_changes(workspace.settings, training)


def _days_of_runs(workspace: Workspace, job: str, days: str) -> list[tuple[date, date]]:
    """First and last day of every run: features in one run, other jobs in one run per day (default: the last day)."""
    first, last = _day_range(workspace, days)
    if job == "features_job":
        return [(first, last)]
    return _each_day(first if days else last, last)


@app.command()
@errors_in_one_line
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 3000) -> None:
    """Start the Dagster UI on this machine, with the daemon for schedules and backfills, and a server for the reports.

    Example: `twotower ui --port 3001`
    """
    from twotower_assets.cli.ui import run_ui
    from twotower_assets.serving.report_server import REPORTS, ReportServerError, reports_served
    from twotower_assets.workspace import prepare_dagster_home, write_workspace_file

    settings = open_home().settings
    prepare_dagster_home(settings)
    dg_command = str(Path(sys.executable).with_name("dg"))  # pip installs it next to the interpreter
    command = [dg_command, "dev", "--host", "127.0.0.1", "--port", str(port)]
    if CHECKOUT is None:
        command += ["--workspace", str(write_workspace_file(settings.dagster_home))]
    with ExitStack() as stack:
        try:
            stack.enter_context(reports_served(settings.artifacts_folder / REPORTS, settings.report_address))
        except ReportServerError as error:  # for example, because the UI of another home is running
            note(str(error))
        raise typer.Exit(run_ui(command, CHECKOUT or settings.dagster_home))


def _each_day(first: date, last: date) -> list[tuple[date, date]]:
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return [(day, day) for day in days]


def _day_range(workspace: Workspace, days: str) -> tuple[date, date]:
    from twotower_assets.defs.runs import partition_days

    return days_named(days) if days else partition_days(workspace)


def days_named(days: str) -> tuple[date, date]:
    """First and last of `2022-04-24` or `2022-04-24..2022-04-30`. Raises `ValueError` for any other form."""
    ends = days.split("..")
    try:
        found = [date.fromisoformat(end) for end in ends]
    except ValueError as error:
        raise ValueError(f"--days takes 2022-04-24 or 2022-04-24..2022-04-30, not '{days}'") from error
    if len(found) > 2 or found[0] > found[-1]:
        raise ValueError(f"--days takes a day or first..last, not '{days}'")
    return found[0], found[-1]

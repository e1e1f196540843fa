"""`twotower`: a few commands for people at a terminal. Each says what is wrong in one message and an exit code."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

if TYPE_CHECKING:
    from twotower_assets.platform import Platform

app = typer.Typer(
    help="Two-tower retrieval on Dagster: look into the lake, ask for recommendations, follow lineage.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
out, err = Console(soft_wrap=True), Console(stderr=True, soft_wrap=True)
WIDE = 140
"""Columns of a terminal in which no name of a recipe is cut off."""
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Count = Annotated[int, typer.Option("-k", min=1, max=1000, help="How many items.")]


def _told_in_one_line(command: Callable[..., Any]) -> Callable[..., Any]:
    """Turn the errors that people can do something about into one message and exit code 1."""

    @functools.wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        import duckdb

        try:
            return command(*args, **kwargs)
        except typer.Exit:  # a RuntimeError too, but no failure: it only carries the exit code
            raise
        except (RuntimeError, ValueError, LookupError, OSError, duckdb.Error) as error:
            _fail(str(error) or type(error).__name__)

    return guarded


def _fail(message: str) -> NoReturn:
    err.print(f"[bold red]error:[/] {escape(message)}", highlight=False)
    raise typer.Exit(1)


def _platform() -> Platform:
    from twotower_assets.platform import open_platform
    from twotower_assets.settings import load_settings

    return open_platform(load_settings())


@app.command()
@_told_in_one_line
def demo() -> None:
    """Run MovieLens-100K through the whole graph and print what came out.

    Safe to run again. Example: `twotower demo`
    """
    from twotower_assets import demo as demo_run

    platform = demo_run.run_demo(lambda text: out.print(text, markup=False, highlight=False))
    out.print(demo_run.headline_table(platform))
    out.print(
        "A rating of 4 or 5 is a click, a lower one is shown and not liked. The last 20 % of each user's clicks are "
        "held out.\nBenchmarks that take every rating as a positive have other numbers.\n",
        highlight=False,
    )
    print(f"Report:  {demo_run.report_path(platform)}")
    print("Dagster: make ui, then http://127.0.0.1:3000")
    print(f'Query:   .venv/bin/twotower sql "{demo_run.QUERY}"')


@app.command()
@_told_in_one_line
def fetch() -> None:
    """Fetch MovieLens-100K into the cache (2 MB). Example: `twotower fetch`"""
    from twotower_assets.movielens import LICENCE, fetch_movielens

    platform = _platform()
    print(fetch_movielens(platform.settings.cache_folder / "movielens"))
    print(LICENCE)


@app.command()
@_told_in_one_line
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
    from twotower_assets.runs import dagster_instance, run_job

    platform = _platform()
    first, last = _day_range(platform, days)
    if not days and job != "features_job":
        first = last
    training = _training_changes(changes or [])
    with dagster_instance(platform) as instance:
        for begin, end in [(first, last)] if job == "features_job" else _each_day(first, last):
            result = run_job(platform, instance, job, begin, end, training=training)
            print(f"{job} succeeded for {begin} to {end}: run {result.run_id}")


@app.command()
@_told_in_one_line
def recipes(as_json: AsJson = False) -> None:
    """Every recipe: how negatives are drawn and popularity is treated. Yours go into recipes.yaml in the home folder.

    Example: `twotower recipes`
    """
    from twotower_assets.two_tower.recipes import load_recipes

    found = load_recipes(_platform().settings.own_recipes)
    if as_json:
        print(json.dumps([recipe.model_dump() for recipe in found.values()], ensure_ascii=False))
        return
    table = RichTable()
    for heading in ("recipe", "γ₀", "what it is"):
        table.add_column(heading)
    for recipe in found.values():
        config = recipe.config()
        known = f"{config.trained_popularity_weight:g}" if config.trained_weight_is_known else "unknown"
        table.add_row(recipe.name, known, recipe.description)
    out.print(table)


@app.command()
@_told_in_one_line
def compare(
    chosen: Annotated[str, typer.Argument(help="Recipes, separated by commas; by default all.")] = "",
    baseline: Annotated[str, typer.Option(help="The recipe that gains are measured against.")] = "logq",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Trainings per recipe.")] = 3,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A training setting for all recipes; may be repeated."),
    ] = None,
) -> None:
    """Train recipes on the same pairs, as of the last day, and compare them. In the UI: a backfill over recipes.

    Example: `twotower compare in_batch,logq,mixed --seeds 1 --set temperature=0.5`
    """
    from rich.markdown import Markdown

    from twotower_assets.runs import compare_recipes, dagster_instance

    platform = _platform()
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    with dagster_instance(platform) as instance:
        compared = compare_recipes(platform, instance, names, baseline, seeds, _training_changes(changes or []))
    wide = Console(soft_wrap=True, width=max(out.width, WIDE))
    wide.print(Markdown(compared.table))
    wide.print(Markdown(compared.popularity))
    out.print(Markdown(compared.recommendation))


@app.command()
@_told_in_one_line
def ui(port: Annotated[int, typer.Option(min=1, max=65535)] = 3000) -> None:
    """Open the Dagster UI on this machine, with the daemon that runs schedules and backfills.

    Example: `twotower ui --port 3001`
    """
    from twotower_assets.platform import prepare_dagster_home
    from twotower_assets.settings import PROJECT_ROOT

    prepare_dagster_home(_platform().settings.dagster_home)
    dg_command = str(Path(sys.executable).with_name("dg"))  # beside the interpreter, as pip puts it
    os.chdir(PROJECT_ROOT)
    os.execv(dg_command, [dg_command, "dev", "--host", "127.0.0.1", "--port", str(port)])


@app.command()
@_told_in_one_line
def sql(
    query: Annotated[str | None, typer.Argument(help="One statement; without it, a prompt opens.")] = None,
    as_json: AsJson = False,
) -> None:
    """Query the lake, read-only: one statement, or an interactive prompt.

    Examples: `twotower sql "SELECT day, count(*) FROM impressions GROUP BY day"`, `twotower sql`
    """
    from twotower_assets.prompt import run_prompt

    platform = _platform()
    with platform.lake.reader(snapshot=None, transaction=False) as con:
        if query is None:
            run_prompt(con)
        elif as_json:
            cursor = con.execute(query)
            names = [column[0] for column in cursor.description or []]
            rows = [dict(zip(names, map(_json_value, row), strict=True)) for row in cursor.fetchall()]
            print(json.dumps(rows, default=str, allow_nan=False))
        else:
            relation = con.sql(query)
            if relation is not None:
                relation.show(max_width=_width(), max_rows=1000)


@app.command()
@_told_in_one_line
def recommend(
    user: Annotated[str, typer.Option("--user", help="The user's id.")],
    k: Count = 10,
    popularity_weight: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="γ: 1 = click probability, 0 = PMI, affinity alone."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Items for a user from the champion, without those the user has clicked.

    Examples: `twotower recommend --user 1`, `twotower recommend --user 1 -k 5 --popularity-weight 0.5 --json`
    """
    from twotower_assets.recommendations import popularity_warning
    from twotower_assets.recommendations import recommend as ask

    platform = _platform()
    _show(ask(platform, user, k, popularity_weight), f"For user {user}", as_json)
    if warning := popularity_warning(platform, popularity_weight):
        err.print(f"[yellow]note:[/] {escape(warning)}", highlight=False)


@app.command()
@_told_in_one_line
def similar(
    item: Annotated[str, typer.Option("--item", help="The item's id.")],
    k: Count = 10,
    as_json: AsJson = False,
) -> None:
    """Items whose vectors are nearest to an item's.

    Example: `twotower similar --item 50 -k 5`
    """
    from twotower_assets.recommendations import similar as ask

    _show(ask(_platform(), item, k), f"Like item {item}", as_json)


@app.command()
@_told_in_one_line
def lineage(
    artifact: Annotated[str, typer.Argument(help="An asset (its newest version), a version, or asset/version.")],
    as_json: AsJson = False,
) -> None:
    """What an artifact was made from, down to raw partitions and snapshots of the lake.

    Examples: `twotower lineage ann_index`, `twotower lineage tower_checkpoint --json`
    """
    from twotower_assets.lineage import lineage as chain_of
    from twotower_assets.lineage_tree import as_tree

    node = chain_of(_platform(), artifact)
    if as_json:
        print(json.dumps(node.as_dict(), indent=2, default=str))
    else:
        out.print(as_tree(node))


@app.command()
@_told_in_one_line
def doctor(as_json: AsJson = False) -> None:
    """What is installed, where state lives, what is wrong. Exit code 1 if anything is.

    Example: `twotower doctor`
    """
    from twotower_assets.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            sign = "[green]ok   [/]" if finding.ok else "[bold red]WRONG[/]"
            out.print(f"{sign} [bold]{finding.name}[/]: ", end="")
            out.print(finding.text, markup=False, highlight=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _each_day(first: date, last: date) -> list[tuple[date, date]]:
    days = (first + timedelta(days=offset) for offset in range((last - first).days + 1))
    return [(day, day) for day in days]


def _training_changes(changes: list[str]) -> dict[str, Any]:
    import yaml

    pairs = [change.partition("=") for change in changes]
    if wrong := [name for name, equals, _ in pairs if not equals]:
        raise ValueError(f"--set takes NAME=VALUE, not '{wrong[0]}'")
    try:
        return {name: yaml.safe_load(value) for name, _, value in pairs}
    except yaml.YAMLError as error:
        raise ValueError(f"--set takes values as in YAML, such as 0.5, logq or [128, 64]: {error}") from error


def _day_range(platform: Platform, days: str) -> tuple[date, date]:
    from twotower_assets.runs import partition_days

    if not days:
        return partition_days(platform)
    ends = days.split("..")
    try:
        found = [date.fromisoformat(end) for end in ends]
    except ValueError as error:
        raise ValueError(f"--days takes 2022-04-24 or 2022-04-24..2022-04-30, not '{days}'") from error
    if len(found) > 2 or found[0] > found[-1]:
        raise ValueError(f"--days takes a day or first..last, not '{days}'")
    return found[0], found[-1]


def _json_value(value: Any) -> Any:
    """JSON has no NaN and no infinity; they become null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _show(suggestions: list[Any], title: str, as_json: bool) -> None:
    if as_json:
        print(json.dumps([one.as_dict() for one in suggestions], ensure_ascii=False))
        return
    table = RichTable(title=title)
    for heading in ("", "item", "title", "category", "bucket", "score"):
        table.add_column(heading, justify="right" if heading in ("", "score") else "left")
    for one in suggestions:
        table.add_row(str(one.rank), one.item_id, one.title or "", one.category, one.bucket, f"{one.score:.3f}")
    out.print(table)


def _width() -> int:
    return max(out.width, 80)

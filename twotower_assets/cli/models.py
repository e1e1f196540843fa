"""Commands about models: recipes, versions, comparisons, promotion and roll-back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table as RichTable

from twotower_assets.cli.app import WIDE, AsJson, app, errors_in_one_line, json_value, open_home, out, training_changes

if TYPE_CHECKING:
    from twotower_assets.experiments.compare_versions import VersionComparison

Reason = Annotated[str | None, typer.Option("--reason", help="The reason; stored with the decision.")]


@app.command()
@errors_in_one_line
def recipes(as_json: AsJson = False) -> None:
    """List all recipes: how negatives are sampled and popularity is corrected. Add yours to recipes.yaml in the home.

    Example: `twotower recipes`
    """
    from twotower_assets.recipes.recipes import load_recipes

    found = load_recipes(open_home().settings.recipes_file)
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
@errors_in_one_line
def versions(as_json: AsJson = False) -> None:
    """List all versions of the model, newest day first: recall, that of most popular, and which version is served.

    Example: `twotower versions --json`
    """
    from twotower_assets.cli.run_summary import versions_table
    from twotower_assets.serving.summaries import every_version

    found = every_version(open_home())
    if as_json:
        lines = [{name: json_value(value) for name, value in vars(line).items()} for line in found]
        print(json.dumps(lines, default=str, allow_nan=False))
    elif found:
        _wide().print(versions_table(found))
    else:
        print("There is no version yet; `twotower materialize training_job` trains one.")


@app.command()
@errors_in_one_line
def compare(
    version: Annotated[
        str, typer.Argument(help="A version, the start of one, a day (its newest model) or 'champion'.")
    ],
    other: Annotated[str, typer.Argument(help="The version to compare with, given in the same way.")] = "champion",
    as_json: AsJson = False,
) -> None:
    """Compare two versions of the model on the same users, those of the first one's hold-out, with intervals.

    To compare recipes, use `twotower compare-recipes`. Examples: `twotower compare 1998-04-22`,
    `twotower compare 2dee61 8b2444 --json`
    """
    from twotower_assets.experiments.compare_versions import compare_versions
    from twotower_assets.serving.versions import find_version

    workspace = open_home()
    with workspace.lake.reader() as con:
        names = [find_version(con, name).model_version for name in (version, other)]
    found = compare_versions(workspace, *names)
    if as_json:
        print(json.dumps(_as_json(found), default=str, allow_nan=False, ensure_ascii=False))
        return
    out.print(
        f"A  {found.version}\nB  {found.other_version}\n{found.users} users of the hold-out of A, {found.hold_out_day} "
        f"({found.hold_out}); γ = {found.popularity_weight:g}; 95 % intervals of A − B, paired by user.",
        highlight=False,
    )
    wide = _wide()
    wide.print(_differences(found))
    wide.print(_movers(found))


@app.command()
@errors_in_one_line
def promote(
    version: Annotated[str, typer.Argument(help="A version, the start of one, or a day (its newest model).")],
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Serve a version from now on, without evaluating the gates.

    Example: `twotower promote 1998-04-22-2dee61a49b89 --reason "requested by the editors"`
    """
    _decide({"version": version}, reason, as_json)


@app.command("roll-back")
@errors_in_one_line
def roll_back(
    to: Annotated[
        str | None, typer.Option("--to", help="A version that was served before. Default: the last one.")
    ] = None,
    reason: Reason = None,
    as_json: AsJson = False,
) -> None:
    """Serve the previous champion again. The version that is replaced is not promoted again automatically.

    Examples: `twotower roll-back --reason "lists of new users are odd"`, `twotower roll-back --to 1998-04-21`
    """
    _decide({"roll_back": True, **({"version": to} if to else {})}, reason, as_json)


@app.command("compare-recipes")
@errors_in_one_line
def compare_recipes(
    chosen: Annotated[str, typer.Argument(help="Recipes, separated by commas. Default: all.")] = "",
    baseline: Annotated[str, typer.Option(help="The recipe that gains are measured against.")] = "logq",
    seeds: Annotated[int, typer.Option(min=1, max=100, help="Trainings per recipe.")] = 3,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A training setting for all recipes; may be repeated."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Train recipes on the same pairs, as of the last day, and compare them. In the UI: a backfill over recipes.

    Example: `twotower compare-recipes in_batch,logq,mixed --seeds 1 --set temperature=0.5`
    """
    from rich.markdown import Markdown

    from twotower_assets.defs.runs import compare_recipes as run_comparison
    from twotower_assets.defs.runs import open_instance

    workspace = open_home()
    names = [name.strip() for name in chosen.split(",") if name.strip()]
    training = training_changes(changes or [])
    with open_instance(workspace) as instance:
        compared = run_comparison(workspace, instance, names, baseline, seeds, training)
    if as_json:
        with workspace.lake.reader() as con:
            rows = con.execute("FROM negative_sampling_comparison ORDER BY ALL").pl().to_dicts()
        metrics = [{name: json_value(value) for name, value in row.items()} for row in rows]
        found = {"recommendation": compared.recommendation, "metrics": metrics}
        print(json.dumps(found, default=str, allow_nan=False, ensure_ascii=False))
        return
    wide = _wide()
    wide.print(Markdown(compared.table))
    wide.print(Markdown(compared.popularity))
    out.print(Markdown(compared.recommendation))


def _wide() -> Console:
    """A console that never truncates names, however narrow the terminal."""
    return Console(soft_wrap=True, width=max(out.width, WIDE), markup=False, emoji=False)


def _decide(config: dict[str, Any], reason: str | None, as_json: bool) -> None:
    """Materialize the champion with a person's decision, and print which version is then served."""
    from twotower_assets.defs.runs import choose_champion, open_instance
    from twotower_assets.serving import promotion
    from twotower_assets.serving.versions import champion_of

    workspace = open_home()
    with workspace.lake.reader() as con:
        before = champion_of(con)
        if config.get("roll_back"):  # raises before a run is created if the decision is impossible
            promotion.roll_back(con, workspace, config.get("version"), reason or "")
        else:
            promotion.choose_by_hand(con, workspace, config["version"], reason or "")
    with open_instance(workspace) as instance:
        choose_champion(workspace, instance, {**config, **({"reason": reason} if reason else {})})
    with workspace.lake.reader() as con:
        now = champion_of(con)
    versions = {"served": now and now.model_version, "before": before and before.model_version}
    if as_json:
        print(json.dumps(versions))
        return
    for name, version in versions.items():
        print(f"{name.capitalize()}: {version or 'nothing'}")


def _as_json(found: VersionComparison) -> dict[str, Any]:
    numbers = ("version", "other_version", "hold_out_day", "hold_out", "popularity_weight", "users")
    pair = ("model_version", "other_version", "hold_out_day")
    metrics = [{name: json_value(value) for name, value in row.items()} for row in found.rows.drop(pair).to_dicts()]
    return {**{name: getattr(found, name) for name in numbers}, "metrics": metrics, "movers": found.movers.to_dicts()}


def _differences(found: VersionComparison) -> RichTable:
    table = RichTable()
    table.add_column("metric")
    for heading in ("A", "B", "A − B", "interval", "users"):
        table.add_column(heading, justify="right")
    for row in found.rows.iter_rows(named=True):
        name = f"{row['metric'].removeprefix('category_')}@{row['k']}"
        name += "" if row["bucket"] == "all" else f", {row['bucket'].replace('_', ' ')}"
        value, other, difference = (
            "" if row[column] is None else f"{row[column]:{sign}.4f}"
            for column, sign in (("value", ""), ("other_value", ""), ("difference", "+"))
        )
        interval, significant = "", False
        if row["low"] is not None:
            interval, significant = f"{row['low']:+.4f} to {row['high']:+.4f}", row["low"] > 0 or row["high"] < 0
        style = "bold" if significant else None
        table.add_row(name, value, other, difference, interval, str(row["users"]), style=style)
    table.caption = "bold: the interval excludes 0"
    return table


def _movers(found: VersionComparison) -> RichTable:
    table = RichTable(title="Items that appear in more, or in fewer, lists")
    for heading in ("item", "title", "category", "bucket"):
        table.add_column(heading)
    for heading in ("A", "B", "A − B"):
        table.add_column(heading, justify="right")
    for row in found.movers.iter_rows(named=True):
        texts = (str(row[name] or "") for name in ("item_id", "title", "category", "bucket"))
        table.add_row(*texts, str(row["lists"]), str(row["other_lists"]), f"{row['change']:+d}")
    return table

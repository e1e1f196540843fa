"""`twotower init`: sets up a home for the user's own data, interactively or from options.

`datasets.own_data` guesses the meaning of files and columns; this module prompts, prints and writes.
"""

from __future__ import annotations

import json
import os
import re
import shlex
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twotower_assets.cli.app import AsJson, app, err, errors_in_one_line, out
from twotower_assets.core.folders import DEFAULT_HOME

if TYPE_CHECKING:
    import duckdb

    from twotower_assets.datasets.own_data import Reading

HOLD_OUT_BY_DAY_FROM = 4
"""Days of a log from which on the last day is held out; for a shorter log, each user's last clicks."""


@app.command()
@errors_in_one_line
def init(
    home: Annotated[Path | None, typer.Option(help="The folder to create. Prompted for if not given.")] = None,
    source: Annotated[Path | None, typer.Option(help="The folder of your files: Parquet, CSV or JSON.")] = None,
    dataset: Annotated[str | None, typer.Option(help="A name for the data set. Default: the folder's name.")] = None,
    impressions: Annotated[str, typer.Option(help="The files of the log, such as 'ev*.csv'. Default: guessed.")] = "",
    items: Annotated[str, typer.Option(help="The files of the catalogue. Default: guessed.")] = "",
    users: Annotated[str, typer.Option(help="The files of user attributes. Default: guessed.")] = "",
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=COLUMN", help="Which column is user_id, item_id, shown_at, clicked, …"),
    ] = None,
    last_day: Annotated[
        datetime | None,
        typer.Option("--last-day", formats=["%Y-%m-%d"], help="Last day of a closed log. Default: the log grows."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not prompt; accept all guesses.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make a home for your own data: settings, and SQL to edit that reads your files.

    Reads your files, guesses which column is which and prints the guesses. Existing files are never changed.

    Examples: `twotower init`, `twotower init --home ~/shop-home --source ~/shop-logs --last-day 2024-03-10 --yes`,
    `twotower init --home h --source s --column user_id=buyer --column clicked=opened --yes --json`
    """
    import duckdb

    from twotower_assets.datasets import own_data
    from twotower_assets.datasets.raw_source import SourceError, read_values_as_meant

    interactive = not yes and not as_json
    named = _named(columns or [])
    home = _folder(home, "Home folder to create", os.environ.get("TWOTOWER_HOME") or str(DEFAULT_HOME), interactive)
    _refuse_to_overwrite(home)
    source = _folder(source, "Folder of your files", None, interactive)
    if not source.is_dir():
        raise ValueError(f"{source} is not a folder; --source takes the folder of your Parquet, CSV or JSON files")
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        read_values_as_meant(con)
        patterns = {"impressions": impressions, "items": items, "users": users}
        readings: dict[str, Reading] = {}
        for table, files in own_data.find_files(con, source, patterns).items():
            readings[table] = own_data.guess(con, source, table, files, named)
            while readings[table].missing:
                named |= _ask(readings[table], interactive)
                readings[table] = own_data.guess(con, source, table, files, named)
        first, last = own_data.days_of(con, source, readings["impressions"])
        name = _data_set(dataset, source)
        if not as_json:
            _show(readings, first, last)
        ends: date | None = last_day.date() if last_day else None
        if interactive and ends is None:
            given = typer.prompt("Last day of a closed log, or 'grows'", default=str(last))
            ends = None if given == "grows" else date.fromisoformat(given)
        if interactive:
            typer.confirm(f"Write {home}?", default=True, abort=True)
        texts = _texts(home, source, name, readings, first, ends, last)
        for file, text in texts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        try:
            checked = _checked(con, name, source, home / "sql", first, ends or last)
        except SourceError as error:
            raise ValueError(
                f"{error}\nThe files in {home} were written; edit the SQL, then run `twotower doctor`"
            ) from error
    found = {
        "home": str(home),
        "dataset": name,
        "first_day": str(first),
        "last_day": str(ends) if ends else None,
        "columns": {table: reading.columns for table, reading in readings.items()},
        "written": [str(file) for file in texts],
        "checked": checked,
    }
    if as_json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        _print_next_steps(found)


def _named(columns: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in columns]
    if wrong := [text for text, (_, equals, _) in zip(columns, pairs, strict=True) if not equals]:
        raise ValueError(f"--column takes NAME=COLUMN, such as user_id=visitor, not '{wrong[0]}'")
    return {name: column for name, _, column in pairs}


def _folder(given: Path | None, question: str, default: str | None, interactive: bool) -> Path:
    if given is None and not interactive and default is None:
        raise ValueError("give --source, the folder of your files")
    chosen = given or Path(typer.prompt(question, default=default) if interactive else str(default))
    return chosen.expanduser().resolve()


def _data_set(given: str | None, source: Path) -> str:
    name = given or re.sub(r"[^a-z0-9]+", "_", source.name.lower()).strip("_") or "own"
    if given is None and not name[0].isalpha():
        name = f"data_{name}"
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"--dataset takes lower case letters, digits and underscores, not '{name}'")
    return name


def _refuse_to_overwrite(home: Path) -> None:
    for file in (home / "twotower.env", home / "sql", home / "lake"):
        if file.exists():
            raise ValueError(f"{file} already exists; a home holds one data set. Choose another --home, or remove it")


def _ask(reading: Reading, interactive: bool) -> dict[str, str]:
    """Prompt for the first required column that was not found. Raises `ValueError` if not interactive."""
    name, existing = reading.missing[0], ", ".join(reading.files.types)
    if not interactive:
        raise ValueError(
            f"which column of {reading.files.pattern} is {name}? Set --column {name}=…; it has: {existing}"
        )
    column = typer.prompt(f"Which column of {reading.files.pattern} is {name}? It has: {existing}\n ")
    if column not in reading.files.types:
        err.print(f"There is no column '{column}'.")
        return {}
    return {name: column}


def _show(readings: dict[str, Reading], first: date, last: date) -> None:
    for table, reading in readings.items():
        pairs = ", ".join(f"{name} = {column}" for name, column in reading.columns.items())
        out.print(f"{table:<12} {reading.files.pattern}: {pairs}", highlight=False)
        for note in reading.notes.values():
            out.print(f"{'':<12} {note}", highlight=False)
    if "items" not in readings:
        out.print(f"{'items':<12} no file: the catalogue is the items of the log", highlight=False)
    out.print(f"{'days':<12} {first} to {last}", highlight=False)


def _texts(
    home: Path, source: Path, name: str, readings: dict[str, Reading], first: date, ends: date | None, last: date
) -> dict[Path, str]:
    from twotower_assets.datasets import own_data

    days = (last - first).days + 1
    env = own_data.rendered(
        "twotower.env",
        dataset=name,
        source=source,
        sql=home / "sql",
        first_day=first,
        last_day=ends,
        hold_out="by_day" if days >= HOLD_OUT_BY_DAY_FROM else "per_user_last",
    )
    texts = {home / "twotower.env": env}
    for table, reading in readings.items():
        texts[home / "sql" / f"{table}.sql"] = own_data.sql_of(reading)
    if "items" not in readings:
        texts[home / "sql" / "items.sql"] = own_data.sql_of_clicked_items(readings["impressions"])
    return texts


def _checked(
    con: duckdb.DuckDBPyConnection, name: str, source: Path, sql: Path, first: date, last: date
) -> dict[str, Any]:
    """Row counts that the SQL gives for the last day, cleaned as in a run."""
    from twotower_assets.datasets.raw_source import Source, partition_bounds, stage_catalogue, stage_impressions

    raw = Source(name, source, sql)
    rejects, _ = stage_impressions(con, raw, partition_bounds(last, last, first))
    catalogue = stage_catalogue(con, raw, "items")
    return {
        "day": str(last),
        "rows": rejects.rows,
        "rejected": rejects.rejected,
        "reasons": rejects.reasons,
        "items": catalogue.rows - catalogue.rejected,
    }


def _print_next_steps(found: dict[str, Any]) -> None:
    checked = found["checked"]
    why = "".join(f", {reason}: {count}" for reason, count in checked["reasons"].items())
    out.print(
        f"{'checked':<12} {checked['day']}: {checked['rows']} rows, {checked['rejected']} rejected{why}; "
        f"{checked['items']} items",
        highlight=False,
    )
    print(f"\nWrote {', '.join(Path(file).name for file in found['written'])} in {found['home']}. Next:\n")
    print(f"  export TWOTOWER_HOME={shlex.quote(found['home'])}")
    print("  twotower materialize features_job\n  twotower materialize training_job")

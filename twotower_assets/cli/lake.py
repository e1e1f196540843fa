"""Read-only commands: SQL on the lake, reports, lineage, and checks of the installation."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated

import typer
from rich.text import Text

from twotower_assets.cli.app import AsJson, app, errors_in_one_line, fail, json_value, open_home, out, terminal_width

Snapshot = Annotated[
    int | None, typer.Option("--snapshot", min=0, help="Read the lake as of this snapshot. Default: the newest.")
]


@app.command()
@errors_in_one_line
def sql(
    query: Annotated[str | None, typer.Argument(help="One statement; without it, a prompt opens.")] = None,
    as_json: AsJson = False,
    snapshot: Snapshot = None,
) -> None:
    """Query the lake, read-only: one statement, or an interactive prompt.

    Views and macros for analysts: `twotower sql "SELECT signature, description FROM macro_help"`

    Examples: `twotower sql "FROM recommend('1', 5, 0.5)"`, `twotower sql --snapshot 17 "FROM items"`, `twotower sql`
    """
    from twotower_assets.cli.prompt import run_prompt

    workspace = open_home()
    with workspace.lake.reader(snapshot, transaction=False) as con:
        if query is None:
            run_prompt(con)
        elif as_json:
            cursor = con.execute(query)
            names = [column[0] for column in cursor.description or []]
            rows = [dict(zip(names, map(json_value, row), strict=True)) for row in cursor.fetchall()]
            print(json.dumps(rows, default=str, allow_nan=False))
        else:
            relation = con.sql(query)
            if relation is not None:
                relation.show(max_width=terminal_width(), max_rows=1000)


@app.command()
@errors_in_one_line
def attach(snapshot: Snapshot = None) -> None:
    """Print the statements that attach the lake, read-only, to any DuckDB of the installed version.

    Example: `duckdb -cmd "$(twotower attach)"` opens DuckDB's own prompt on the lake.
    """
    print(open_home().lake.attach_script(snapshot), end="")


@app.command()
@errors_in_one_line
def report(
    version: Annotated[str | None, typer.Option("--version", help="The version of a report or of a model.")] = None,
    day: Annotated[datetime | None, typer.Option("--day", formats=["%Y-%m-%d"], help="The day of a model.")] = None,
    open_it: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the path of the newest report's page.

    Examples: `twotower report --open`, `twotower report --day 2022-04-30`
    """
    import webbrowser

    from twotower_assets.serving.report_pages import report_page

    page = report_page(open_home(), version, day.date() if day else None)
    print(json.dumps({"page": str(page)}, ensure_ascii=False) if as_json else page)
    if open_it and not webbrowser.open(page.as_uri()):
        fail("no browser was found; open the page above yourself, or set the variable BROWSER")


@app.command()
@errors_in_one_line
def lineage(
    artifact: Annotated[str, typer.Argument(help="An asset (its newest version), a version, or asset/version.")],
    as_json: AsJson = False,
) -> None:
    """Show what an artifact was made from, down to raw partitions and snapshots of the lake.

    Examples: `twotower lineage ann_index`, `twotower lineage tower_checkpoint --json`
    """
    from twotower_assets.cli.lineage_tree import as_tree
    from twotower_assets.workspace import lineage as artifact_lineage

    node = artifact_lineage(open_home(), artifact)
    if as_json:
        print(json.dumps(node.as_dict(), indent=2, default=str))
    else:
        out.print(as_tree(node))


@app.command()
@errors_in_one_line
def doctor(as_json: AsJson = False) -> None:
    """Check the installation and the home: packages, locations, problems. Exit code 1 if there is a problem.

    Example: `twotower doctor`
    """
    from twotower_assets.cli.doctor import examine

    findings = examine()
    if as_json:
        print(json.dumps([finding._asdict() for finding in findings], indent=2))
    else:
        for finding in findings:
            sign = ("ok   ", "green") if finding.ok else ("WRONG", "bold red")
            out.print(Text.assemble(sign, " ", (finding.name, "bold"), ": ", finding.text), highlight=False)
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)

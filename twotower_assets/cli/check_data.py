"""The command `twotower check-data`: a look at raw data before a run."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twotower_assets.cli.app import AsJson, app, errors_in_one_line, open_home, out
from twotower_assets.cli.running import days_named
from twotower_assets.core.days import Days

if TYPE_CHECKING:
    from twotower_assets.reporting.raw_data_facts import DataCheck
    from twotower_assets.workspace import Workspace

BLOCKS = " ▁▂▃▄▅▆▇█"
OPEN_LOG_DAYS = 30
"""Days of a growing log that are read by default."""


@app.command()
@errors_in_one_line
def check_data(
    days: Annotated[
        str,
        typer.Option(help="A day, or a range such as 2022-04-24..2022-04-30. Default: all; of a growing log, 30 days."),
    ] = "",
    html: Annotated[Path | None, typer.Option(help="Write an HTML page with charts to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Look at the raw data before a run, and write nothing: days, types, rejects, orphans, what recipes are possible.

    Examples: `twotower check-data`, `twotower check-data --days 2022-04-24..2022-04-30 --html check.html`
    """
    from twotower_assets.experiments.examine_raw_data import examine_raw_data
    from twotower_assets.recipes.recipes import load_recipes

    workspace = open_home()
    settings = workspace.settings
    found = examine_raw_data(workspace.source, settings, load_recipes(settings.recipes_file), _days(workspace, days))
    if html:
        from twotower_assets.reporting.data_page import render_data_page

        html.write_text(render_data_page(found), encoding="utf-8")
    if as_json:
        print(json.dumps(_plain(found), default=str, allow_nan=False, ensure_ascii=False))
        return
    out.print("\n".join(_lines(found)), highlight=False)
    if html:
        print(f"Page: {html.resolve()}")


def _days(workspace: Workspace, days: str) -> Days:
    if days:
        return Days(*days_named(days))
    first, last = workspace.days()
    if first > (last or datetime.now(UTC).date()):
        raise ValueError(f"the log starts on {first}, which has not come yet; name days with --days")
    if last is None:
        last = datetime.now(UTC).date()
        first = max(first, last - timedelta(days=OPEN_LOG_DAYS - 1))
    return Days(first, last)


def _plain(found: DataCheck) -> dict[str, object]:
    derived = {name: getattr(found, name) for name in ("rejected", "missing_days", "thin_days", "changed_types")}
    days = [asdict(day) | {"click_rate": day.click_rate} for day in found.days]
    return asdict(found) | derived | {"days": days}


def _lines(found: DataCheck) -> Iterator[str]:
    totals, kept = found.totals, found.totals.impressions
    yield f"{found.dataset}: {found.path}"
    first, last = found.days[0].day, found.days[-1].day
    yield f"  days:      {first} to {last}, {len(found.days) - len(found.missing_days)} of {len(found.days)} with rows"
    yield f"  rows:      {found.read:,} read, {kept:,} kept, {found.rejected:,} rejected"
    for reason in found.reasons:
        yield f"             {reason.rows:,} {reason.reason}: {'; '.join(reason.examples)}"
    if kept:
        yield (
            f"  clicks:    {totals.clicks:,}, {totals.clicks / kept:.1%} of the rows; by day {_range_of_rates(found)}"
        )
    yield (
        f"  users:     {totals.users:,}, {totals.clicking_users:,} of them click, {totals.users_with_one_click:,} once"
        f"; {totals.user_rows:,} have attributes"
    )
    top = f"; '{totals.top_item}' has {totals.clicks_of_top_item:,} of the clicks" if totals.top_item else ""
    yield f"  items:     {totals.items_shown:,} shown, {totals.items_clicked:,} clicked{top}"
    share = f" ({found.orphaned / kept:.1%})" if kept else ""
    yield (
        f"  catalogue: {totals.catalogue:,} items in {totals.categories:,} categories; {found.orphaned:,} rows{share} "
        "of items that are not in it"
    )
    for table, reasons in found.catalogue_rejects.items():
        for name, count in reasons.items():
            yield f"             {table}: {count:,} {name}"
    yield f"  rows by day {_sparkline([day.rows for day in found.days])}"
    yield f"  UTC hours   {_sparkline(found.hours)} (0 to 23)"
    for group in found.files:
        types = ", ".join(f"{name} {kind}" for name, kind in group.types.items())
        yield f"  files:     {group.files} as {group.example}: {types}"
    if found.unread_files:
        count, first_name = len(found.unread_files), found.unread_files[0]
        yield f"  files:     {count} whose types were not looked into, such as {first_name}"
    possible = [name for name, missing in found.recipes.items() if missing is None]
    yield f"  recipes:   {', '.join(possible) or 'none is possible'}"
    for name, missing in found.recipes.items():
        if missing:
            yield f"             not {name}: {missing}"
    for remark in found.remarks:
        yield f"! {remark}"
    if not found.remarks:
        yield "Nothing strange was found."


def _range_of_rates(found: DataCheck) -> str:
    rates = [day.click_rate for day in found.days if day.click_rate is not None]
    return f"{min(rates):.1%} to {max(rates):.1%}"


def _sparkline(counts: list[int]) -> str:
    """Counts as blocks; at most 60, neighbours added up."""
    width = -(-len(counts) // 60)
    grouped = [sum(counts[start : start + width]) for start in range(0, len(counts), width)]
    highest = max(grouped, default=0) or 1
    return "".join(BLOCKS[-(-count * (len(BLOCKS) - 1) // highest)] for count in grouped)

"""The page `docs/tables.md`: the tables declared in `lake/tables/`, and the views and macros of `sql/analysts/`.

`python -m twotower_assets.lake.documentation > docs/tables.md` writes the page.
"""

from __future__ import annotations

from collections.abc import Iterator

from twotower_assets.lake.tables import (
    ANALYSTS,
    ARTIFACTS,
    FEATURES,
    RECIPES,
    REPORTS,
    SERVING,
    SOURCES,
    TRAINING,
    Column,
    Table,
)
from twotower_assets.lake.views import Help, macro_help

SECTIONS = {
    "Sources": SOURCES,
    "Features": FEATURES,
    "Training": TRAINING,
    "Serving": SERVING,
    "Reports": REPORTS,
    "Recipes": RECIPES,
    "Artifacts": (ARTIFACTS,),
    "Help": ANALYSTS,
}
INTRODUCTION = """\
# The tables of the lake

<!-- Written by `python -m twotower_assets.lake.documentation > docs/tables.md`. -->

Every table of the lake, as declared in `twotower_assets/lake/tables/`. The same declarations create the
tables, comment them in the lake, and give the Great Expectations suites and the columns that Dagster shows. The last
section has the [views and macros](#views-and-macros) for analysts; [analysts.md](analysts.md) shows examples.

What the platform expects of raw data is in [data-contract.md](data-contract.md).
"""


def markdown() -> str:
    """The page: a section per layer, a heading per table, a row per column."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    for title, tables in SECTIONS.items():
        yield f"## {title}\n"
        for table in tables:
            yield from _table(table)
    yield "## Views and macros\n"
    for help_ in macro_help():
        yield from _view(help_)


def _view(help_: Help) -> Iterator[str]:
    yield f"### `{help_.signature}`\n"
    yield f"{help_.description}\n"
    for heading, text in (("Arguments", help_.arguments), ("Gives", help_.gives), ("Refuses", help_.errors)):
        if text:
            yield f"{heading}: {text}\n"


def _table(table: Table) -> Iterator[str]:
    yield f"### `{table.name}`\n"
    yield table.description
    identified = f"Identified by {', '.join(f'`{name}`' for name in table.grain)}." if table.grain else ""
    replaced = "Partitioned by `day`." if table.daily else ""
    if facts := " ".join(fact for fact in (identified, replaced) if fact):
        yield f"\n{facts}"
    yield "\n| column | type | meaning | null | values | derived from |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for column in table.columns:
        cells = (
            f"`{column.name}`",
            f"`{column.type}`",
            column.description,
            "may be" if column.nullable else "never",
            _values(column),
            ", ".join(f"`{source}`" for source in column.derived_from),
        )
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
    yield ""


def _values(column: Column) -> str:
    if column.values:
        return ", ".join(f"`{value}`" for value in column.values)
    match column.minimum, column.maximum:
        case None, None:
            return ""
        case minimum, None:
            return f"≥ {minimum:g}"
        case None, maximum:
            return f"≤ {maximum:g}"
        case minimum, maximum:
            return f"{minimum:g} to {maximum:g}"


if __name__ == "__main__":
    print(markdown(), end="")

"""The page of tables in the documentation."""

from __future__ import annotations

from pathlib import Path

from twotower_assets.lake.documentation import markdown
from twotower_assets.lake.tables import TABLES

PAGE = Path(__file__).resolve().parents[2] / "docs" / "tables.md"


def test_the_page_says_what_the_declarations_say() -> None:
    assert PAGE.read_text(encoding="utf-8") == markdown(), (
        "run `python -m twotower_assets.lake.documentation > docs/tables.md`"
    )


def test_the_page_names_every_table_and_column() -> None:
    page = markdown()
    for table in TABLES.values():
        _, _, section = page.partition(f"### `{table.name}`\n")
        section = section.partition("\n#")[0]
        assert table.description in section
        for column in table.columns:
            assert f"| `{column.name}` | `{column.type}` |" in section, f"{table.name}.{column.name}"

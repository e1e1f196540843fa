"""The page that says where an idea is names what is there."""

from __future__ import annotations

import ast
import re

import pytest

from documentation.blocks import PROJECT

PAGE = (PROJECT / "docs" / "where.md").read_text(encoding="utf-8")
IDEAS = re.findall(r"^\| ([^|`]+) \| `([^`]+)` \| `([^`]+)` \|$", PAGE, flags=re.MULTILINE)


def defined_in(file: str) -> set[str]:
    """The functions and classes of a file, with the methods of these."""
    names = set()
    for node in ast.parse((PROJECT / "twotower_assets" / file).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{one.name}" for one in node.body if isinstance(one, ast.FunctionDef)}
    return names


def test_there_are_eleven_ideas() -> None:
    assert len({idea for idea, _, _ in IDEAS}) == len(IDEAS) == 11


@pytest.mark.parametrize(("idea", "file", "name"), IDEAS)
def test_an_idea_is_where_the_page_says(idea: str, file: str, name: str) -> None:
    assert name in defined_in(file), idea

"""The walks through the code name files that are there, each once."""

from __future__ import annotations

import re

import pytest

from documentation.blocks import PROJECT

PAGE = (PROJECT / "docs" / "walkthrough.md").read_text(encoding="utf-8")
WALKS = {
    title: re.findall(r"^\d+\. `([^`]+)`:", text, flags=re.MULTILINE)
    for title, text in re.findall(r"^## (.+)\n((?:(?!^## ).*\n)*)", PAGE, flags=re.MULTILINE)
}


def test_there_are_three_walks() -> None:
    assert len(WALKS) == 3
    assert all(len(files) > 8 for files in WALKS.values())


@pytest.mark.parametrize("title", WALKS)
def test_a_walk_names_files_that_are_there_and_none_twice(title: str) -> None:
    files = WALKS[title]
    assert [file for file in files if not (PROJECT / file).is_file()] == []
    assert len(set(files)) == len(files)

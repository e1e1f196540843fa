"""Every block of the README and of `docs/` is run, and prints what stands there."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from documentation.blocks import PAGES, PROJECT, SHELL, Block, BlockError, blocks_of
from documentation.reading import Reading, load_yaml

FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)


def readable(page: Path) -> list[Block]:
    """The blocks of a page, or none where one of them is wrong, of which a test below tells."""
    try:
        return blocks_of(page)
    except BlockError:
        return []


BLOCKS = [block for page in PAGES for block in readable(page)]


def chosen(*languages: str) -> list[object]:
    return [pytest.param(block, id=block.name) for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("block", chosen(*SHELL, "sql", "python", "text"))
def test_a_block_does_what_the_page_shows(block: Block, reading: Callable[[Path], Reading]) -> None:
    if "no-test" in block.directives:
        pytest.skip(block.directives["no-test"])
    wrong = reading(block.page).outcome(block)
    assert wrong is None, f"{block.name}\n{wrong}"


@pytest.mark.parametrize("block", chosen("yaml"))
def test_a_block_of_yaml_is_read_by_the_platform(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for other in BLOCKS:
        if other.page == block.page and other.directives.get("file", "").endswith(".py"):
            (tmp_path / Path(other.directives["file"]).name).write_text(other.text, encoding="utf-8")
    load_yaml(block.text, tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_of_a_page_is_overlooked(page: Path) -> None:
    fences = FENCE.findall(page.read_text(encoding="utf-8"))
    assert len(fences) == 2 * len(blocks_of(page))


@pytest.mark.parametrize("block", chosen("text", ""))
def test_what_is_run_by_nothing_holds_no_command(block: Block) -> None:
    assert not re.search(r"^(\$ |lake> |>>> )", block.text, re.MULTILINE)


def test_pages_are_found() -> None:
    assert {"README.md", "assets.md", "tables.md"} <= {page.name for page in PAGES}
    assert PROJECT / "docs" / "architecture.md" in PAGES


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("```bahs\n$ true\n```\n", "'bahs'"),
        ("    $ twotower doctor\n", "indented"),
        ("<!-- no-test: make -->\n```console\n$ make\n```\n", "a reason"),
        ("<!-- no-test: slow, because it takes long -->\n```console\n$ true\n```\n", "no-test takes one of"),
        ("<!-- no-test -->\n```console\n$ true\n```\n", "means nothing"),
        ("<!-- skip: server, opens a window and waits -->\n```console\n$ true\n```\n", "means nothing"),
        ("<!-- needs: kuairand -->\nSome words.\n", "above no block"),
    ],
)
def test_a_block_that_no_test_would_run_is_refused(text: str, said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(BlockError, match=said):
        blocks_of(page)

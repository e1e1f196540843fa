"""The fenced blocks of the pages of the documentation, and what is said about them in HTML comments.

A comment directly above a block, which readers do not see, says how it is to be tested:

- `<!-- no-test: make, … -->`: it is not run; the first word is one of `UNTESTED`, the rest says why;
- `<!-- needs: kuairand -->`: it is skipped where that data set is not at hand;
- `<!-- quick: --set epochs=1 -->`: these are added to its commands that train, so that they end soon;
- `<!-- as in: docs/recipes.md -->`: its commands stand on that page too, and are run there;
- `<!-- file: ~/shop/items.sql -->`: its text is written to that file, which later blocks read;
- `<!-- part of: ~/shop/items.sql -->`: its lines stand in that file;
- `<!-- output of: twotower demo -->`: it is what that command prints;
- `<!-- tolerance: list -->`: it shows what a model ranks, which another processor changes a little; see `outputs.py`.

Running them is in `reading.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from markdown_it import MarkdownIt

PROJECT = Path(__file__).resolve().parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").glob("*.md"))]
SHELL = ("console", "bash", "sh", "shell")
LANGUAGES = (*SHELL, "sql", "python", "yaml", "text", "")
DIRECTIVES = ("no-test", "needs", "quick", "as in", "file", "part of", "output of", "tolerance")
UNTESTED = ("clone", "install", "make", "server", "minutes")
_COMMENT = re.compile(r"<!--\s*([a-z -]+?)\s*:\s*(.*?)\s*-->", re.DOTALL)


class BlockError(ValueError):
    """A page has a block that no test would run, or a comment above a block that means nothing."""


@dataclass(frozen=True)
class Block:
    """One fenced block: where it stands (`line`, of its opening fence), its language, text, and directives.

    `follows` is the block above it where nothing stands between the two.
    """

    page: Path
    line: int
    language: str
    text: str
    directives: dict[str, str] = field(default_factory=dict)
    follows: Block | None = None

    @property
    def name(self) -> str:
        """Such as `docs/assets.md:130`."""
        return f"{self.page.relative_to(PROJECT) if self.page.is_relative_to(PROJECT) else self.page.name}:{self.line}"

    @property
    def output(self) -> bool:
        """Whether it is what the block above it, of SQL or Python, prints."""
        return self.language == "text" and self.follows is not None and self.follows.language in ("sql", "python")


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page, in their order. Raises `BlockError` for one whose language or comment is not known."""
    return list(_blocks(page, page.read_text(encoding="utf-8")))


def _blocks(page: Path, text: str) -> Iterator[Block]:
    above: list[str] = []
    before: Block | None = None
    for token in MarkdownIt().enable("table").parse(text):
        line = token.map[0] + 1 if token.map else 0
        if token.type == "html_block" and token.content.lstrip().startswith("<!--"):
            above.append(token.content)
        elif token.type == "code_block":
            raise BlockError(f"{page.name}:{line}: an indented block; blocks are fenced by ```")
        elif token.type == "fence":
            language = token.info.strip()
            if language not in LANGUAGES:
                raise BlockError(
                    f"{page.name}:{line}: a block of '{language}', which no test runs; known: {', '.join(LANGUAGES)}"
                )
            before = Block(page, line, language, token.content, _directives(page, line, above), before)
            above = []
            yield before
        elif not token.hidden and token.nesting <= 0:  # what closes a list around a block says nothing itself
            if any(name in DIRECTIVES for comment in above for name, _ in _COMMENT.findall(comment)):
                raise BlockError(f"{page.name}: {''.join(above).strip()} stands above no block")
            before, above = None, []


def _directives(page: Path, line: int, comments: list[str]) -> dict[str, str]:
    directives: dict[str, str] = {}
    for comment in comments:
        found = {name: " ".join(value.split()) for name, value in _COMMENT.findall(comment)}
        if not found or not all(name in DIRECTIVES and value for name, value in found.items()):
            raise BlockError(
                f"{page.name}:{line}: {comment.strip()} above a block means nothing to the tests; they know "
                f"<!-- NAME: VALUE --> with the names {', '.join(DIRECTIVES)}"
            )
        directives |= found
    reason = directives.get("no-test")
    if reason is not None and not re.match(rf"({'|'.join(UNTESTED)}), .{{10,}}", reason):
        raise BlockError(
            f"{page.name}:{line}: no-test takes one of {', '.join(UNTESTED)}, a comma, and a reason; found: {reason}"
        )
    return directives

"""Every link and image of the README and of `docs/` that stays in the project leads somewhere, anchors too."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from documentation.blocks import PAGES, PROJECT

_IN_HTML = re.compile(r"""(?:src|href|srcset)=["']([^"'\s]+)""")
_ANCHOR = re.compile(r"""\b(?:id|name)=["']([^"']+)""")


def tokens(page: Path) -> Iterator[Token]:
    for token in MarkdownIt().enable("table").parse(page.read_text(encoding="utf-8")):
        yield token
        yield from token.children or []


def links(page: Path) -> list[str]:
    """The targets of all links and images, in Markdown or HTML."""
    found: list[str] = []
    for token in tokens(page):
        if token.type in ("html_block", "html_inline"):
            found += _IN_HTML.findall(token.content)
        elif token.type in ("link_open", "image"):
            found.append(str(token.attrGet("href") or token.attrGet("src")))
    return found


def anchors(page: Path) -> set[str]:
    """The names that a page can be entered by: its headings as GitHub names them, and what HTML names."""
    names: set[str] = set()
    inside = False
    for token in tokens(page):
        if token.type in ("heading_open", "heading_close"):
            inside = token.type == "heading_open"
        elif inside and token.type == "inline":
            text = "".join(child.content for child in token.children or [])
            name = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
            again = sum(one == name or re.fullmatch(rf"{re.escape(name)}-\d+", one) is not None for one in names)
            names.add(f"{name}-{again}" if again else name)
        elif token.type in ("html_block", "html_inline"):
            names.update(_ANCHOR.findall(token.content))
    return names


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere in the project; those to other places are not looked at."""
    wrong = []
    for link in links(page):
        address = urlsplit(link)
        if address.scheme or address.netloc:
            continue
        target = (page.parent / unquote(address.path)).resolve() if address.path else page
        outside = not (target.is_relative_to(PROJECT) or target.is_relative_to(page.parent))
        missing_anchor = (
            address.fragment
            and target.suffix == ".md"
            and target.is_file()
            and unquote(address.fragment) not in anchors(target)
        )
        if outside or not target.exists() or missing_anchor:
            wrong.append(link)
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_images_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_the_readme_links_every_page() -> None:
    linked = {(PROJECT / urlsplit(link).path).resolve() for link in links(PROJECT / "README.md")}
    assert sorted(page.name for page in PAGES[1:] if page not in linked) == []


def test_a_link_that_leads_nowhere_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "# One, two: `three`\n\n## Twice\n\n## Twice\n\n"
        "[a](#one-two-three) [b](#twice-1) [c](#thrice) [d](page.md#twice)\n"
        "[e](gone.md) ![f](gone.png) [g](https://example.org/x)\n\n<img src='lost.png' alt=''>\n",
        encoding="utf-8",
    )
    assert broken(page) == ["#thrice", "gone.md", "gone.png", "lost.png"]

"""The page as people meet it: by axe-core's rules, on a telephone, by keyboard, without motion, on paper."""

import itertools
from importlib.util import find_spec
from pathlib import Path

import pytest
from browser import chromium

from twotower_assets.reporting.report import render_report

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# Where text stands on the shade that says "scroll", axe gives up; the colours below and above it are the page's.
UNSHADED = ".scroll { background: none !important; }"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def address(example, tmp_path_factory):
    file = tmp_path_factory.mktemp("report") / "report.html"
    data = example.report_data(trained_weight_is_known=False, categories=example.many_categories(40))
    file.write_text(render_report(data), encoding="utf-8")
    return file.as_uri()


@pytest.fixture
def opened(browser, address):
    contexts = []

    def open_page(size=DESKTOP, **options):
        contexts.append(browser.new_context(viewport=size, bypass_csp=True, **options))
        page = contexts[-1].new_page()
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_no_violation(opened, size, scheme):
    found = axe(opened(size, color_scheme=scheme))
    told = [f"{one['id']}: {node['html'][:200]}" for one in found["violations"] for node in one["nodes"]]
    assert not told
    assert {one["id"] for one in found["incomplete"]} <= {"color-contrast"}
    assert "color-contrast" in {one["id"] for one in found["passes"]}


def test_axe_finds_text_that_is_too_faint(opened):
    page = opened()
    page.add_style_tag(content=":root { --soft: #b5b5b5; }")
    assert "color-contrast" in {one["id"] for one in axe(page)["violations"]}


def axe(page):
    if find_spec("axe_playwright_python") is None:
        pytest.skip("the check by axe-core needs axe-playwright-python: pip install -e '.[dev]'")
    import axe_playwright_python

    page.add_style_tag(content=UNSHADED)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    return page.evaluate("rules => axe.run({runOnly: {type: 'tag', values: rules}})", RULES)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_never_scrolls_sideways(opened, size):
    page = opened(size)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_the_tables_of_models_fit_a_telephone(opened):
    page = opened(PHONE)
    widths = page.evaluate(
        "['comparison', 'recall_by_bucket', 'predecessor'].map(name => {"
        " const box = document.querySelector(`.${name} .scroll`); box.closest('details')?.setAttribute('open', '');"
        " return box.scrollWidth - box.clientWidth; })"
    )
    assert widths == [0, 0, 0]


def test_text_in_charts_stays_legible_on_a_telephone(opened):
    smallest = opened(PHONE).evaluate(
        "Math.min(...[...document.querySelectorAll('.chart svg text')].map(text =>"
        " parseFloat(getComputedStyle(text).fontSize) * Math.hypot(text.getScreenCTM().a, text.getScreenCTM().b)))"
    )
    assert smallest >= 8.5


def test_the_first_tab_stop_skips_to_the_summary_and_focus_is_seen(opened):
    page = opened()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.getAttribute('href')") == "#summary"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_headings_descend_without_a_gap(opened):
    levels = opened().evaluate(
        "[...document.querySelectorAll('h1, h2, h3, h4')].map(heading => Number(heading.tagName[1]))"
    )
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


@pytest.mark.parametrize(("motion", "expected"), [("reduce", "auto"), ("no-preference", "smooth")])
def test_scrolling_moves_only_for_those_who_did_not_ask_for_less(opened, motion, expected):
    page = opened(reduced_motion=motion)
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == expected


def test_paper_holds_what_is_folded_on_the_screen_and_cuts_nothing_off(opened):
    page = opened({"width": 690, "height": 980}, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    hidden = (
        "[...document.querySelectorAll('details > :not(summary)')].filter(one => !one.getClientRects().length).length"
    )
    assert page.evaluate(hidden) == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth + 1)"
        ".map(box => box.getAttribute('aria-labelledby'))"
    )
    assert cut == []

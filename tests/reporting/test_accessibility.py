"""The accessibility of the page: axe-core's rules, phones, keyboard, reduced motion, print."""

import itertools
from importlib.util import find_spec
from pathlib import Path

import pytest
from browser import chromium

from twotower_assets.reporting.report import render_report

DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
# axe cannot measure contrast on the gradient that marks scrollable tables; its colours are the page's anyway.
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
    violations = [f"{rule['id']}: {node['html'][:200]}" for rule in found["violations"] for node in rule["nodes"]]
    assert not violations
    assert {rule["id"] for rule in found["incomplete"]} <= {"color-contrast"}
    assert "color-contrast" in {rule["id"] for rule in found["passes"]}


def test_axe_finds_text_that_is_too_faint(opened):
    page = opened()
    page.add_style_tag(content=":root { --soft: #b5b5b5; }")
    assert "color-contrast" in {rule["id"] for rule in axe(page)["violations"]}


def axe(page):
    if find_spec("axe_playwright_python") is None:
        pytest.skip("the check by axe-core needs axe-playwright-python: pip install -e '.[dev]'")
    import axe_playwright_python

    page.add_style_tag(content=UNSHADED)
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    return page.evaluate(
        "rules => axe.run({runOnly: {type: 'tag', values: rules}, resultTypes: ['violations', 'incomplete']})", RULES
    )


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_page_never_scrolls_sideways(opened, size):
    page = opened(size)
    page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_the_tables_of_models_fit_a_phone(opened):
    page = opened(PHONE)
    widths = page.evaluate(
        "['comparison', 'recall_by_bucket', 'predecessor'].map(name => {"
        " const box = document.querySelector(`.${name} .scroll`); box.closest('details')?.setAttribute('open', '');"
        " return box.scrollWidth - box.clientWidth; })"
    )
    assert widths == [0, 0, 0]


def test_text_in_charts_stays_legible_on_a_phone(opened):
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
def test_scrolling_is_smooth_unless_reduced_motion_is_preferred(opened, motion, expected):
    page = opened(reduced_motion=motion)
    assert page.evaluate("getComputedStyle(document.documentElement).scrollBehavior") == expected


def test_print_shows_folded_content_and_cuts_nothing_off(opened):
    page = opened({"width": 690, "height": 980}, color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    hidden = (
        "[...document.querySelectorAll('details > :not(summary)')]"
        ".filter(element => !element.getClientRects().length).length"
    )
    assert page.evaluate(hidden) == 0
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    cut = page.evaluate(
        "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth + 1)"
        ".map(box => box.getAttribute('aria-labelledby'))"
    )
    assert cut == []

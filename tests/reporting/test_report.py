"""The report is one self-contained file, and stays valid when some of its data are missing."""

import datetime as dt
import re
from html.parser import HTMLParser

import polars as pl
import pytest

from twotower_assets.reporting import report_tables as tables
from twotower_assets.reporting import terms
from twotower_assets.reporting.report import (
    LineageEntry,
    RecommendedItem,
    ReportData,
    SampleUser,
    draw_charts,
    render_report,
)

VOID = {"meta", "link", "br", "hr", "img", "input"}
FETCHING = {"src", "srcset", "data", "poster", "action", "xlink:href", "background"}
TABLES = (
    "metrics",
    "exposure",
    "lorenz",
    "categories",
    "popularity_diagnostics",
    "differences",
    "curves",
    "index_quality",
)


@pytest.fixture(scope="module")
def rendered(example):
    """The page with the charts of the example, whatever its data: drawing takes longer than all else."""
    drawn = draw_charts(example.report_data())
    return lambda data: render_report(data, drawn)


class Page(HTMLParser):
    """The elements of a page that the tests check; fails on tags that do not close in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.ids, self.words, self.open = [], [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes.extend((tag, name, value or "") for name, value in attributes)
        self.ids.extend(value for name, value in attributes if name == "id")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if not {"style", "svg"} & set(self.open):
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def html(example, rendered):
    return rendered(example.report_data())


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def bare(**changes):
    fields = {"title": "t", "dataset": "d", "as_of": dt.date(2026, 1, 2), "model_version": "v"}
    return ReportData(**{**fields, "served_popularity_weight": 1.0, **changes})


def test_the_page_fetches_nothing_and_runs_nothing(html, page):
    assert "script" not in page.tags
    assert "link" not in page.tags
    for tag, name, value in page.attributes:
        assert name not in FETCHING
        assert not name.startswith("on")
        if name == "href":
            assert tag == "a"
            assert value.startswith("#")
    assert not re.search(r"@import|url\(\s*['\"]?(?!#)", html)
    assert len(html.encode()) < 3_000_000


def test_every_link_leads_to_a_part_of_the_page_and_no_id_repeats(page):
    links = {value[1:] for _, name, value in page.attributes if name == "href"}
    named = {value for _, name, value in page.attributes if name in {"aria-labelledby"}}
    assert links | named <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_the_page_says_its_language_and_describes_pictures_and_tables(page):
    assert ("html", "lang", "en") in page.attributes
    assert page.tags.count("svg") == 9
    assert len([name for tag, name, _ in page.attributes if tag == "svg" and name == "aria-label"]) == 9
    assert page.tags.count("th") == len([name for tag, name, _ in page.attributes if (tag, name) == ("th", "scope")])


def test_the_summary_comes_first_and_lineage_last(page):
    sections = [value for tag, name, value in page.attributes if (tag, name) == ("section", "id")]
    assert sections[0] == "summary"
    assert sections[-1] == "lineage"


def test_the_summary_is_about_the_served_weight(example, rendered):
    tables = {"metrics": example.metrics(), "popularity_diagnostics": example.diagnostics()}
    served = Page(rendered(bare(**tables, served_popularity_weight=0.0))).text
    assert "finds 17 % of a user's held-out clicks in its top 20" in served
    assert "δ = +1.06" in served


def test_the_page_names_the_recipe_and_its_trained_weight(example, page, rendered):
    assert "Trained weight γ₀ = 1 Served weight" in page.text
    assert "Warning." not in page.text
    assert "Recipe" not in page.text.split("Summary")[0]
    text = Page(rendered(example.report_data(recipe="in_batch", trained_popularity_weight=0.0))).text
    assert "Recipe in_batch Trained weight γ₀ = 0 Served weight" in text


def test_an_unknown_trained_weight_has_a_warning_at_the_top(example, rendered):
    data = example.report_data(recipe="hard_mined", trained_weight_is_known=False, served_popularity_weight=0.0)
    text = Page(rendered(data)).text
    assert "Trained weight γ₀ unknown, assumed to be 1" in text
    top = text.split("Purpose and limits")[0]
    assert "Warning. This recipe's γ₀ is unknown" in top
    assert "Warning. At the served γ = 0, δ = +1.06 [0.99, 1.13]: lowering γ removes" in top


@pytest.mark.parametrize("name", ["metrics", "exposure", "popularity_diagnostics"])
def test_a_table_that_the_summary_uses_may_be_empty(example, name):
    page = Page(render_report(example.report_data(**{name: pl.DataFrame()})))
    assert not re.search(r"\b(nan|None|null|inf)\b", page.text, re.IGNORECASE)


@pytest.mark.parametrize("name", TABLES)
def test_one_table_alone_is_shown_alone(example, name):
    others = {other: getattr(example.report_data(), other).clear() for other in TABLES if other != name}
    page = Page(render_report(example.report_data(**others)))
    assert page.tags.count("svg") == (2 if name == "metrics" else 1)
    assert not re.search(r"\b(nan|None|null|inf)\b", page.text, re.IGNORECASE)


def test_nothing_measured_still_gives_a_page():
    page = Page(render_report(bare()))
    assert "Nothing was measured for this version." in page.text
    assert "svg" not in page.tags


def test_numbers_that_are_null_or_not_finite_never_show_as_words(example):
    def spoiled(frame, value):
        return frame.with_columns(
            pl.lit(value, pl.Float64).alias(column)
            for column, dtype in frame.schema.items()
            if dtype == pl.Float64 and column != "popularity_weight"
        )

    for value in (None, float("nan"), float("inf")):
        data = example.report_data()
        tables = {name: spoiled(getattr(data, name), value) for name in TABLES}
        counts = {"users": 3, "days": value}
        html = render_report(example.report_data(**tables, counts=counts))
        assert not re.search(r"\b(nan|none measured|null|inf|infinity)\b|\bNone\b", Page(html).text, re.IGNORECASE)
        assert "NaN" not in html


def test_missing_intervals_leave_the_numbers(example, rendered):
    metrics = example.metrics().with_columns(low=None, high=None)
    text = Page(rendered(bare(metrics=metrics))).text
    assert "0.242" in text
    assert "0.229" not in text


def test_without_ease_and_without_cold_items_neither_is_named_in_tables(example, rendered):
    metrics = example.metrics().filter((pl.col("model") != "ease") & (pl.col("bucket") != "cold"))
    exposure = example.exposure().filter((pl.col("model") != "ease") & (pl.col("bucket") != "cold"))
    lorenz = example.lorenz().filter(pl.col("model") != "ease")
    data = example.report_data(metrics=metrics, exposure=exposure, lorenz=lorenz)
    html = rendered(data)
    assert '<th scope="row">EASE' not in html
    assert '<th scope="col">Cold' not in html
    assert "EASE" not in Page(html).text.split("Definitions")[0]


def test_one_user_with_no_history_and_untitled_items_can_be_shown(rendered):
    user = SampleUser("u-1", [], {0.0: [], 1.0: [RecommendedItem(7, None, "unheard_of")]})
    text = Page(rendered(bare(samples=[user]))).text
    assert "User u-1" in text
    assert "No click before the hold-out" in text
    assert "7 unheard of" in text


def test_text_from_the_data_is_escaped_wherever_it_shows(example):
    wild = "<script>alert('x')</script><img src=http://example.org/x onerror=y> & \x00\x1b"
    item = RecommendedItem(wild, wild, wild)
    categories = example.categories().with_columns(category=pl.lit(wild))
    html = render_report(
        example.report_data(
            title=wild,
            dataset=wild,
            model_version=wild,
            recipe=wild,
            hold_out=wild,
            data_notes=[wild],
            categories=categories,
            samples=[SampleUser(wild, [wild], {1.0: [item]})],
            lineage=[(wild, wild, None, wild)],
            counts={wild: 3},
            metrics=example.metrics().with_columns(model=pl.lit(wild)),
            exposure=example.exposure().with_columns(model=pl.lit(wild)),
            lorenz=example.lorenz().with_columns(model=pl.lit(wild)),
        )
    )
    page = Page(html)
    assert "script" not in page.tags
    assert "img" not in page.tags
    assert "\x00" not in html
    assert "\x1b" not in html
    assert html.count("&lt;script&gt;") > 10


def test_a_table_without_a_column_is_refused_when_the_data_is_made(example):
    with pytest.raises(ValueError, match="'metrics' lacks 'value'"):
        example.report_data(metrics=example.metrics().drop("value"))


def test_more_categories_than_the_chart_holds_are_listed(rendered):
    many = pl.DataFrame({"category": [f"c{n}" for n in range(200)], "items": 5, "items_recommended": 2})
    text = Page(rendered(bare(categories=many))).text
    assert "The 60 largest of 200 categories." in text


def test_charts_that_are_drawn_already_are_used_unchanged(example):
    data = example.report_data()
    drawn = draw_charts(data)
    assert render_report(data, drawn) == render_report(data)
    other = "<svg role='img' aria-label='another'></svg>"
    page = render_report(data, {**drawn, "lorenz_curve": other})
    assert other in page
    assert drawn["lorenz_curve"] not in page


PLAIN = {
    "Metric", "Category", "Items", "Users", "k", "Measure", "Value", "Epochs", "Setting", "Default", "Meaning",
    "Name", "Version", "Detail", "Two-tower", "This version", "Served before",
}  # fmt: skip
"""Heads that need no definition."""


def test_every_head_of_a_table_is_plain_or_leads_to_a_definition_with_a_formula(example, page):
    data = example.report_data()
    metrics = [
        tables.comparison(data),
        tables.popularity(data),
        tables.against_baselines(data),
        tables.predecessor(data),
        tables.recall_by_bucket(data),
        tables.exposure(data),
        tables.training(data),
    ]
    others = [
        tables.predecessor_categories(data),
        tables.categories(data.categories),
        tables.weights(data),
        tables.diagnostics(data),
        tables.index(data),
        tables.settings(data, changed=True),
        tables.lineage(data),
    ]
    heads = {head for table in (*metrics, *others) for head in table.heads}
    heads |= {head for table in metrics for head, _ in table.rows}
    assert {head for head in heads if not terms.term_of(head)} == PLAIN
    assert {terms.term_of(head) for head in heads} - {""} <= set(page.ids)


def test_every_metric_that_is_measured_has_a_definition(page):
    defined = page.text.split("Definitions")[-1]
    for name in (
        "Recall@k", "NDCG@k", "MRR, hit rate", "Coverage@k", "Gini", "Mean popularity of lists", "Popularity lift",
        "APLT", "Novelty", "Calibration (JSD)", "PMI", "Popularity weight γ", "Missing popularity δ",
        "Slope on log q", "Correlation with PMI", "Head, mid, tail, cold", "Beyond the head", "Difference, point",
    ):  # fmt: skip
        assert name in defined


def test_the_reasons_for_an_item_and_whether_it_was_clicked_are_beside_it(rendered):
    item = RecommendedItem(7, "Ran (1985)", "tail", ["Throne of Blood", "Kagemusha"], hit=True)
    other = RecommendedItem(8, "Big Night (1996)", "mid")
    user = SampleUser("u-1", ["Rashomon"], {1.0: [item, other]}, chosen_as="the fewest clicks", clicks=1234)
    text = Page(rendered(bare(samples=[user], samples_rule="The user with the fewest clicks."))).text
    assert "User u-1 : the fewest clicks" in text
    assert "Last 1 of 1,234 clicks" in text
    assert "The user with the fewest clicks." in text
    assert "Ran (1985) ✓ clicked later like Throne of Blood ; Kagemusha tail" in text
    assert "Big Night (1996) mid" in text


def test_a_predecessor_that_cannot_be_compared_is_reported_with_the_reason(example, rendered):
    data = example.report_data(differences=pl.DataFrame(), predecessor_note="it was trained on <these> clicks.")
    page = Page(rendered(data))
    assert "the version served before: it was trained on <these> clicks." in page.text
    assert "Recall compared with the predecessor" not in page.text


def test_a_large_catalogue_with_hostile_titles_still_gives_a_small_page(example):
    items, long = 200_000, "A title of many words, " * 40
    titles = [
        long,
        "<script>alert(1)</script>",
        "שלום עולם – سلام دنیا",
        None,
        "\x00\x1b[31m",
        "</li></ol>",
        "&lt;b&gt;",
        "",
    ]
    listed = [
        RecommendedItem(
            index, title, ("head", "mid", "tail", "cold")[index % 4], [title or "–", long], hit=index % 3 == 0
        )
        for index, title in enumerate(titles)
    ]
    users = [
        SampleUser(
            f"{long}{n}", [title or "" for title in titles], {0.0: listed, 0.5: listed, 1.0: listed}, long, items
        )
        for n in range(6)
    ]
    lorenz = pl.concat(
        pl.DataFrame({"item_share": pl.int_range(items, eager=True) / (items - 1)}).with_columns(
            exposure_share=pl.col("item_share") ** power, model=pl.lit(model)
        )
        for model, power in (("two_tower", 6.0), ("most_popular", 60.0), ("ease", 9.0))
    )
    categories = pl.DataFrame(
        {
            "category": [f"{titles[n % len(titles)]} {n}" for n in range(299)] + [None],
            "items": 600,
            "items_recommended": 100,
            "exposure_share": 1 / 300,
            "click_share": 1 / 300,
        }
    )
    html = render_report(
        example.report_data(
            samples=users,
            lorenz=lorenz,
            categories=categories,
            curves=example.curves(10_000),
            counts={"items": items},
            lineage=[LineageEntry(long, long, 1, long)] * 20,
        )
    )
    assert len(html.encode()) < 3_000_000
    page = Page(html)
    assert "script" not in page.tags
    assert "b" not in page.tags
    assert ("li", "dir", "auto") in page.attributes
    assert "The next categories" in page.text
    assert "The 60 largest of 300 categories." in page.text

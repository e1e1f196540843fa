"""Every chart is a small picture that any viewer can draw, whatever is missing from its table."""

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import polars as pl
import pytest

from twotower_assets.reporting import charts, frames, theme

MOST_BYTES = 15_000
DRAWN_FROM = {
    "loss_curve": "curves",
    "recall_by_bucket": "metrics",
    "lorenz_curve": "lorenz",
    "exposure_share": "exposure",
    "popularity_tradeoff": "metrics",
    "popularity_delta": "diagnostics",
    "index_quality": "index_quality",
    "category_coverage": "categories",
}
EVERY_CHART = pytest.mark.parametrize("name", DRAWN_FROM)


def draw(name, frame):
    return getattr(charts, name)(frame)


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.text]


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@EVERY_CHART
def test_a_chart_is_small_transparent_xml_with_a_label_and_no_address(example, name):
    svg = draw(name, getattr(example, DRAWN_FROM[name])())
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert len(root.get("aria-label", "")) > 10
    assert len(svg) < MOST_BYTES
    assert not re.search(r'(href|src)="|url\(http', svg)
    assert not {"NaN", "nan", "null", "None", "undefined"} & set(texts(svg))
    assert "NaN" not in svg
    assert "white" not in svg, "a chart has no background of its own"


@EVERY_CHART
def test_an_empty_table_gives_a_line_that_says_why(name):
    svg = draw(name, pl.DataFrame())
    assert len(texts(svg)) == 1
    assert len(svg) < 600


@EVERY_CHART
def test_a_chart_of_one_row_can_be_drawn(example, name):
    frame = getattr(example, DRAWN_FROM[name])()
    ET.fromstring(draw(name, frame.head(1)))


@EVERY_CHART
def test_nulls_and_nans_in_every_number_can_be_drawn(example, name):
    frame = getattr(example, DRAWN_FROM[name])()
    numbers = [column for column, dtype in frame.schema.items() if dtype == pl.Float64]
    ET.fromstring(draw(name, frame.with_columns(pl.lit(None, pl.Float64).alias(c) for c in numbers)))
    svg = draw(name, frame.with_columns(pl.lit(float("nan")).alias(c) for c in numbers))
    assert "NaN" not in svg


@pytest.mark.parametrize("name", ["lorenz_curve", "index_quality"])
def test_the_same_table_gives_the_same_picture(example, name):
    frame = getattr(example, DRAWN_FROM[name])()
    assert draw(name, frame) == draw(name, frame)


@pytest.mark.parametrize("colour", [theme.INK, *theme.SERIES_COLOURS.values(), *theme.OTHER_COLOURS])
@pytest.mark.parametrize("background", ["#ffffff", "#15171a"])
def test_marks_stand_out_from_light_and_from_dark(colour, background):
    assert contrast(colour, background) >= 3


def test_buckets_are_drawn_in_order_and_only_those_there(example):
    metrics = example.metrics().filter(pl.col("bucket") != "cold")
    words = texts(charts.recall_by_bucket(metrics))
    found = [word for word in words if word in {"Head", "Mid", "Tail", "Cold", "Beyond the head"}]
    assert found == ["Head", "Mid", "Tail", "Beyond the head"]


def test_a_model_at_several_weights_becomes_several_series(example):
    words = texts(charts.recall_by_bucket(example.metrics()))
    assert {"Two-tower, γ = 0", "Two-tower, γ = ½", "Two-tower, γ = 1", "EASE"} <= set(words)


def test_other_cut_offs_are_left_out(example):
    assert texts(charts.recall_by_bucket(example.metrics(), k=5)) == ["Recall@5 was not measured per bucket."]


def test_missing_validation_leaves_the_loss_alone(example):
    words = texts(charts.loss_curve(example.curves().drop("validation_metric")))
    assert "Training loss" in words
    assert "Validation metric" not in words


def test_long_curves_are_thinned_to_the_same_end(example):
    svg = charts.lorenz_curve(example.lorenz(points=20_000))
    assert len(svg) < MOST_BYTES


def test_lists_without_any_place_give_a_line_that_says_so(example):
    svg = charts.exposure_share(example.exposure().with_columns(exposure_share=0.0))
    assert texts(svg) == ["Exposure per bucket was not measured."]


def test_only_the_largest_categories_are_drawn(example):
    words = texts(charts.category_coverage(example.categories()))
    assert "Drama" in words
    assert "Documentary" not in words


def test_titles_that_are_markup_or_not_xml_at_all_are_drawn_as_text():
    wild = ["</svg><script>alert(1)</script>", "nul \x00 and escape \x1b[0m", "   ", "é 中文 🎬", "\"&'"]
    rows = pl.DataFrame(
        {"category": wild, "items": 9, "items_recommended": 4, "exposure_share": 0.2, "click_share": 0.1}
    )
    svg = charts.category_coverage(rows)
    assert "<script" not in svg
    assert any("script" in word for word in texts(svg))


def test_shares_of_a_bucket_too_narrow_for_text_have_none(example):
    words = texts(charts.exposure_share(example.exposure().filter(pl.col("model") == "ease")))
    assert "74%" in words
    assert "5%" not in words


def test_a_missing_column_is_named_with_what_was_found():
    with pytest.raises(ValueError, match=r"'curves' lacks 'loss' \(it has: epoch\)"):
        charts.loss_curve(pl.DataFrame({"epoch": [1]}))


def test_a_column_of_the_wrong_type_is_refused_with_the_types_expected():
    with pytest.raises(ValueError, match="loss Float64"):
        frames.CURVES.conform(pl.DataFrame({"epoch": [1], "loss": ["much"]}))


@pytest.mark.parametrize(
    "values",
    [
        [],
        [None],
        [1.0],
        [2.0, 2.0, 2.0],
        [float("nan"), 1.0, None, 3.0],
        [-1e300, 1e300, 0.0],
        list(range(5000)),
    ],
)
def test_a_sparkline_shows_in_place_in_dagster(values):
    image = charts.as_markdown_image(charts.sparkline(values), "loss per epoch")
    ET.fromstring(charts.sparkline(values))
    assert len(image) < 700


def test_a_sparkline_rises_with_its_values():
    points = re.search(r'points="([^"]+)"', charts.sparkline([1.0, 2.0, 5.0]))
    heights = [int(point.split(",")[1]) for point in points[1].split()]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > heights[-1]


def test_a_markdown_image_holds_the_svg_and_keeps_its_brackets_whole():
    svg = charts.sparkline([1.0, 2.0])
    image = charts.as_markdown_image(svg, "recall [all]\nby \\ epoch")
    alt, uri = re.fullmatch(r"!\[([^\[\]\n]*)\]\(([^()\s]+)\)", image).groups()
    assert alt == "recall (all) by / epoch"
    assert uri == charts.svg_data_uri(svg)
    assert base64.b64decode(uri.partition(",")[2]).decode() == svg


def test_ids_of_two_charts_on_one_page_differ_and_stay_the_same_over_runs():
    import altair as alt

    def clipped(value):
        data = alt.Data(values=[{"x": value, "y": 1}, {"x": 3, "y": 2}])
        return theme.to_svg(alt.Chart(data).mark_line(clip=True).encode(x="x:Q", y="y:Q"), "a clipped line")

    one, again, other = clipped(1), clipped(1), clipped(2)
    assert one == again
    ids = [set(re.findall(r' id="([^"]+)"', svg)) for svg in (one, other)]
    assert ids[0]
    assert not ids[0] & ids[1]
    assert set(re.findall(r"url\(#([^)]+)\)", one)) == ids[0]


def test_drawing_libraries_are_loaded_by_the_first_chart_only():
    heavy = ("altair", "vl_convert", "jinja2", "dagster", "torch")
    program = f"import sys, twotower_assets.reporting.report; sys.exit(any(n in sys.modules for n in {heavy}))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

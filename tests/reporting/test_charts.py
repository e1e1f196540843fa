"""Every chart is a small valid SVG, whatever is missing from its table."""

import base64
import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import polars as pl
import pytest

from twotower_assets.reporting import charts, frames, markdown_images, theme, version_charts

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
    "paired_differences": "differences",
}
EVERY_CHART = pytest.mark.parametrize("name", DRAWN_FROM)


def draw(name, frame):
    if name == "paired_differences":
        return version_charts.paired_differences(frame, "predecessor")
    return getattr(charts, name)(frame)


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.text]


def luminance(colour):
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(colour, background):
    low, high = sorted((luminance(colour), luminance(background)))
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
def test_an_empty_table_gives_a_line_with_the_reason(name):
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


def metrics_at_weights(*points):
    """Metrics of models at several γ: model, weight, and value by metric name."""
    names = {"beyond": ("recall", "beyond_head"), "tail": ("recall", "tail")}
    rows = [
        (model, weight, *names.get(name, (name, "all")), value)
        for model, weight, values in points
        for name, value in values.items()
    ]
    columns = {"model": pl.String, "popularity_weight": pl.Float64, "metric": pl.String, "bucket": pl.String}
    return pl.DataFrame(rows, schema={**columns, "value": pl.Float64}, orient="row").with_columns(k=20)


def dots(svg, colour):
    """Positions of the filled marks of one colour, in the order drawn."""
    found = [e for e in ET.fromstring(svg).iter() if e.get("fill") == colour and "translate" in e.get("transform", "")]
    positions = [re.match(r"translate\(([-\d.]+),([-\d.]+)\)", e.get("transform")) for e in found if e.get("d")]
    return [(float(position[1]), float(position[2])) for position in positions]


def test_the_tradeoff_sets_recall_against_the_tail_coverage_and_gini_with_every_weight_written(example):
    weights = (0.0, 0.25, 0.5, 0.75, 1.0)
    metrics = metrics_at_weights(
        *(
            (
                "two_tower",
                w,
                {"recall": 0.1 + w / 10, "beyond": 0.2 - w / 10, "tail": 0.1 - w / 20, "coverage": 0.9 - w / 2},
            )
            for w in weights
        )
    )
    words = texts(charts.popularity_tradeoff(metrics))
    assert {"Recall@20, beyond the head", "Recall@20, tail", "Coverage@20"} <= set(words)
    assert not any("Gini" in word for word in words)
    for mark in ("¼", "½", "¾"):
        assert words.count(mark) == 3
    assert any("Gini@20" in word for word in texts(charts.popularity_tradeoff(example.metrics())))


def test_points_of_the_tradeoff_are_where_their_numbers_are():
    metrics = metrics_at_weights(
        ("two_tower", 0.0, {"recall": 0.1, "tail": 0.3}),
        ("two_tower", 0.5, {"recall": 0.2, "tail": 0.2}),
        ("two_tower", 1.0, {"recall": 0.3, "tail": 0.1}),
        ("ease", None, {"recall": 0.2, "tail": 0.1}),
        ("most_popular", None, {"recall": 0.2}),
    )
    svg = charts.popularity_tradeoff(metrics)
    (x0, y0), (x1, y1), (x2, y2), _ = dots(svg, theme.SERIES_COLOURS["two_tower"])  # the last is the legend's
    ease, _ = dots(svg, theme.SERIES_COLOURS["ease"])
    assert x0 > x1 > x2
    assert y0 > y1 > y2, "more recall is higher up, which is a smaller y"
    assert ease == pytest.approx((x2, y1))
    assert "Most popular" not in texts(svg)


def test_the_line_of_the_tradeoff_follows_the_weight_though_the_tail_turns():
    turning = ((0.0, 0.2, 0.2), (0.5, 0.3, 0.3), (1.0, 0.25, 0.1))
    svg = charts.popularity_tradeoff(
        metrics_at_weights(
            *(("two_tower", weight, {"recall": recall, "tail": tail}) for weight, recall, tail in turning)
        )
    )
    (line,) = [
        e.get("d")
        for e in ET.fromstring(svg).iter()
        if e.get("stroke") == theme.SERIES_COLOURS["two_tower"] and e.get("fill") is None and e.get("d")
    ]
    across = [float(x) for x in re.findall(r"[ML]([\d.]+),", line)]
    assert across[2] < across[0] < across[1]


def test_a_baseline_has_no_weight_beside_it():
    metrics = metrics_at_weights(
        ("two_tower", 0.5, {"recall": 0.2, "gini": 0.5}), ("ease", None, {"recall": 0.1, "gini": 0.7})
    )
    assert texts(charts.popularity_tradeoff(metrics)).count("½") == 1


def test_the_served_weight_has_a_ring_around_its_point(example):
    rings = [charts.popularity_tradeoff(example.metrics(), served=weight).count("<path") for weight in (None, 0.5, 0.7)]
    assert rings[1] == rings[0] + 4
    assert rings[2] == rings[0]


def test_a_difference_is_coloured_by_the_side_of_zero_that_its_interval_is_on(example):
    svg = version_charts.paired_differences(example.differences(), "predecessor")
    marks = re.findall(r'<path [^>]*fill="(#[0-9a-f]{6})"', svg)
    assert [marks.count(colour) for colour in (theme.SERIES_COLOURS["ease"], theme.SERIES_COLOURS["most_popular"])] == [
        3,
        2,
    ]
    assert [text for text in texts(svg) if text in {"All items", "Head", "Mid", "Tail", "Cold", "Beyond the head"}] == [
        "All items",
        "Head",
        "Mid",
        "Tail",
        "Cold",
        "Beyond the head",
    ]


def test_only_the_differences_from_the_named_other_are_drawn(example):
    assert "Recall was not compared." in version_charts.paired_differences(example.differences(), "nobody")


def test_baselines_alone_have_no_tradeoff():
    svg = charts.popularity_tradeoff(metrics_at_weights(("ease", None, {"recall": 0.2, "tail": 0.1})))
    assert texts(svg) == ["The popularity weight was not varied."]


def test_other_cut_offs_are_ignored(example):
    assert texts(charts.recall_by_bucket(example.metrics(), k=5)) == ["Recall@5 was not measured per bucket."]


def test_missing_validation_leaves_the_loss_alone(example):
    words = texts(charts.loss_curve(example.curves().drop("validation_metric")))
    assert "Training loss" in words
    assert "Validation metric" not in words


def test_long_curves_are_thinned_to_the_same_end(example):
    svg = charts.lorenz_curve(example.lorenz(points=20_000))
    assert len(svg) < MOST_BYTES


def test_empty_lists_give_a_line_with_the_reason(example):
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
    image = markdown_images.as_markdown_image(markdown_images.sparkline(values), "loss per epoch")
    ET.fromstring(markdown_images.sparkline(values))
    assert len(image) < 700


def test_a_sparkline_rises_with_its_values():
    points = re.search(r'points="([^"]+)"', markdown_images.sparkline([1.0, 2.0, 5.0]))
    heights = [int(point.split(",")[1]) for point in points[1].split()]
    assert heights == sorted(heights, reverse=True)
    assert heights[0] > heights[-1]


def test_a_markdown_image_holds_the_svg_and_keeps_its_brackets_whole():
    svg = markdown_images.sparkline([1.0, 2.0])
    image = markdown_images.as_markdown_image(svg, "recall [all]\nby \\ epoch")
    alt, uri = re.fullmatch(r"!\[([^\[\]\n]*)\]\(([^()\s]+)\)", image).groups()
    assert alt == "recall (all) by / epoch"
    assert uri == markdown_images.svg_data_uri(svg)
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

"""Charts of many recipes: every recipe is named once, is drawn where its numbers are, and none hides the others."""

import re
import xml.etree.ElementTree as ET

import polars as pl
import pytest

from twotower_assets.reporting import panels, recipe_charts, theme

MANY = [f"recipe_{number:02d}" for number in range(15)]
BLUE = theme.SERIES_COLOURS["two_tower"]
CHARTS = ("gains_over_baseline", "missing_popularity_by_recipe", "recipe_tradeoff")


def comparison(gains, baseline="base", bounded=True):
    """Rows of the comparison: per recipe its gain in recall@20 and beyond the head, ± 1 and ± 2."""
    rows = [
        (recipe, "recall", 20, bucket, baseline, 0.2, gain, None if gain is None else gain - spread,
         None if gain is None else gain + spread)
        for recipe, both in {**gains, baseline: (None, None)}.items()
        for bucket, gain, spread in zip(("all", "beyond_head"), both, (1.0, 2.0), strict=True)
    ]  # fmt: skip
    texts = dict.fromkeys(("recipe", "metric"), pl.String)
    numbers = dict.fromkeys(("value", "gain_percent", "gain_low", "gain_high"), pl.Float64)
    schema = {**texts, "k": pl.Int64, "bucket": pl.String, "baseline": pl.String, **numbers}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    return frame if bounded else frame.drop("gain_low", "gain_high")


def diagnostics(deltas, weights=(0.0, 0.5, 1.0), spread=0.1):
    """δ at γ = 1 per recipe, one number per seed; δ + 1 − γ at other γ."""
    rows = [
        (
            recipe,
            seed,
            weight,
            *(None if delta is None else delta + 1 - weight + shift for shift in (0, -spread, spread)),
        )
        for recipe, seeds in deltas.items()
        for seed, delta in enumerate(seeds)
        for weight in weights
    ]
    schema = {"recipe": pl.String, "seed": pl.Int64, "popularity_weight": pl.Float64}
    schema |= dict.fromkeys(("delta", "delta_low", "delta_high"), pl.Float64)
    return pl.DataFrame(rows, schema=schema, orient="row")


def metrics(points):
    """Rows of metrics from recipe, seed, γ, recall@20 and recall@20 beyond the head."""
    rows = [
        (recipe, seed, weight, "recall", 20, bucket, value)
        for recipe, seed, weight, *both in points
        for bucket, value in zip(("all", "beyond_head"), both, strict=True)
    ]
    schema = {"recipe": pl.String, "seed": pl.Int64, "popularity_weight": pl.Float64, "metric": pl.String}
    return pl.DataFrame(rows, schema={**schema, "k": pl.Int64, "bucket": pl.String, "value": pl.Float64}, orient="row")


def many(name):
    """A table of fifteen recipes for the chart."""
    if name == "gains_over_baseline":
        return comparison({recipe: (index - 7.5, 7 - index) for index, recipe in enumerate(MANY)})
    if name == "missing_popularity_by_recipe":
        return diagnostics({recipe: (index / 20,) for index, recipe in enumerate(MANY)})
    return metrics(
        (recipe, 0, weight, 0.2 + index / 1000 - (1 - weight) ** 2 / 20, 0.1 + (1 - weight) / 20)
        for index, recipe in enumerate(MANY)
        for weight in (0.0, 0.25, 0.5, 0.75, 1.0)
    )


def texts(svg):
    return [element.text for element in ET.fromstring(svg).iter() if element.text]


def label(svg):
    return ET.fromstring(svg).get("aria-label")


def positions(element, found, at=(0.0, 0.0)):
    """Every element with its position on the page."""
    moved = re.match(r"translate\(([-\d.]+),([-\d.]+)\)", element.get("transform", ""))
    at = (at[0] + float(moved[1]), at[1] + float(moved[2])) if moved else at
    found.append((element, at))
    for child in element:
        positions(child, found, at)
    return found


def marks(svg, *colours):
    """Positions of filled marks, from the left and from the top."""
    found = positions(ET.fromstring(svg), [])
    return [at for element, at in found if element.get("fill") in colours and element.tag.endswith("path")]


def lines(svg):
    """How many straight lines of the series' colour there are."""
    return sum(e.tag.endswith("line") and e.get("stroke") == BLUE for e in ET.fromstring(svg).iter())


@pytest.mark.parametrize("name", CHARTS)
def test_fifteen_recipes_are_each_named_once_and_no_two_names_overlap(name):
    svg = getattr(recipe_charts, name)(many(name))
    root = ET.fromstring(svg)
    where = [
        (at, element.get("text-anchor", "start")) for element, at in positions(root, []) if element.text in set(MANY)
    ]
    assert len(where) == 15
    width = max(len(recipe) for recipe in MANY) * 6.5
    for number, ((x, y), _) in enumerate(where):
        for (other_x, other_y), _ in where[number + 1 :]:
            assert abs(y - other_y) >= 14 or abs(x - other_x) >= width
    assert root.get("role") == "img"
    assert all(recipe in label(svg) for recipe in MANY)
    assert len(svg) < 60_000
    assert not {"NaN", "nan", "null", "None", "undefined"} & set(texts(svg))
    assert "NaN" not in svg
    assert "white" not in svg


@pytest.mark.parametrize("name", CHARTS)
def test_an_empty_table_gives_a_line_with_the_reason(name):
    assert len(texts(getattr(recipe_charts, name)(pl.DataFrame()))) == 1


@pytest.mark.parametrize("name", CHARTS)
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_numbers_that_are_missing_everywhere_give_a_line_with_the_reason(name, value):
    frame = many(name)
    numbers = [c for c, kind in frame.schema.items() if kind == pl.Float64 and c != "popularity_weight"]
    svg = getattr(recipe_charts, name)(frame.with_columns(pl.lit(value, pl.Float64).alias(c) for c in numbers))
    assert len(texts(svg)) == 1


@pytest.mark.parametrize("name", CHARTS)
def test_names_that_are_markup_are_drawn_as_text(name):
    frame = many(name).with_columns(pl.col("recipe").replace({"recipe_03": "</svg><script>\x00"}))
    svg = getattr(recipe_charts, name)(frame)
    assert "<script" not in svg
    assert "</svg><script>" in texts(svg)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match="'negative_sampling_comparison' lacks 'baseline'"):
        recipe_charts.gains_over_baseline(comparison({"a": (1.0, 1.0)}).drop("baseline"))


GAINS = {"worse": (-3.0, 4.0), "best": (5.0, -2.0), "middle": (1.0, 0.5)}


class TestGains:
    def test_recipes_are_sorted_by_their_gain_with_the_baseline_among_them(self):
        words = texts(recipe_charts.gains_over_baseline(comparison(GAINS)))
        rows = [word for word in words if word in {*GAINS, "base (baseline)"}]
        assert rows == ["best", "middle", "base (baseline)", "worse"]
        assert "Gain over base, in % of its value" in words

    def test_gains_are_labelled_with_their_sign_and_the_baseline_is_not(self):
        words = texts(recipe_charts.gains_over_baseline(comparison(GAINS)))
        assert {"+5.0", "−2.0", "+1.0", "+0.5", "−3.0", "+4.0"} <= set(words)
        assert "+0.0" not in words

    def test_dots_are_at_their_gain_the_baseline_at_zero(self):
        svg = recipe_charts.gains_over_baseline(comparison(GAINS))
        dots = sorted(marks(svg, BLUE))
        (baseline, _) = sorted(at for at in marks(svg, theme.INK))
        left, right = dots[:3], dots[3:]
        assert [y for _, y in left] == sorted((y for _, y in left), reverse=True), "worst lowest in recall@20"
        per_percent = (left[2][0] - left[0][0]) / 8
        assert left[1][0] - left[0][0] == pytest.approx(4 * per_percent)
        assert baseline[0] - left[0][0] == pytest.approx(3 * per_percent)
        assert right[0][1] < right[2][1], "a recipe that loses beyond the head is above, by its gain in recall@20"

    def test_an_interval_reaches_to_both_sides_of_its_dot(self):
        svg = recipe_charts.gains_over_baseline(comparison({"a": (4.0, 4.0)}))
        drawn = [(at[0], float(e.get("x2"))) for e, at in positions(ET.fromstring(svg), []) if e.get("stroke") == BLUE]
        for (start, length), (dot, _) in zip(sorted(drawn), sorted(marks(svg, BLUE)), strict=True):
            left, right = sorted((start, start + length))
            assert dot - left == pytest.approx(right - dot)
            assert dot - left > 5

    def test_one_recipe_far_off_does_not_squeeze_the_others(self):
        svg = recipe_charts.gains_over_baseline(comparison({**GAINS, "awful": (-90.0, -95.0)}))
        words = texts(svg)
        assert {"−90.0", "−95.0", "awful"} <= set(words)
        assert not {"−80", "−60", "−40"} & set(words), "no axis reaches down there"
        off = min(marks(svg, BLUE))
        others = [at for at in marks(svg, BLUE) if at != off]
        assert all(at[0] > off[0] for at in others)

    def test_other_metrics_cut_offs_and_buckets_are_ignored(self):
        frame = comparison(GAINS)
        other = frame.with_columns(k=pl.lit(100, pl.Int64), recipe=pl.lit("other_k"))
        ndcg = frame.with_columns(metric=pl.lit("ndcg"), recipe=pl.lit("other_metric"))
        tail = frame.with_columns(bucket=pl.lit("tail"), recipe=pl.lit("other_bucket"))
        assert recipe_charts.gains_over_baseline(pl.concat([frame, other, ndcg, tail])) == (
            recipe_charts.gains_over_baseline(frame)
        )

    def test_without_intervals_the_dots_are_drawn_and_no_lines(self):
        bare = recipe_charts.gains_over_baseline(comparison(GAINS, bounded=False))
        assert len(marks(bare, BLUE)) == 6
        assert lines(bare) == 0
        assert lines(recipe_charts.gains_over_baseline(comparison(GAINS))) == 6

    def test_without_anything_beyond_the_head_there_is_one_panel(self):
        frame = comparison(GAINS).filter(pl.col("bucket") == "all")
        words = texts(recipe_charts.gains_over_baseline(frame))
        assert "Recall@20" in words
        assert "Beyond the head" not in words


class TestMissingPopularity:
    def test_seeds_are_averaged_and_recipes_sorted_by_delta(self):
        svg = recipe_charts.missing_popularity_by_recipe(diagnostics({"low": (-0.3, -0.1), "high": (0.5, 0.7)}))
        assert label(svg).endswith("at γ = 1: high +0.60, low −0.20.".replace("−", "-"))
        words = texts(svg)
        assert words.index("high") < words.index("low")
        assert {"γ = 0", "γ = ½", "γ = 1"} <= set(words)
        assert len(marks(svg, BLUE)) == 2 + 1, "a dot per recipe, and one in the legend"

    def test_the_axis_names_both_directions(self):
        words = " ".join(texts(recipe_charts.missing_popularity_by_recipe(diagnostics({"a": (0.1,)}))))
        assert "← scores too high for popular items" in words
        assert "scores too low for popular items →" in words

    def test_other_weights_are_ignored(self):
        deltas = {"a": (0.1,), "b": (0.2,)}
        few = recipe_charts.missing_popularity_by_recipe(diagnostics(deltas))
        assert recipe_charts.missing_popularity_by_recipe(diagnostics(deltas, (0.0, 0.25, 0.5, 0.75, 1.0))) == few

    def test_a_recipe_whose_delta_is_not_determined_keeps_its_row(self):
        svg = recipe_charts.missing_popularity_by_recipe(diagnostics({"known": (0.1,), "unknown": (None,)}))
        words = texts(svg)
        assert "unknown" in words
        assert words.count("not determined by the clicks") == 1
        assert len(marks(svg, BLUE)) == 1 + 1

    def test_without_an_interval_no_line_is_drawn(self):
        frame = diagnostics({"a": (0.1,)}).drop("delta_low", "delta_high")
        assert lines(recipe_charts.missing_popularity_by_recipe(frame)) == 0
        assert lines(recipe_charts.missing_popularity_by_recipe(diagnostics({"a": (0.1,)}))) == 1


class TestTradeoff:
    def test_seeds_are_averaged_and_panels_sorted_by_the_best_recall(self):
        svg = recipe_charts.recipe_tradeoff(
            metrics([("low", 1, 1.0, 0.18, 0.1), ("high", 1, 1.0, 0.20, 0.1), ("high", 2, 1.0, 0.22, 0.1)])
        )
        assert label(svg).endswith("the best recall: high 0.210, low 0.180.")
        words = texts(svg)
        assert words.index("high") < words.index("low")

    def test_gamma_one_has_the_large_dot_and_less_popularity_is_lower_and_further_right(self):
        svg = recipe_charts.recipe_tradeoff(metrics([("a", 1, 1.0, 0.3, 0.1), ("a", 1, 0.0, 0.2, 0.2)]))
        dots = sorted(marks(svg, BLUE))
        assert dots[0][0] < dots[1][0]
        assert dots[0][1] < dots[1][1]
        drawn = {
            at: element.get("d") for element, at in positions(ET.fromstring(svg), []) if element.get("fill") == BLUE
        }
        size = [abs(float(re.match(r"M([-\d.]+)", drawn[at])[1])) for at in dots]
        assert size[0] > 2 * size[1]

    def test_the_line_follows_gamma_though_recall_turns(self):
        points = [("a", 1, 0.0, 0.2, 0.2), ("a", 1, 0.5, 0.3, 0.3), ("a", 1, 1.0, 0.25, 0.1)]
        svg = recipe_charts.recipe_tradeoff(metrics(points))
        (line,) = [e.get("d") for e in ET.fromstring(svg).iter() if e.get("stroke") == BLUE and e.tag.endswith("path")]
        across, up = zip(*re.findall(r"[ML]([\d.]+),([\d.]+)", line), strict=True)
        xs = [float(x) for x in across]
        assert xs[2] < xs[0] < xs[1]
        assert float(up[1]) < float(up[2]) < float(up[0])

    def test_a_recipe_far_below_does_not_stretch_the_axes_and_names_its_recall(self):
        near = [("a", 1, 1.0, 0.24, 0.1), ("b", 1, 1.0, 0.22, 0.12), ("c", 1, 1.0, 0.20, 0.14)]
        svg = recipe_charts.recipe_tradeoff(metrics([*near, ("far", 1, 0.5, 0.02, 0.03), ("far", 1, 1.0, 0.031, 0.01)]))
        words = texts(svg)
        assert words.count("off axes: ≤ 0.031") == 1
        assert "far" in words
        assert "0.05" not in words
        assert not any(word.startswith("off") for word in texts(recipe_charts.recipe_tradeoff(metrics(near))))

    def test_the_pareto_front_holds_the_points_that_no_other_dominates(self):
        points = pl.DataFrame(
            {"x_value": [0.1, 0.2, 0.3, 0.15, 0.2, 0.1, 0.3], "value": [0.5, 0.4, 0.1, 0.3, 0.2, 0.5, 0.05]}
        )
        assert panels.pareto_front(points).rows() == [(0.1, 0.5), (0.2, 0.4), (0.3, 0.1)]
        assert panels.pareto_front(pl.DataFrame({"x_value": [0.1], "value": [0.0]})).rows() == [(0.1, 0.0)]

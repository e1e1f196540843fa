"""The recommendation follows from the validation split, and its evidence from the test split."""

import polars as pl
import pytest

from twotower_assets.reporting.recipe_summary import (
    comparison_table,
    delta_sentence,
    diagnostics_table,
    recommendation,
)


def runs(validation, seconds=None, not_applicable=None):
    """Rows of runs: per recipe the validation metric of every seed; trainings of 10 s where not given."""
    seconds = seconds or {}
    rows = [
        (recipe, seed, "trained", None, metric, seconds.get(recipe, 10.0))
        for recipe, metrics in validation.items()
        for seed, metric in enumerate(metrics)
    ]
    rows += [(recipe, 0, "not applicable", why, None, None) for recipe, why in (not_applicable or {}).items()]
    schema = {"recipe": pl.String, "seed": pl.Int64, "status": pl.String, "reason": pl.String}
    return pl.DataFrame(rows, schema={**schema, "validation_metric": pl.Float64, "seconds": pl.Float64}, orient="row")


def comparison(recall, beyond=None, baseline="base"):
    """Rows of the comparison: per recipe value, gain, low and high in recall@20; the same beyond the head."""
    rows = [
        (recipe, "recall", 20, bucket, baseline, value, 0.004, gain, low, high)
        for bucket, table in (("all", recall), ("beyond_head", beyond or {}))
        for recipe, (value, gain, low, high) in table.items()
    ]
    schema = {"recipe": pl.String, "metric": pl.String, "k": pl.Int64, "bucket": pl.String, "baseline": pl.String}
    numbers = dict.fromkeys(("value", "seed_deviation", "gain_percent", "gain_low", "gain_high"), pl.Float64)
    return pl.DataFrame(rows, schema={**schema, **numbers}, orient="row")


NO_DELTA = pl.DataFrame()
BASE = {"base": (0.2, None, None, None)}
VALIDATION = {"base": (0.20, 0.22), "new": (0.23, 0.25), "old": (0.10, 0.40)}
"""Means .21, .24 and .25."""
TWO = {name: VALIDATION[name] for name in ("base", "new")}


@pytest.mark.parametrize(
    ("delta", "low", "high", "expected"),
    [
        (0.61, 0.52, 0.70, "δ = +0.61 [0.52, 0.70]: this model under-scores popular items"),
        (-0.2, -0.3, -0.1, "δ = −0.20 [−0.30, −0.10]: this model over-scores popular items"),
        (0.02, -0.1, 0.1, "δ = +0.02 [−0.10, 0.10]: this model is calibrated"),
        (None, None, None, "the held-out clicks do not determine δ."),
        (float("nan"), None, None, "the held-out clicks do not determine δ."),
    ],
)
def test_delta_of_a_recipe_is_one_sentence(delta, low, high, expected):
    assert delta_sentence("in_batch", 0.5, delta, low, high).startswith(f"`in_batch` at γ = ½: {expected}")


def test_the_diagnostics_have_a_line_per_recipe_and_weight_and_a_sentence_at_the_served_one():
    columns = ("recipe", "seed", "popularity_weight", "delta", "delta_low", "delta_high", "slope", "pmi_correlation")
    rows = [
        ("low", 0, 1.0, 0.4, 0.3, 0.5, 0.5, 0.2),
        ("low", 1, 1.0, 0.6, 0.5, 0.7, 0.7, 0.4),
        ("low", 0, 0.0, 1.4, 1.3, 1.5, -0.5, 0.8),
        ("high", 0, 1.0, -0.2, -0.3, -0.1, 1.2, None),
    ]
    lines = diagnostics_table(pl.DataFrame(rows, schema=columns, orient="row")).splitlines()
    assert lines[2:5] == [
        "| `high` | 1 | −0.20 [−0.30, −0.10] | +1.20 | – |",
        "| `low` | 0 | +1.40 [1.30, 1.50] | −0.50 | +0.80 |",
        "| `low` | 1 | +0.50 [0.40, 0.60] | +0.60 | +0.30 |",
    ]
    assert lines[6:] == [
        "- `high` at γ = 1: δ = −0.20 [−0.30, −0.10]: this model over-scores popular items as click probability.",
        "- `low` at γ = 1: δ = +0.50 [0.40, 0.60]: this model under-scores popular items as click probability.",
    ]


class TestRecommendation:
    def test_a_gain_clear_of_zero_is_recommended_with_its_evidence_and_cost(self):
        text = recommendation(
            runs(TWO, seconds={"base": 10.0, "new": 15.0}, not_applicable={"shop": "no shop"}),
            comparison({**BASE, "new": (0.22, 10.0, 6.0, 14.0)}, {"new": (0.1, 2.0, -1.0, 5.0)}),
            "base",
        )
        assert text.startswith("Use `new` instead of `base`: ")
        assert "highest recall@20 on the validation split, 0.240 against 0.210" in text
        assert "its recall@20 is 0.220 against 0.200, +10.0 % [+6.0, +14.0]" in text
        assert "paired by user" in text
        assert "Beyond the head its recall@20 changes by +2.0 % [−1.0, +5.0]." in text
        assert "1.50 times as long (15.0 s against 10.0 s)" in text
        assert "Compared: 2 recipes, 2 seeds each." in text
        assert "Warning" not in text

    def test_the_validation_split_chooses_and_not_the_test_split(self):
        tested = comparison({**BASE, "new": (0.22, 10.0, 6.0, 14.0), "old": (0.21, 5.0, 1.0, 9.0)})
        assert recommendation(runs(VALIDATION), tested, "base").startswith("Use `old` ")

    @pytest.mark.parametrize(("low", "kept"), [(-0.5, True), (0.0, True), (0.1, False)])
    def test_the_interval_must_be_above_zero(self, low, kept):
        text = recommendation(runs(TWO), comparison({**BASE, "new": (0.21, 5.0, low, 9.0)}), "base")
        assert text.startswith("Keep `base`." if kept else "Use `new`")
        assert "+5.0 %" in text
        assert ("so no gain is shown" in text) == kept

    def test_a_candidate_that_loses_on_test_is_named_with_its_loss(self):
        text = recommendation(runs(TWO), comparison({**BASE, "new": (0.19, -5.0, -9.0, -1.0)}), "base")
        assert text.startswith("Keep `base`. The candidate is `new`: ")
        assert "−5.0 % [−9.0, −1.0]" in text
        assert "so it loses" in text

    def test_a_gain_without_an_interval_or_none_at_all_changes_nothing(self):
        alone = recommendation(runs(TWO), comparison({**BASE, "new": (0.3, 50.0, None, None)}), "base")
        assert alone.startswith("Keep `base`.")
        assert "without an interval" in alone
        nothing = recommendation(runs(TWO), comparison(BASE), "base")
        assert nothing.startswith("Keep `base`.")
        assert "its gain over `base` in recall@20 is not known" in nothing

    def test_the_baseline_stays_where_none_is_better_on_validation(self):
        text = recommendation(
            runs({"base": (0.3,), "new": (0.29,)}), comparison({**BASE, "new": (0.3, 50.0, 40.0, 60.0)}), "base"
        )
        assert text.startswith("Keep `base`: no other recipe has a higher recall@20 on the validation split (0.300")
        assert "next is `new` with 0.290" in text

    def test_a_tie_on_validation_keeps_the_baseline(self):
        text = recommendation(
            runs({"a": (0.3,), "base": (0.3,)}), comparison({**BASE, "a": (0.3, 50.0, 40.0, 60.0)}), "base"
        )
        assert text.startswith("Keep `base`: ")

    @pytest.mark.parametrize(
        ("high", "low", "warned"), [(-1.0, -9.0, True), (0.0, -9.0, False), (1.0, -9.0, False), (9.0, 1.0, False)]
    )
    def test_a_gain_with_a_loss_beyond_the_head_has_a_warning(self, high, low, warned):
        beyond = {"new": (0.1, (low + high) / 2, low, high)}
        text = recommendation(runs(TWO), comparison({**BASE, "new": (0.22, 10.0, 6.0, 14.0)}, beyond), "base")
        assert ("Warning: the gain comes with a loss beyond the head" in text) == warned
        if warned:
            assert "−5.0 % [−9.0, −1.0]" in text

    def test_unknown_costs_and_changes_beyond_the_head_are_reported(self):
        unknown = runs(TWO).with_columns(seconds=pl.lit(None, pl.Float64))
        text = recommendation(unknown, comparison({**BASE, "new": (0.22, 10.0, 6.0, 14.0)}), "base")
        assert "Its change beyond the head is not known." in text
        assert "Its training time is not known." in text

    def test_without_a_validation_split_nothing_is_recommended(self):
        text = recommendation(
            runs({"base": (None,), "new": (None,)}), comparison({**BASE, "new": (0.3, 50.0, 40.0, 60.0)}), "base"
        )
        assert text.startswith("Nothing can be recommended without choosing on the test split")
        assert "new" not in text

    def test_a_baseline_without_a_training_or_a_validation_metric_compares_nothing(self):
        assert "the baseline `base` was not trained" in recommendation(runs({"new": (0.2,)}), comparison(BASE), "base")
        barred = runs({"new": (0.2,)}, not_applicable={"base": "no"})
        assert "the baseline `base` was not trained" in recommendation(barred, comparison(BASE), "base")
        half = recommendation(runs({"base": (None,), "new": (0.2,)}), comparison(BASE), "base")
        assert "the baseline `base` has no validation metric" in half
        assert "was not trained" in recommendation(pl.DataFrame(), pl.DataFrame(), "base")

    def test_seeds_are_counted_and_a_single_one_has_a_caution(self):
        tested = comparison({**BASE, "new": (0.22, 10.0, 6.0, 14.0)})
        one = recommendation(runs({"base": (0.2,), "new": (0.3,)}), tested, "base")
        assert "2 recipes, 1 seed each. One seed does not show" in one
        uneven = recommendation(runs({"base": (0.2,) * 3, "new": (0.3,) * 2}), tested, "base")
        assert "2 recipes, 2 to 3 seeds each." in uneven
        assert "One seed" not in uneven


RECALL = {"new": (0.22, 10.0, 6.0, 14.0), **BASE, "bad": (0.1, -50.0, -60.0, -40.0)}


class TestTable:
    def cells(self, table):
        rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("|")]
        return rows[0], {row[0]: row[1:] for row in rows[2:]}

    def test_numbers_are_below_their_heads_best_recall_first(self):
        more = comparison(RECALL, {"new": (0.1, 0.0, 0.0, 0.0)})
        one = more.filter((pl.col("recipe") == "new") & (pl.col("bucket") == "all"))
        more = pl.concat(
            [
                more,
                one.with_columns(metric=pl.lit("ndcg"), value=0.3),
                one.with_columns(k=pl.lit(100, pl.Int64), value=0.5),
                one.with_columns(metric=pl.lit("coverage"), value=0.4),
                one.with_columns(metric=pl.lit("ndcg"), k=pl.lit(100, pl.Int64), value=0.9),
            ]
        )
        deltas = pl.DataFrame(
            {
                "recipe": ["new", "new", "new", "bad"],
                "popularity_weight": [1.0, 1.0, 0.0, 0.0],
                "delta": [0.1, 0.3, 1.2, 2.0],
            }
        )
        table = comparison_table(more, runs(TWO, seconds={"new": 12.34}), deltas)
        heads, rows = self.cells(table)
        assert heads == [
            "recipe", "recall@20 (±)", "gain % [low, high]", "NDCG@20", "recall@100", "beyond head@20", "coverage@20",
            "δ", "s per training",
        ]  # fmt: skip
        assert list(rows) == ["`new`", "**`base`** (baseline)", "`bad`"]
        assert rows["`new`"] == [
            "0.220 ± 0.004", "+10.0 [+6.0, +14.0]", "0.300", "0.500", "0.100", "0.400", "+0.20", "12.3",
        ]  # fmt: skip
        assert rows["**`base`** (baseline)"] == ["0.200 ± 0.004", "–", "–", "–", "–", "–", "–", "10.0"]
        assert rows["`bad`"][1] == "−50.0 [−60.0, −40.0]"
        assert "δ at γ = 1." in table
        at_zero = comparison_table(more, runs(TWO), deltas, popularity_weight=0.0)
        assert self.cells(at_zero)[1]["`bad`"][6] == "+2.00"
        assert "δ at γ = 0." in at_zero

    def test_every_line_has_as_many_cells_as_there_are_heads(self):
        table = comparison_table(comparison(RECALL), runs({"ba|d\n`x": (0.1,)}), NO_DELTA)
        lines = [line for line in table.splitlines() if line.startswith("|")]
        assert {line.count("|") for line in lines} == {10}
        assert len(lines) == 2 + 4

    def test_one_seed_has_no_deviation(self):
        table = comparison_table(comparison(BASE).with_columns(seed_deviation=None), runs(TWO), NO_DELTA)
        assert "| 0.200 |" in table

    def test_recipes_not_applicable_are_listed_with_their_reasons(self):
        barred = {"shop": "the items have\nno 'shop'", "context": None}
        table = comparison_table(comparison(BASE), runs(TWO, not_applicable=barred), NO_DELTA)
        assert table.endswith(
            "Not applicable here:\n\n- `context`: no reason is given\n- `shop`: the items have no 'shop'"
        )
        assert "`shop`" not in self.cells(table)[1]
        assert "Not applicable" not in comparison_table(comparison(BASE), runs(TWO), NO_DELTA)

    def test_a_trained_recipe_that_was_not_compared_is_last(self):
        _, rows = self.cells(comparison_table(comparison(BASE), runs(TWO), NO_DELTA))
        assert list(rows) == ["**`base`** (baseline)", "`new`"]
        assert rows["`new`"][0] == "–"

"""What the report says is what the numbers say."""

import datetime as dt

import polars as pl
import pytest

from twotower_assets.reporting import tables, theme, words
from twotower_assets.reporting.report import ReportData


@pytest.mark.parametrize(
    ("delta", "low", "high", "expected"),
    [
        (0.61, 0.55, 0.67, "under-scores popular items"),
        (-0.4, -0.5, -0.3, "over-scores popular items"),
        (0.03, -0.02, 0.08, "calibrated as click probability"),
        (-0.03, -0.08, 0.0, "calibrated as click probability"),
        (0.61, None, None, "under-scores popular items"),
        (-0.61, float("nan"), -0.2, "over-scores popular items"),
        (0.0, None, None, "calibrated as click probability"),
    ],
)
def test_delta_is_read_by_its_interval_and_then_its_sign(delta, low, high, expected):
    sentence = words.delta_sentence(delta, low, high)
    assert expected in sentence
    assert ("under" in sentence) == ("under" in expected)
    assert "nan" not in sentence


def test_delta_is_one_plain_sentence():
    assert words.delta_sentence(0.61, 0.52, 0.7) == (
        "δ = +0.61 [0.52, 0.70]: this model under-scores popular items as click probability."
    )
    assert words.delta_sentence(-0.4, -0.5, -0.3).startswith("δ = −0.40 [−0.50, −0.30]: this model over-scores")
    assert words.delta_sentence(0.03, -0.02, 0.08).endswith("calibrated as click probability within the error.")
    assert words.delta_sentence(0.61) == (
        "δ = +0.61 (no interval): this model under-scores popular items as click probability."
    )


def test_brackets_hold_both_ends_or_nothing():
    assert words.bracketed(-1.25, 3.0, 1, sign=True) in ("[−1.2, +3.0]", "[−1.3, +3.0]")
    assert words.bracketed(0.5, 0.7) == "[0.50, 0.70]"
    assert words.bracketed(None, 1.0) == words.bracketed(0.0, float("nan")) == ""


def unknown(example, served, **changes):
    return example.report_data(trained_weight_is_known=False, served_popularity_weight=served, **changes)


def test_a_known_trained_weight_needs_no_warning(example):
    assert words.warnings(example.report_data(served_popularity_weight=0.0)) == []
    assert words.trained_weight(example.report_data(trained_popularity_weight=0.0)) == "γ₀ = 0"


def test_an_unknown_trained_weight_is_said_with_what_gamma_is_relative_to(example):
    (warning,) = words.warnings(unknown(example, 1.0, trained_popularity_weight=1.0))
    assert "γ₀ of this recipe is unknown (it has margin negatives): γ is relative to 1" in warning
    assert "the measured δ tells what popularity is missing" in warning
    assert "γ is relative to ½" in words.warnings(unknown(example, 1.0, trained_popularity_weight=0.5))[0]
    assert words.trained_weight(unknown(example, 1.0, trained_popularity_weight=0.0)) == "γ₀ unknown, taken as 0"
    assert words.summary_sentences(unknown(example, 1.0))[-1] == warning


def diagnostics_at(weight, delta, low, high):
    return pl.DataFrame({"popularity_weight": [weight], "delta": [delta], "delta_low": [low], "delta_high": [high]})


@pytest.mark.parametrize(
    ("served", "delta", "low", "high", "lacks", "twice"),
    [
        (0.5, 0.9, 0.8, 1.0, True, True),
        (0.5, 0.52, 0.45, 0.6, True, False),
        (0.5, 0.05, -0.01, 0.1, False, False),
        (0.5, -0.3, -0.4, -0.2, False, False),
        (1.0, 0.9, 0.8, 1.0, False, False),
        (0.5, 0.9, None, None, False, False),
        (0.5, None, None, None, False, False),
    ],
)
def test_lowering_gamma_is_warned_of_where_popularity_is_lacking_already(
    example, served, delta, low, high, lacks, twice
):
    tables_ = {"popularity_diagnostics": diagnostics_at(served, delta, low, high)}
    told = words.warnings(unknown(example, served, **tables_))[1:]
    assert len(told) == lacks
    if lacks:
        assert told[0].startswith(f"At the served γ = ½, δ = +{delta:.2f} [{low:.2f}, {high:.2f}]: ")
        assert "lowering γ takes away popularity that the model already lacks" in told[0]
        assert ("discounted twice" in told[0]) == twice
    assert len(words.warnings(example.report_data(served_popularity_weight=served, **tables_))) == 0


@pytest.mark.parametrize("absent", [None, float("nan"), float("inf")])
def test_what_was_not_measured_is_a_dash_or_no_sentence(absent):
    assert words.delta_sentence(absent) is None
    for write in (words.decimal, words.signed, words.percent, words.whole):
        assert write(absent) == words.ABSENT
    assert words.interval(absent, 1.0) == ""
    assert words.interval(0.0, absent) == ""


def test_numbers_are_written_as_people_write_them():
    assert words.percent(0.2142) == "21\xa0%"
    assert words.percent(0.0714) == "7.1\xa0%"
    assert words.percent(0.0996) == "10\xa0%"
    assert words.percent(0.0) == "0\xa0%"
    assert words.signed(0.614) == "+0.61"
    assert words.signed(-0.614) == "−0.61"
    assert words.signed(-0.001) == "0.00"
    assert words.whole(80_367) == "80,367"
    assert words.interval(-0.1, 0.2, 1) == "−0.1 to 0.2"


@pytest.mark.parametrize(
    ("weight", "text"), [(0.0, "0"), (0.5, "½"), (1.0, "1"), (0.3, "0.3"), (10.0, "10"), (0.125, "0.12")]
)
def test_weights_are_written_as_fractions_where_there_is_one(weight, text):
    assert theme.weight_text(weight) == text


def test_the_summary_sets_the_model_beside_its_baselines(example):
    recall, beyond, coverage, head, delta = words.summary_sentences(example.report_data())
    assert "finds 24\xa0% in its first 20 suggestions; most popular finds 9.6\xa0%, EASE 20\xa0%" in recall
    assert "clear above that of EASE" in recall
    assert "finds 11\xa0%; most popular finds 0\xa0%, EASE 6.0\xa0%" in beyond
    assert "45\xa0% of the catalogue" in coverage
    assert "63\xa0% of the places" in head
    assert delta.startswith("At γ = 1, δ = +0.08")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.22, 0.26, "clear above"), (0.20, 0.28, "overlaps"), (0.10, 0.15, "clear below"), (None, None, "")],
)
def test_the_comparison_is_with_the_best_baseline(example, low, high, expected):
    ours = (pl.col("model") == "two_tower") & (pl.col("metric") == "recall")
    metrics = example.metrics().with_columns(
        low=pl.when(ours).then(pl.lit(low, pl.Float64)).otherwise("low"),
        high=pl.when(ours).then(pl.lit(high, pl.Float64)).otherwise("high"),
    )
    sentence = words.summary_sentences(example.report_data(metrics=metrics))[0]
    if expected:
        assert f"{expected} that of EASE" in sentence
    else:
        assert "interval" not in sentence


def test_findings_without_numbers_are_left_out(example):
    data = example.report_data(exposure=pl.DataFrame(), popularity_diagnostics=pl.DataFrame())
    assert len(words.findings(data)) == 3
    nothing = ReportData("t", "d", dt.date(2026, 1, 1), "v", 1.0)
    assert words.findings(nothing) == []
    assert words.gini_sentence(nothing) is None


def test_a_weight_that_was_not_measured_has_no_findings_of_the_model(example):
    assert words.findings(example.report_data(served_popularity_weight=0.7)) == []


def test_only_the_largest_of_a_column_is_marked(example):
    table = tables.comparison(example.report_data())
    marked = [[cell.best for cell in cells] for _, cells in table.rows]
    assert marked == [[True] * 5, [False] * 5, [False] * 5]


def test_a_model_alone_is_not_marked_as_the_best(example):
    alone = example.report_data(metrics=example.metrics().filter(pl.col("model") == "two_tower"))
    assert not any(cell.best for _, cells in tables.comparison(alone).rows for cell in cells)


def test_the_tail_and_the_spread_stand_beside_recall_at_every_weight(example):
    table = tables.weights(example.report_data())
    assert table.heads == ["γ", "Recall@20", "Beyond head", "Tail", "Coverage@20", "Gini"]
    rows = dict(table.rows)
    assert [cell.text for cell in rows["½"]] == ["0.221", "0.131", "0.098", "0.688", "0.602"]


def test_diagnostics_stand_beside_what_exact_pmi_would_give(example):
    rows = dict(tables.diagnostics(example.report_data()).rows)
    assert [rows[head][1].text for head in ("0", "½", "1 (served)")] == ["+1.00", "+0.50", "0.00"]


def test_the_best_epoch_is_the_first_with_the_highest_validation_metric(example):
    curves = pl.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation_metric": [0.1, 0.3, 0.3]})
    rows = dict(tables.training(example.report_data(curves=curves)).rows)
    assert rows["Best validation metric"][0].note == "epoch 2"
    assert rows["Loss of the last epoch"][0].text == "1.000"

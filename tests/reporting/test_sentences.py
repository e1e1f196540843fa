"""The sentences and tables of the report follow from the numbers."""

import datetime as dt

import polars as pl
import pytest

from twotower_assets.reporting import formatting, sentences, theme
from twotower_assets.reporting import report_tables as tables
from twotower_assets.reporting.report import ReportData
from twotower_assets.reporting.report_data import at_weight


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
def test_delta_is_interpreted_by_its_interval_and_then_its_sign(delta, low, high, expected):
    sentence = sentences.delta_sentence(delta, low, high)
    assert expected in sentence
    assert ("under" in sentence) == ("under" in expected)
    assert "nan" not in sentence


def test_delta_is_stated_with_its_number_and_interval():
    assert sentences.delta_sentence(0.61, 0.52, 0.7).startswith("δ = +0.61 [0.52, 0.70]: this model under-scores")
    assert sentences.delta_sentence(-0.4, -0.5, -0.3).startswith("δ = −0.40 [−0.50, −0.30]: this model over-scores")
    assert sentences.delta_sentence(0.61).startswith("δ = +0.61 (no interval): this model under-scores")
    assert "within measurement error" in sentences.delta_sentence(0.03, -0.02, 0.08)
    assert "error" not in sentences.delta_sentence(0.0)


def test_brackets_hold_both_ends_or_nothing():
    assert formatting.bracketed(-1.25, 3.0, 1, sign=True) in ("[−1.2, +3.0]", "[−1.3, +3.0]")
    assert formatting.bracketed(0.5, 0.7) == "[0.50, 0.70]"
    assert formatting.bracketed(None, 1.0) == formatting.bracketed(0.0, float("nan")) == ""


def unknown(example, served, **changes):
    return example.report_data(trained_weight_is_known=False, served_popularity_weight=served, **changes)


def test_a_known_trained_weight_needs_no_warning(example):
    assert sentences.warnings(example.report_data(served_popularity_weight=0.0)) == []
    assert sentences.trained_weight(example.report_data(trained_popularity_weight=0.0)) == "γ₀ = 0"


def test_an_unknown_trained_weight_is_reported_with_the_weight_that_gamma_is_relative_to(example):
    (warning,) = sentences.warnings(unknown(example, 1.0, trained_popularity_weight=1.0))
    assert "γ₀ is unknown" in warning
    assert "uncorrected" in warning
    assert "γ is therefore relative to 1" in warning
    assert "δ shows how much popularity is missing" in warning
    assert "γ is therefore relative to ½" in sentences.warnings(unknown(example, 1.0, trained_popularity_weight=0.5))[0]
    assert (
        sentences.trained_weight(unknown(example, 1.0, trained_popularity_weight=0.0)) == "γ₀ unknown, assumed to be 0"
    )
    assert sentences.summary_sentences(unknown(example, 1.0))[-1] == warning


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
def test_a_warning_against_lowering_gamma_where_popularity_is_missing_already(
    example, served, delta, low, high, lacks, twice
):
    tables_ = {"popularity_diagnostics": diagnostics_at(served, delta, low, high)}
    further = sentences.warnings(unknown(example, served, **tables_))[1:]
    assert len(further) == lacks
    if lacks:
        assert further[0].startswith(f"At the served γ = ½, δ = +{delta:.2f} [{low:.2f}, {high:.2f}]: ")
        assert "lowering γ removes popularity that the model already lacks" in further[0]
        assert ("discounted twice" in further[0]) == twice
    assert len(sentences.warnings(example.report_data(served_popularity_weight=served, **tables_))) == 0


@pytest.mark.parametrize("absent", [None, float("nan"), float("inf")])
def test_what_was_not_measured_is_a_dash_or_no_sentence(absent):
    assert sentences.delta_sentence(absent) is None
    for write in (formatting.decimal, formatting.signed, formatting.percent, formatting.whole):
        assert write(absent) == formatting.ABSENT
    assert formatting.interval(absent, 1.0) == ""
    assert formatting.interval(0.0, absent) == ""


def test_numbers_are_formatted_for_people():
    assert formatting.percent(0.2142) == "21\xa0%"
    assert formatting.percent(0.0714) == "7.1\xa0%"
    assert formatting.percent(0.0996) == "10\xa0%"
    assert formatting.percent(0.0) == "0\xa0%"
    assert formatting.signed(0.614) == "+0.61"
    assert formatting.signed(-0.614) == "−0.61"
    assert formatting.signed(-0.001) == "0.00"
    assert formatting.whole(80_367) == "80,367"
    assert formatting.interval(-0.1, 0.2, 1) == "−0.1 to 0.2"


@pytest.mark.parametrize(
    ("weight", "text"), [(0.0, "0"), (0.5, "½"), (1.0, "1"), (0.3, "0.3"), (10.0, "10"), (0.125, "0.12")]
)
def test_weights_are_formatted_as_fractions_where_there_is_one(weight, text):
    assert theme.weight_text(weight) == text


def test_the_summary_compares_the_model_with_its_baselines(example):
    recall, before, beyond, coverage, head, delta = sentences.summary_sentences(example.report_data())
    assert "finds 24\xa0% of a user's held-out clicks" in recall
    assert "top 20 recommendations; most popular finds 9.6\xa0%, EASE 20\xa0%" in recall
    assert "EASE, paired by user: 4.5 points more [3.9, 5.2]." in recall
    assert "1.2 points more [0.6, 1.9]; beyond the head, 0.8 points less [0.1, 1.4]" in before
    assert "finds 11\xa0%; most popular finds 0\xa0%, EASE 6.0\xa0%" in beyond
    assert "45\xa0% of the catalogue" in coverage
    assert "63\xa0% of its list positions" in head
    assert delta.startswith("At γ = 1, δ = +0.08")
    assert "Popular items rank lower" in delta


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.22, 0.26, "above"), (0.20, 0.28, "overlaps"), (0.10, 0.15, "below"), (None, None, "")],
)
def test_the_comparison_is_with_the_best_baseline(example, low, high, expected):
    ours = (pl.col("model") == "two_tower") & (pl.col("metric") == "recall")
    metrics = example.metrics().with_columns(
        low=pl.when(ours).then(pl.lit(low, pl.Float64)).otherwise("low"),
        high=pl.when(ours).then(pl.lit(high, pl.Float64)).otherwise("high"),
    )
    sentence = sentences.summary_sentences(example.report_data(metrics=metrics, differences=pl.DataFrame()))[0]
    if expected:
        assert f"{expected} that of EASE" in sentence
    else:
        assert "interval" not in sentence


def test_findings_without_numbers_are_omitted(example):
    empty = dict.fromkeys(("exposure", "popularity_diagnostics", "differences"), pl.DataFrame())
    assert len(sentences.findings(example.report_data(**empty))) == 3
    nothing = ReportData("t", "d", dt.date(2026, 1, 1), "v", 1.0)
    assert sentences.findings(nothing) == []
    assert sentences.gini_sentence(nothing) is None


def test_a_weight_that_was_not_measured_has_no_findings_of_the_model(example):
    assert sentences.findings(example.report_data(served_popularity_weight=0.7, differences=pl.DataFrame())) == []


def test_only_the_largest_of_a_metric_is_marked(example):
    table = tables.comparison(example.report_data())
    assert table.heads == ["Metric", "Two-tower", "Most popular", "EASE"]
    assert [[cell.best for cell in cells] for _, cells in table.rows] == [[True, False, False]] * 5


def test_a_model_alone_is_not_marked_as_the_best(example):
    alone = example.report_data(metrics=example.metrics().filter(pl.col("model") == "two_tower"))
    assert not any(cell.best for _, cells in tables.comparison(alone).rows for cell in cells)


def test_the_tail_and_the_spread_are_beside_recall_at_every_weight(example):
    table = tables.weights(example.report_data())
    assert table.heads == ["γ", "Recall@20", "Beyond the head", "Tail", "Coverage@20", "Gini"]
    rows = dict(table.rows)
    assert [cell.text for cell in rows["½"]] == ["0.221", "0.131", "0.098", "0.688", "0.602"]


def test_diagnostics_are_beside_the_delta_of_exact_pmi(example):
    rows = dict(tables.diagnostics(example.report_data()).rows)
    assert [rows[head][1].text for head in ("0", "½", "1 (served)")] == ["+1.00", "+0.50", "0.00"]


def test_the_best_epoch_is_the_first_with_the_highest_validation_metric(example):
    curves = pl.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation_metric": [0.1, 0.3, 0.3]})
    rows = dict(tables.training(example.report_data(curves=curves)).rows)
    assert rows["Best validation metric"][0].note == "epoch 2"
    assert rows["Loss of the last epoch"][0].text == "1.000"


def paired(difference, low, high, bucket="all"):
    numbers = {"value": 0.2, "other_value": 0.2 - difference, "difference": difference, "low": low, "high": high}
    return pl.DataFrame({"other": "predecessor", "metric": "recall", "k": 20, "bucket": bucket, **numbers})


@pytest.mark.parametrize(
    ("difference", "low", "high", "expected"),
    [
        (0.012, 0.003, 0.021, "1.2 points more [0.3, 2.1]"),
        (-0.012, -0.021, -0.003, "1.2 points less [0.3, 2.1]"),
        (0.002, -0.003, 0.007, "no clear difference: +0.2 points [−0.3, +0.7]"),
        (0.0, 0.0, 0.0, "no clear difference: 0.0 points"),
        (0.012, None, None, "1.2 points more."),
        (-0.008, -0.015, -0.0003, "0.80 points less [0.03, 1.50]"),
    ],
)
def test_a_direction_is_given_only_where_the_interval_does_not_contain_zero(example, difference, low, high, expected):
    data = example.report_data(differences=paired(difference, low, high))
    assert expected in sentences.predecessor_sentence(data)
    assert "towers-1b77e0d3" in sentences.predecessor_sentence(data)
    assert any(expected.removesuffix(".") in sentence for sentence in sentences.summary_sentences(data))


def test_no_predecessor_and_one_that_cannot_be_compared_are_both_reported(example):
    none = example.report_data(predecessor_version="", differences=pl.DataFrame())
    assert sentences.predecessor_sentence(none).startswith("No other version was served before")
    refused = example.report_data(predecessor_note="it was trained on these clicks.", differences=pl.DataFrame())
    assert sentences.predecessor_sentence(refused) == (
        "There is no comparison with towers-1b77e0d3, the version served before: it was trained on these clicks."
    )
    for data in (none, refused):
        assert not any("served before" in sentence for sentence in sentences.summary_sentences(data))


def at_other_weights(example, **others):
    """The example, with the served model minus itself at other γ: recall and recall beyond the head, with intervals."""
    rows = [
        {"other": at_weight(weight), "metric": "recall", "k": 20, "bucket": bucket, **numbers}
        for weight, of_buckets in others["differences"].items()
        for bucket, (served, difference, low, high) in zip(("all", "beyond_head"), of_buckets, strict=True)
        for numbers in [
            {"value": served, "other_value": served - difference, "difference": difference, "low": low, "high": high}
        ]
    ]
    return example.report_data(differences=pl.DataFrame(rows))


EVEN, WORSE, BETTER = (0.242, 0.004, -0.001, 0.009), (0.242, 0.02, 0.01, 0.03), (0.108, -0.04, -0.05, -0.03)


def test_another_weight_is_named_where_it_finds_more_beyond_the_head_at_no_clear_loss(example):
    much_better = (0.108, -0.06, -0.07, -0.05)
    data = at_other_weights(example, differences={0.0: (WORSE, much_better), 0.5: (EVEN, BETTER)})
    figure, sentence = sentences.findings(data)[-1]
    assert figure == "γ\xa0½"
    assert "γ = ½ instead of 1 " in sentence
    assert "15\xa0% beyond the head instead of 11\xa0%" in sentence
    assert "69\xa0% of the catalogue instead of 45\xa0%" in sentence
    assert "not clearly lower (−0.4 points [−0.9, +0.1])" in sentence


@pytest.mark.parametrize("offered", [(WORSE, BETTER), (EVEN, (0.108, -0.01, -0.02, 0.001))])
def test_a_weight_that_recalls_clearly_less_or_finds_not_clearly_more_beyond_the_head_is_not_named(example, offered):
    figure, sentence = sentences.findings(at_other_weights(example, differences={0.5: offered}))[-1]
    assert figure == "γ\xa01"
    assert "No other measured γ finds clearly more beyond the head" in sentence


def test_the_limitations_follow_from_the_measurements(example):
    found = " ".join(sentences.limitations(example.report_data()))
    assert "not click probabilities (δ\xa0=\xa0+0.08, not 0)" in found
    assert "8.2\xa0% of the catalogue has no training click" in found
    assert "finds 0.9\xa0% of the clicks on them" in found
    calibrated = example.report_data(popularity_diagnostics=diagnostics_at(1.0, 0.01, -0.02, 0.04))
    assert "not click probabilities" not in " ".join(sentences.limitations(calibrated))
    warm = example.report_data(exposure=example.exposure().filter(pl.col("bucket") != "cold"))
    assert "Launching new items" not in " ".join(sentences.limitations(warm))


def test_the_slope_is_explained_for_ten_times_the_clicks(example):
    (slope,) = sentences.slope_sentences(example.report_data())
    assert "differs by +2.35 on average (slope +1.02 on log q" in slope
    assert sentences.slope_sentences(example.report_data(popularity_diagnostics=pl.DataFrame())) == []


def test_only_categories_that_clearly_gained_or_lost_are_listed(example):
    table = tables.predecessor_categories(example.report_data())
    assert [name for name, _ in table.rows] == ["Drama", "Horror"]
    assert [cells[2].text for _, cells in table.rows] == ["+2.0", "−3.0"]


def test_settings_are_split_by_whether_they_differ_from_the_default(example):
    changed, kept = (tables.settings(example.report_data(), changed=which) for which in (True, False))
    assert [name for name, _ in changed.rows] == ["item_bias"]
    assert [name for name, _ in kept.rows] == ["temperature"]


def test_a_difference_is_in_points_with_its_interval(example):
    rows = dict(tables.predecessor(example.report_data()).rows)
    assert [cell.text for cell in rows["Recall@20"]] == ["0.242", "0.230", "+1.2"]
    assert rows["Recall@20"][2].note == "+0.6 to +1.9"
    assert rows["Coverage@20"][2].note == ""

"""An example report with plausible, deterministic numbers, and its tables."""

import datetime as dt
import random
from types import SimpleNamespace

import polars as pl
import pytest

from twotower_assets.reporting.report import LineageEntry, RecommendedItem, ReportData, SampleUser, Setting

WEIGHTS = (0.0, 0.5, 1.0)
BUCKETS = ("head", "mid", "tail", "cold")
_RECALL_BUCKETS = ("all", "head", "mid", "tail", "cold", "beyond_head")
_RECALL = {
    ("two_tower", 0.0): (0.171, 0.161, 0.158, 0.139, 0.031, 0.149),
    ("two_tower", 0.5): (0.221, 0.262, 0.149, 0.098, 0.018, 0.131),
    ("two_tower", 1.0): (0.242, 0.341, 0.127, 0.061, 0.009, 0.108),
    ("most_popular", None): (0.096, 0.171, 0.0, 0.0, 0.0, 0.0),
    ("ease", None): (0.197, 0.298, 0.072, 0.028, 0.0, 0.060),
}
_OTHER = {
    ("two_tower", 0.0): (0.188, 0.447, 0.861, 0.412, 38.2, 0.412, 11.7, -0.31, 0.118),
    ("two_tower", 0.5): (0.251, 0.549, 0.688, 0.602, 88.0, 0.231, 10.4, 0.42, 0.087),
    ("two_tower", 1.0): (0.277, 0.581, 0.452, 0.741, 141.3, 0.094, 9.1, 1.02, 0.131),
    ("most_popular", None): (0.116, 0.318, 0.071, 0.982, 332.5, 0.0, 7.6, 3.15, 0.402),
    ("ease", None): (0.210, 0.522, 0.340, 0.803, 169.9, 0.048, 8.8, 1.31, 0.162),
}
_OTHER_NAMES = (
    ("ndcg", 20),
    ("recall", 100),
    ("coverage", 20),
    ("gini", 20),
    ("average_recommendation_popularity", 20),
    ("aplt", 20),
    ("novelty", 20),
    ("popularity_lift", 20),
    ("calibration", 20),
)
_EXPOSURE = {
    ("two_tower", 0.0): (0.301, 0.287, 0.374, 0.038),
    ("two_tower", 0.5): (0.462, 0.307, 0.219, 0.012),
    ("two_tower", 1.0): (0.634, 0.272, 0.091, 0.003),
    ("most_popular", None): (1.0, 0.0, 0.0, 0.0),
    ("ease", None): (0.742, 0.21, 0.048, 0.0),
}
_CLICKS, _CATALOGUE = (0.485, 0.301, 0.208, 0.006), (0.087, 0.152, 0.679, 0.082)
_GENRES = (
    ("Drama", 725), ("Comedy", 505), ("Thriller", 251), ("Action", 251), ("Romance", 247), ("Adventure", 135),
    ("Children's", 122), ("Crime", 109), ("Sci-Fi", 101), ("Horror", 92), ("War", 71), ("Mystery", 61),
    ("Musical", 56), ("Documentary", 50),
)  # fmt: skip
_FILMS = (
    "Fargo (1996)", "Star Wars (1977)", "Chungking Express (1994)", "The Godfather (1972)", "Ran (1985)",
    "Secrets & Lies (1996)", "Three Colours: Blue (1993)", "Cold Comfort Farm (1995)", "Big Night (1996)",
    "Le Samouraï (1967)", "Trainspotting (1996)", "Beautiful Thing (1996)", "Paradise Lost (1996)",
    "Amadeus (1984)", "Swingers (1996)",
)  # fmt: skip


def metrics() -> pl.DataFrame:
    rows = [
        (model, weight, "recall", 20, bucket, value, max(value - 0.013, 0.0), value + 0.013, 943)
        for (model, weight), values in _RECALL.items()
        for bucket, value in zip(_RECALL_BUCKETS, values, strict=True)
    ]
    for (model, weight), values in _OTHER.items():
        for (metric, k), value in zip(_OTHER_NAMES, values, strict=True):
            spread = 0.03 * abs(value) if metric in {"ndcg", "recall"} else None
            low, high = (None, None) if spread is None else (value - spread, value + spread)
            rows.append((model, weight, metric, k, "all", value, low, high, 943))
    names = ["model", "popularity_weight", "metric", "k", "bucket", "value", "low", "high", "users"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def exposure() -> pl.DataFrame:
    rows = [
        (model, weight, bucket, share, click, catalogue)
        for (model, weight), shares in _EXPOSURE.items()
        for bucket, share, click, catalogue in zip(BUCKETS, shares, _CLICKS, _CATALOGUE, strict=True)
    ]
    names = ["model", "popularity_weight", "bucket", "exposure_share", "click_share", "catalogue_share"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def lorenz(points: int = 200) -> pl.DataFrame:
    power = {"two_tower": 6.0, "most_popular": 60.0, "ease": 9.5, "clicks": 4.2}
    rows = [
        (model, index / (points - 1), (index / (points - 1)) ** exponent)
        for model, exponent in power.items()
        for index in range(points)
    ]
    return pl.DataFrame(rows, schema=["model", "item_share", "exposure_share"], orient="row")


def categories() -> pl.DataFrame:
    draw = random.Random(3)
    total = sum(count for _, count in _GENRES)
    rows = []
    for name, count in _GENRES:
        click = count / total * draw.uniform(0.7, 1.3)
        rows.append((name, count, round(count * draw.uniform(0.2, 0.7)), click * draw.uniform(0.6, 1.4), click))
    names = ["category", "items", "items_recommended", "exposure_share", "click_share"]
    return pl.DataFrame(rows, schema=names, orient="row")


def many_categories(count: int) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "category": [f"Category number {n}" for n in range(count)],
            "items": list(range(count, 0, -1)),
            "items_recommended": [n // 2 for n in range(count, 0, -1)],
            "exposure_share": [1 / count] * count,
            "click_share": [1 / count] * count,
        }
    )


def diagnostics() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "popularity_weight": WEIGHTS,
            "delta": [1.06, 0.57, 0.08],
            "delta_low": [0.99, 0.5, 0.01],
            "delta_high": [1.13, 0.64, 0.15],
            "slope": [0.02, 0.52, 1.02],
            "pmi_correlation": [0.61, 0.48, None],
        }
    )


def curves(epochs: int = 20) -> pl.DataFrame:
    draw = random.Random(5)
    return pl.DataFrame(
        {
            "epoch": list(range(1, epochs + 1)),
            "loss": [4.1 + 2.8 * 0.82**e + draw.uniform(-0.02, 0.02) for e in range(epochs)],
            "validation_metric": [0.235 * (1 - 0.75**e) + draw.uniform(-0.003, 0.003) for e in range(1, epochs + 1)],
            "pairs_per_second": [draw.uniform(68_000, 74_000) for _ in range(epochs)],
        }
    )


def index_quality() -> pl.DataFrame:
    return pl.DataFrame(
        {
            "popularity_weight": WEIGHTS,
            "recall_at_k": [0.998, 0.994, 0.987],
            "k": [100, 100, 100],
            "queries_per_second": [10_480.0, 9_960.0, 9_120.0],
        }
    )


def differences() -> pl.DataFrame:
    """This version minus its predecessor, which is a little worse, and minus the baselines."""
    at = dict(zip(_RECALL_BUCKETS, _RECALL["two_tower", 1.0], strict=True))
    rows = []
    for other, lost in (("predecessor", 0.012), ("most_popular", 0.146), ("ease", 0.045)):
        for index, (bucket, value) in enumerate(at.items()):
            difference = round(lost * (1, 1.4, -0.4, 0.1, 0, -0.7)[index], 4)
            other_value = round(value - difference, 4)
            rows.append(
                (
                    other,
                    "recall",
                    20,
                    bucket,
                    value,
                    other_value,
                    difference,
                    difference - 0.006,
                    difference + 0.007,
                    943,
                )
            )
        rows.append((other, "recall", 100, "all", 0.581, 0.581 - lost, lost, lost - 0.008, lost + 0.008, 943))
        rows.append((other, "ndcg", 20, "all", 0.277, 0.277 - lost, lost, lost - 0.005, lost + 0.005, 943))
    for category, change in (("Drama", 0.02), ("Horror", -0.03), ("War", 0.004)):
        rows.append(
            (
                "predecessor",
                "category_recall",
                20,
                category,
                0.2 + change,
                0.2,
                change,
                change - 0.01,
                change + 0.01,
                321,
            )
        )
    rows.append(("predecessor", "coverage", 20, "all", 0.452, 0.403, 0.049, None, None, 943))
    names = ["other", "metric", "k", "bucket", "value", "other_value", "difference", "low", "high", "users"]
    return pl.DataFrame(rows, schema=names, orient="row", infer_schema_length=None)


def samples(users: int = 3, length: int = 8) -> list[SampleUser]:
    draw = random.Random(7)

    def listed(weight: float) -> list[RecommendedItem]:
        shares = _EXPOSURE[("two_tower", weight)]
        films = draw.sample(_FILMS, length)
        return [
            RecommendedItem(draw.randrange(1682), film, bucket, draw.sample(_FILMS, 2), hit=bucket == "mid")
            for film, bucket in zip(films, draw.choices(BUCKETS, shares, k=length), strict=True)
        ]

    return [
        SampleUser(
            draw.randrange(943),
            draw.sample(_FILMS, 6),
            {weight: listed(weight) for weight in WEIGHTS},
            chosen_as="the most clicks",
            clicks=draw.randrange(6, 300),
        )
        for _ in range(users)
    ]


def report_data(**changes: object) -> ReportData:
    """Return the whole example, with the fields in `changes` replaced."""
    fields: dict[str, object] = {
        "title": "Two-tower retrieval on MovieLens-100K",
        "dataset": "movielens_100k",
        "as_of": dt.date(1998, 4, 22),
        "model_version": "towers-4f2c91ab",
        "served_popularity_weight": 1.0,
        "hold_out": "per user, the last 20 % of clicks by time; every item not in training is ranked",
        "data_notes": ["A rating of 4 or 5 counts as a click, a lower one as shown and not liked."],
        "metrics": metrics(),
        "exposure": exposure(),
        "lorenz": lorenz(),
        "categories": categories(),
        "popularity_diagnostics": diagnostics(),
        "curves": curves(),
        "index_quality": index_quality(),
        "differences": differences(),
        "predecessor_version": "towers-1b77e0d3",
        "samples": samples(),
        "samples_rule": "These users clicked most.",
        "settings": [
            Setting("temperature", "0.2", "0.2", "Scores in the loss are cosines divided by this temperature."),
            Setting("item_bias", "True", "False", "Learn an additive bias of each item."),
        ],
        "window": (dt.date(1997, 9, 20), dt.date(1998, 4, 22)),
        "lineage": [
            LineageEntry("training_pairs", "7c1e0b", 214, "80,367 pairs, window of 215 days"),
            LineageEntry("tower_checkpoint", "4f2c91ab", 219, "recipe logq_mixed, seed 17"),
            LineageEntry("code", "0.1.0", None, "Python 3.11, torch 2.13"),
        ],
        "counts": {"users": 943, "items": 1682, "training_pairs": 80_367, "test_clicks": 19_633, "days": 215},
    }
    return ReportData(**{**fields, **changes})  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def example() -> SimpleNamespace:
    """The functions above, for tests to call."""
    return SimpleNamespace(
        metrics=metrics,
        exposure=exposure,
        lorenz=lorenz,
        categories=categories,
        many_categories=many_categories,
        diagnostics=diagnostics,
        curves=curves,
        index_quality=index_quality,
        differences=differences,
        samples=samples,
        report_data=report_data,
    )

"""The metrics of the report on a model."""

from __future__ import annotations

from twotower_assets.lake.tables.declaration import (
    BUCKET,
    DIAGNOSTICS,
    METRIC,
    MODEL,
    MODEL_VERSION,
    POPULARITY_WEIGHT,
    Column,
    Table,
    count,
    day,
    metric,
    share,
)

_REPORT_DAY = day("The last day of the reported model's trailing window.")

REPORTS = (
    Table(
        "model_metrics",
        "Ranking and popularity metrics on the hold-out: one row per model, γ, metric, k and bucket.",
        (
            _REPORT_DAY,
            MODEL_VERSION,
            MODEL,
            POPULARITY_WEIGHT,
            *METRIC,
            *(metric(name) for name in ("value", "low", "high", "users")),
        ),
        ("day", "model", "popularity_weight", "metric", "k", "bucket"),
    ),
    Table(
        "exposure_by_bucket",
        "The exposure of popular and less popular items: one row per model, γ and popularity bucket.",
        (
            _REPORT_DAY,
            MODEL_VERSION,
            MODEL,
            POPULARITY_WEIGHT,
            BUCKET,
            share("exposure_share", "Share of the positions in the top-20 lists."),
            share("click_share", "Share of the training clicks."),
            share("catalogue_share", "Share of the catalogue's items."),
        ),
        ("day", "model", "popularity_weight", "bucket"),
    ),
    Table(
        "category_coverage",
        "Which categories the top-20 lists reach, at the served γ: one row per category.",
        (
            _REPORT_DAY,
            MODEL_VERSION,
            Column("category", "VARCHAR", "Leaf category."),
            count("items", "Items in the category."),
            count("items_recommended", "Items in at least one list."),
            share("exposure_share", "Share of the positions in the lists."),
            share("click_share", "Share of the training clicks."),
        ),
        ("day", "category"),
    ),
    Table(
        "popularity_diagnostics",
        "How much popularity the score lacks: one row per γ.",
        (
            _REPORT_DAY,
            MODEL_VERSION,
            POPULARITY_WEIGHT,
            *DIAGNOSTICS,
        ),
        ("day", "popularity_weight"),
    ),
)

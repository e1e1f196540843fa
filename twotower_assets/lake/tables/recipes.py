"""Trainings that compare recipes, and their comparison."""

from __future__ import annotations

from dataclasses import replace

from twotower_assets.lake.tables.declaration import (
    DIAGNOSTICS,
    METRIC,
    NEGATIVE_COUNTS,
    Column,
    Table,
    count,
    metric,
    share,
)

_RECIPE = Column("recipe", "VARCHAR", "The recipe; one partition.")
_SEED = Column("seed", "BIGINT", "Training seed; 0 where the recipe could not be trained.", minimum=0)
_COMPARED_GAMMA = replace(metric("popularity_weight", "γ of the score."), nullable=False)

RECIPES = (
    Table(
        "negative_sampling_runs",
        "Trainings that compare recipes: one row per recipe and seed; one row with a reason where a recipe cannot be "
        "trained on this data set.",
        (
            _RECIPE,
            _SEED,
            Column("status", "VARCHAR", "Whether it was trained.", values=("trained", "not applicable")),
            Column("reason", "VARCHAR", "Why it is not applicable.", nullable=True),
            Column("model_day", "DATE", "The day as of which it was trained."),
            Column("lake_snapshot", "BIGINT", "Lake snapshot that it was trained on.", minimum=0),
            Column(
                "data_fingerprint", "VARCHAR", "Changes with the pairs, hold-out and catalogue; equal where comparable."
            ),
            Column("settings", "JSON", "Every training setting."),
            Column("changes", "JSON", "The settings that the run gave over those of the recipe."),
            replace(_COMPARED_GAMMA, description="γ that it was validated and compared at."),
            Column("popularity_from", "VARCHAR", "What log q of γ is taken of.", values=("clicks", "impressions")),
            Column("trained_popularity_weight", "DOUBLE", "γ₀ of the recipe.", nullable=True),
            Column("trained_weight_is_known", "BOOLEAN", "Whether γ₀ follows from the recipe.", nullable=True),
            Column("inverse_temperature", "DOUBLE", "1/τ after training.", nullable=True, minimum=0),
            Column("epochs", "BIGINT", "Epochs trained.", nullable=True, minimum=1),
            Column("best_epoch", "BIGINT", "The epoch that was kept.", nullable=True, minimum=1),
            Column(
                "loss", "DOUBLE", "Loss of that epoch; comparable between seeds, not between recipes.", nullable=True
            ),
            share("validation_metric", "recall@20 on the validation part, of the epoch kept.", nullable=True),
            Column(
                "seconds",
                "DOUBLE",
                "Time of training, without validation, with that of a mined model.",
                nullable=True,
                minimum=0,
            ),
            Column("pairs_per_second", "DOUBLE", "Training throughput.", nullable=True, minimum=0),
            share("repeat_share", "Share of batch places that repeat a user of the same batch.", nullable=True),
            *(replace(column, nullable=True) for column in NEGATIVE_COUNTS),
            Column("run_id", "VARCHAR", "Dagster run that trained it."),
            Column("code_version", "VARCHAR", "Version of the code that trained it."),
        ),
        ("recipe", "seed"),
    ),
    Table(
        "negative_sampling_metrics",
        "Ranking and popularity metrics of the compared trainings on the test part: one row per recipe, seed, γ, "
        "metric, k and bucket.",
        (
            _RECIPE,
            _SEED,
            _COMPARED_GAMMA,
            *METRIC,
            metric("value"),
            metric("users"),
        ),
        ("recipe", "seed", "popularity_weight", "metric", "k", "bucket"),
    ),
    Table(
        "negative_sampling_user_metrics",
        "The same per user, at the served γ, mean over seeds: what recipes are compared by, pair by pair.",
        (
            _RECIPE,
            *METRIC,
            Column("user_id", "VARCHAR", "The user."),
            replace(metric("value", "Mean over the seeds."), nullable=False),
        ),
        ("recipe", "metric", "k", "bucket", "user_id"),
    ),
    Table(
        "negative_sampling_diagnostics",
        "How much popularity the scores of the compared trainings miss: one row per recipe, seed and γ.",
        (
            _RECIPE,
            _SEED,
            _COMPARED_GAMMA,
            *DIAGNOSTICS,
        ),
        ("recipe", "seed", "popularity_weight"),
    ),
    Table(
        "negative_sampling_comparison",
        "Every recipe beside the baseline recipe, at the served γ: one row per recipe, metric, k and bucket.",
        (
            _RECIPE,
            *METRIC,
            Column("baseline", "VARCHAR", "The recipe that it is compared with."),
            metric("value", "Mean over users and seeds, or the value for the whole catalogue."),
            metric("low"),
            metric("high"),
            Column(
                "seed_deviation", "DOUBLE", "Standard deviation over seeds; null for one.", nullable=True, minimum=0
            ),
            Column(
                "gain_percent",
                "DOUBLE",
                "Gain over the baseline in percent of it, over the users that both have; null for the baseline, and "
                "where its value is 0.",
                nullable=True,
            ),
            Column(
                "gain_low",
                "DOUBLE",
                "Lower end of its 95 % bootstrap interval, paired by user; null where the metric is none of users.",
                nullable=True,
            ),
            Column("gain_high", "DOUBLE", "Upper end.", nullable=True),
            metric("users"),
            count("seeds", "Trainings that the mean is over."),
        ),
        ("recipe", "metric", "k", "bucket"),
    ),
)

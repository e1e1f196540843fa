"""Training runs of the recipes under comparison, and the comparison."""

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
        "Training runs of the compared recipes: one row per recipe and seed; one row with a reason if a recipe cannot "
        "be trained on this data set.",
        (
            _RECIPE,
            _SEED,
            Column("status", "VARCHAR", "Whether it was trained.", values=("trained", "not applicable")),
            Column("reason", "VARCHAR", "Why it is not applicable.", nullable=True),
            Column("model_day", "DATE", "The last day of its trailing window."),
            Column("lake_snapshot", "BIGINT", "Lake snapshot that it was trained on.", minimum=0),
            Column(
                "data_fingerprint", "VARCHAR", "Hash of the pairs, hold-out and catalogue; equal for comparable runs."
            ),
            Column("settings", "JSON", "Every training setting."),
            Column("changes", "JSON", "The settings of the run that override the recipe's."),
            replace(_COMPARED_GAMMA, description="γ at which it was validated and compared."),
            Column("popularity_from", "VARCHAR", "What log q counts.", values=("clicks", "impressions")),
            Column("trained_popularity_weight", "DOUBLE", "γ₀ of the recipe.", nullable=True),
            Column("trained_weight_is_known", "BOOLEAN", "Whether γ₀ follows from the recipe.", nullable=True),
            Column("inverse_temperature", "DOUBLE", "1/τ after training.", nullable=True, minimum=0),
            Column("epochs", "BIGINT", "Epochs trained.", nullable=True, minimum=1),
            Column("best_epoch", "BIGINT", "The epoch whose weights were kept.", nullable=True, minimum=1),
            Column(
                "loss", "DOUBLE", "Loss of that epoch; comparable between seeds, not between recipes.", nullable=True
            ),
            share("validation_metric", "recall@20 on the validation split, of the best epoch.", nullable=True),
            Column(
                "seconds",
                "DOUBLE",
                "Training time without validation; includes the model that negatives are mined from.",
                nullable=True,
                minimum=0,
            ),
            Column("pairs_per_second", "DOUBLE", "Training throughput.", nullable=True, minimum=0),
            share("repeat_share", "Share of pairs whose user already had a pair in the same batch.", nullable=True),
            *(replace(column, nullable=True) for column in NEGATIVE_COUNTS),
            Column("run_id", "VARCHAR", "Dagster run that trained it."),
            Column("code_version", "VARCHAR", "Version of the code that trained it."),
        ),
        ("recipe", "seed"),
    ),
    Table(
        "negative_sampling_metrics",
        "Ranking and popularity metrics of the compared trainings on the test split: one row per recipe, seed, γ, "
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
        "The same per user, at the served γ, mean over seeds: recipes are compared by these values, paired by user.",
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
        "How much popularity the scores of the compared trainings lack: one row per recipe, seed and γ.",
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
        "Every recipe compared with the baseline recipe, at the served γ: one row per recipe, metric, k and bucket.",
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
                "Gain over the baseline in percent, over the users with a value for both; null for the baseline, and "
                "if its value is 0.",
                nullable=True,
            ),
            Column(
                "gain_low",
                "DOUBLE",
                "Lower end of its 95 % bootstrap interval, paired by user; null for metrics of the whole catalogue.",
                nullable=True,
            ),
            Column("gain_high", "DOUBLE", "Upper end.", nullable=True),
            metric("users"),
            count("seeds", "Trainings that the mean is over."),
        ),
        ("recipe", "metric", "k", "bucket"),
    ),
)

"""The progress of training runs."""

from __future__ import annotations

from twotower_assets.lake.tables.declaration import MODEL_VERSION, NEGATIVE_COUNTS, Column, Table, day, share

TRAINING = (
    Table(
        "training_curves",
        "The progress of a training run: one row per epoch.",
        (
            day("The last day of the model's trailing window."),
            MODEL_VERSION,
            Column("epoch", "BIGINT", "From 1.", minimum=1),
            Column("loss", "DOUBLE", "Mean training loss of the epoch, in nats."),
            share(
                "validation_metric", "recall@20 on the validation split; null without validation clicks.", nullable=True
            ),
            Column("pairs_per_second", "DOUBLE", "Training throughput.", minimum=0),
            Column("seconds", "DOUBLE", "Wall-clock time of the epoch.", minimum=0),
            share("repeat_share", "Share of pairs whose user already had a pair in the same batch."),
            *NEGATIVE_COUNTS,
        ),
        ("day", "epoch"),
    ),
)

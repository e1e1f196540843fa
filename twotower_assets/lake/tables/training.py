"""How trainings went."""

from __future__ import annotations

from twotower_assets.lake.tables.declaration import MODEL_VERSION, NEGATIVE_COUNTS, Column, Table, day, share

TRAINING = (
    Table(
        "training_curves",
        "How a training went: one row per epoch.",
        (
            day("The day as of which the model was trained."),
            MODEL_VERSION,
            Column("epoch", "BIGINT", "From 1.", minimum=1),
            Column("loss", "DOUBLE", "Mean training loss of the epoch, in nats."),
            share("validation_metric", "recall@20 on the validation part; null without one.", nullable=True),
            Column("pairs_per_second", "DOUBLE", "Training throughput.", minimum=0),
            Column("seconds", "DOUBLE", "Wall-clock time of the epoch.", minimum=0),
            share("repeat_share", "Share of batch places that repeat a user of the same batch."),
            *NEGATIVE_COUNTS,
        ),
        ("day", "epoch"),
    ),
)

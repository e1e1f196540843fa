"""Embeddings, the index over them, the champion, and the decisions on it."""

from __future__ import annotations

from twotower_assets.lake.tables.declaration import (
    MODEL_VERSION,
    POPULARITY_WEIGHT,
    Column,
    Table,
    day,
    item,
    metric,
    share,
    user,
)

DECISIONS = ("promoted", "refused", "promoted by hand", "rolled back")
"""The possible decisions on a version."""


_EMBEDDING = Column("embedding", "FLOAT[]", "The tower's output, of length 1.")
_INVERSE_TEMPERATURE = Column(
    "inverse_temperature", "FLOAT", "1/τ: multiplies the inner product in a score.", minimum=0
)
_TRAINED_WEIGHT = Column(
    "trained_popularity_weight",
    "FLOAT",
    "γ₀: how much popularity the trained score already contains.",
)
_WEIGHT_IS_KNOWN = Column(
    "trained_weight_is_known",
    "BOOLEAN",
    "Whether γ₀ follows from the recipe; if not, it is γ₀ without the uncorrected negatives, and γ is relative.",
)
_BIAS = Column("bias", "FLOAT", "Learned additive bias of the item; 0 where the recipe learns none.")
_LOG_Q = Column(
    "log_q",
    "FLOAT",
    "Natural logarithm of the item's share of the training clicks (or impressions, as set), clipped from below for "
    "unseen items.",
    maximum=0,
)
_ITEM_VECTORS = (
    item("items.item_id", "training_pairs.item_id"),
    _EMBEDDING,
    _BIAS,
    _LOG_Q,
    MODEL_VERSION,
    _INVERSE_TEMPERATURE,
    _TRAINED_WEIGHT,
    _WEIGHT_IS_KNOWN,
)
_USER_VECTORS = (
    user("users.user_id", "impressions.user_id"),
    _EMBEDDING,
    MODEL_VERSION,
    _INVERSE_TEMPERATURE,
    _TRAINED_WEIGHT,
    _WEIGHT_IS_KNOWN,
)

SERVING = (
    Table(
        "item_embeddings",
        "Item vectors of that day's model: one row per item of the catalogue. "
        "score = inverse_temperature·⟨user, item⟩ + bias + (γ − trained_popularity_weight)·log_q.",
        (day("The last day of the model's trailing window."), *_ITEM_VECTORS),
        ("day", "item_id"),
    ),
    Table(
        "user_embeddings",
        "User vectors of that day's model, from the history up to the end of the day: one row per user.",
        (day("The last day of the model's trailing window."), *_USER_VECTORS),
        ("day", "user_id"),
    ),
    Table(
        "ann_index_quality",
        "Measured recall and speed of each index: one row per index and popularity weight.",
        (
            day("The day of the model."),
            Column("index_version", "VARCHAR", "Version (content hash) of the index."),
            MODEL_VERSION,
            Column("factory", "VARCHAR", "FAISS index-factory string."),
            POPULARITY_WEIGHT,
            Column("k", "BIGINT", "Length of the compared lists.", minimum=1),
            share("recall_at_k", "Share of the exact top k that the index finds, mean over the queries."),
            Column("queries_per_second", "DOUBLE", "Measured search speed.", minimum=0),
            Column("queries", "BIGINT", "Queries measured.", minimum=1),
        ),
        ("day", "popularity_weight"),
    ),
    Table(
        "ann_index_depths",
        "Recall and speed of each index at every measured search depth, including the chosen one.",
        (
            day("The day of the model."),
            Column("index_version", "VARCHAR", "Version (content hash) of the index."),
            MODEL_VERSION,
            Column("factory", "VARCHAR", "FAISS index-factory string."),
            Column(
                "search_depth",
                "BIGINT",
                "efSearch of a graph, nprobe of an inverted file; null for an exact index.",
                nullable=True,
                minimum=1,
            ),
            POPULARITY_WEIGHT,
            Column("k", "BIGINT", "Length of the compared lists.", minimum=1),
            share("recall_at_k", "Share of the exact top k that the index finds, mean over the queries."),
            Column("queries_per_second", "DOUBLE", "Measured search speed.", minimum=0),
            Column("queries", "BIGINT", "Queries measured.", minimum=1),
            Column("threads", "BIGINT", "Threads that searched.", minimum=1),
            Column("chosen", "BOOLEAN", "Whether the index is searched at this depth."),
        ),
        ("day", "search_depth", "popularity_weight"),
    ),
    Table(
        "embedding_drift",
        "How far item vectors moved between two versions, whose spaces were first aligned (orthogonal "
        "Procrustes on the items of both): one row per pair of versions and item of both.",
        (
            day("The day of the later model."),
            MODEL_VERSION,
            Column("other_version", "VARCHAR", "The earlier version, or the champion, that it is compared with."),
            item("item_embeddings.item_id"),
            Column(
                "cosine",
                "DOUBLE",
                "Cosine of the item's two aligned vectors; 1 if it did not move.",
                minimum=-1 - 1e-6,
                maximum=1 + 1e-6,
                derived_from=("item_embeddings.embedding",),
            ),
            share(
                "neighbours_kept",
                "Share of the item's 20 nearest neighbours by cosine that are the same in both versions.",
                "item_embeddings.embedding",
            ),
        ),
        ("day", "model_version", "other_version", "item_id"),
    ),
    Table("served_item_embeddings", "Item vectors of the champion: what is served.", _ITEM_VECTORS, ("item_id",)),
    Table("served_user_embeddings", "User vectors of the champion: what is served.", _USER_VECTORS, ("user_id",)),
    Table(
        "champion",
        "Which version is served: one row.",
        (
            Column("model_day", "DATE", "The last day of the served model's trailing window."),
            MODEL_VERSION,
            Column("index_version", "VARCHAR", "Version of the served index."),
            Column("report_version", "VARCHAR", "Version of the report on it."),
            Column("promoted_at", "TIMESTAMP", "When it became the champion, UTC."),
            Column("reason", "VARCHAR", "The gates it passed, or who promoted it and why."),
        ),
        ("model_version",),
    ),
    Table(
        "champion_decisions",
        "Every decision on the champion: one row per version that was evaluated, or promoted or rolled back by hand, "
        "and time. A decision that repeats the last one on the same two versions is not written again.",
        (
            Column("decided_at", "TIMESTAMP", "When, UTC."),
            MODEL_VERSION,
            Column("model_day", "DATE", "The last day of its trailing window."),
            Column("index_version", "VARCHAR", "Version of its index.", nullable=True),
            Column("report_version", "VARCHAR", "Version of the report on it.", nullable=True),
            Column(
                "decision",
                "VARCHAR",
                "What was decided. For a roll-back, the version is the one served until then.",
                values=DECISIONS,
            ),
            Column(
                "reasons", "VARCHAR", "The gates passed and failed, with numbers; or the reason that a person gave."
            ),
            Column(
                "champion_before",
                "VARCHAR",
                "The champion at that time, against which it was evaluated; null if there was none.",
                nullable=True,
            ),
            Column("run_id", "VARCHAR", "Dagster run of the decision."),
        ),
        ("decided_at", "model_version"),
    ),
    Table(
        "version_comparisons",
        "A challenger compared with the champion at that time, on the same users, those of the challenger's "
        "hold-out, at the served γ: one row per metric.",
        (
            MODEL_VERSION,
            Column("other_version", "VARCHAR", "The version that it is compared with."),
            Column("hold_out_day", "DATE", "Day of the first version, on whose held-out clicks both are evaluated."),
            metric(
                "metric",
                "Name, as in the report; `category_recall` is the recall of the clicks on items of one category.",
            ),
            metric("k"),
            metric("bucket", "`all`, a popularity bucket, `beyond_head`, or the category of a `category_recall`."),
            metric("value", "Of the first: mean over users, or the value for the whole catalogue."),
            Column("other_value", "DOUBLE", "Of the other.", nullable=True),
            Column("difference", "DOUBLE", "value − other_value.", nullable=True),
            metric(
                "low",
                "Lower end of its 95 % bootstrap interval, paired by user; null for metrics that are not means over "
                "users.",
            ),
            metric("high"),
            metric("users", "Users that the means are over."),
        ),
        ("model_version", "other_version", "metric", "k", "bucket"),
    ),
)

"""The tables of the lake, each column declared once: name, type, meaning, what its values may be, where they come from.

Table creation, comments in the lake, the Dagster column schema, column lineage, the Great Expectations suites and
`docs/tables.md` all read these declarations. Nothing here opens a database.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

BUCKETS = ("head", "mid", "tail", "cold")
REJECTION_REASONS = (
    "user_id is missing",
    "item_id is missing",
    "shown_at is missing or no timestamp",
    "clicked is missing or neither true nor false",
    "shown_at lies in the future",
    "shown_at lies outside the partition",
    "weight is negative or not finite",
    "repeats a user, item and moment",
)
"""What `sql/cleaning/checked_impressions.sql` says."""
DECISIONS = ("promoted", "refused", "promoted by hand", "rolled back")
"""What may be decided of a version."""


@dataclass(frozen=True)
class Column:
    """One column. `derived_from` names upstream columns as `table.column`; `minimum`/`maximum` are inclusive."""

    name: str
    type: str
    description: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None
    derived_from: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """One table. `grain` names the columns that identify a row; a table with a `day` column is replaced by day."""

    name: str
    description: str
    columns: tuple[Column, ...]
    grain: tuple[str, ...] = field(default=())

    @property
    def daily(self) -> bool:
        """Whether the table is partitioned by `day`."""
        return self.columns[0].name == "day"

    @property
    def column_names(self) -> list[str]:
        """The names, in order."""
        return [column.name for column in self.columns]

    def __getitem__(self, name: str) -> Column:
        """The column of that name; `KeyError` if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name} has no column {name}")


def _day(meaning: str = "The UTC day; one daily partition.", source: str = "") -> Column:
    return Column("day", "DATE", meaning, derived_from=(source,) if source else ())


def _user(*sources: str) -> Column:
    return Column("user_id", "VARCHAR", "The user.", derived_from=sources)


def _item(*sources: str) -> Column:
    return Column("item_id", "VARCHAR", "The item.", derived_from=sources)


_SHOWN_AT = Column("shown_at", "TIMESTAMP", "When the item was shown to the user, UTC.")
_CLICKED = Column("clicked", "BOOLEAN", "Whether the user clicked the item that was shown.")
_CONTEXT = Column("context", "VARCHAR", "Where it was shown: query, tab, slot, …", nullable=True)
_FEATURES = Column(
    "features", "MAP(VARCHAR, VARCHAR)", "Further columns of the source, as text by name.", nullable=True
)
_VERSION = Column("model_version", "VARCHAR", "Version (content hash) of the checkpoint.")
_EMBEDDING = Column("embedding", "FLOAT[]", "The tower's output, of length 1.")
_INVERSE_TEMPERATURE = Column(
    "inverse_temperature", "FLOAT", "1/τ: multiplies the inner product in a score.", minimum=0
)
_TRAINED_WEIGHT = Column(
    "trained_popularity_weight",
    "FLOAT",
    "γ₀: how much popularity the trained score holds already.",
)
_WEIGHT_IS_KNOWN = Column(
    "trained_weight_is_known",
    "BOOLEAN",
    "Whether γ₀ follows from the recipe; where not, it is that of the recipe without its margins, and γ is relative.",
)
_BIAS = Column("bias", "FLOAT", "Learned additive bias of the item; 0 where the recipe learns none.")
_LOG_Q = Column(
    "log_q",
    "FLOAT",
    "Natural logarithm of the item's share of the training clicks (or impressions, as set), clipped from below for "
    "unseen items.",
    maximum=0,
)
_GAMMA = Column(
    "popularity_weight",
    "DOUBLE",
    "γ of the served score; null for baselines.",
    nullable=True,
    minimum=0,
    maximum=1,
)
_BUCKET = Column("bucket", "VARCHAR", "Popularity bucket by cumulative share of clicks.", values=BUCKETS)
_MODEL = Column("model", "VARCHAR", "`two_tower` or a baseline.", values=("two_tower", "most_popular", "ease"))


def _share(name: str, description: str, *sources: str, nullable: bool = False) -> Column:
    return Column(name, "DOUBLE", description, nullable=nullable, minimum=0, maximum=1 + 1e-9, derived_from=sources)


def _count(name: str, description: str, *sources: str, type_: str = "BIGINT") -> Column:
    return Column(name, type_, description, minimum=0, derived_from=sources)


_LEFT_AND_MASKED = (
    Column("negatives_per_positive", "DOUBLE", "Negatives that a pair had left after masking, on average.", minimum=0),
    Column("masked_accidental_hits", "DOUBLE", "Masked per pair: the positive's own item again.", minimum=0),
    Column("masked_clicked", "DOUBLE", "Masked per pair: other items that the user clicked.", minimum=0),
    Column("masked_same_request", "DOUBLE", "Masked per pair: clicks of the same request.", minimum=0),
    Column("masked_positive_aware", "DOUBLE", "Masked per pair: cosines too near to the positive's.", minimum=0),
)

SOURCES = (
    Table(
        "impressions",
        "The cleaned log: one item shown to one user at one moment, clicked or not.",
        (
            _day("The UTC day of `shown_at`; one daily partition."),
            _user(),
            _item(),
            _SHOWN_AT,
            _CLICKED,
            Column("request_id", "VARCHAR", "Groups the items of one page or response.", nullable=True),
            _CONTEXT,
            Column("position", "INTEGER", "Place in the list that was shown.", nullable=True),
            Column(
                "weight",
                "DOUBLE",
                "Weight of the row in training; null counts as 1.",
                nullable=True,
                minimum=0,
            ),
        ),
        ("user_id", "item_id", "shown_at"),
    ),
    Table(
        "rejected_impressions",
        "Rows of the raw log that were not taken, each with the reason.",
        (
            _day("The UTC day whose materialization rejected the row."),
            Column("reason", "VARCHAR", "Why the row was rejected.", values=REJECTION_REASONS),
            Column("user_id", "VARCHAR", "The user as found.", nullable=True),
            Column("item_id", "VARCHAR", "The item as found.", nullable=True),
            Column("shown_at", "VARCHAR", "The timestamp as found.", nullable=True),
            Column("clicked", "VARCHAR", "The click flag as found.", nullable=True),
        ),
    ),
    Table(
        "items",
        "The catalogue: one row an item.",
        (
            _item(),
            Column("category", "VARCHAR", "Leaf category; `unknown` where the source has none."),
            Column("categories", "VARCHAR[]", "Category path, widest first.", nullable=True),
            Column("title", "VARCHAR", "A name that people can read.", nullable=True),
            Column("published_at", "TIMESTAMP", "When the item appeared, UTC.", nullable=True),
            _FEATURES,
        ),
        ("item_id",),
    ),
    Table("users", "One row a user; may be empty.", (_user(), _FEATURES), ("user_id",)),
)

FEATURES = (
    Table(
        "item_frequency_daily",
        "How often each item was shown and clicked on a day: one row an item and day with at least one impression.",
        (
            _day(source="impressions.day"),
            _item("impressions.item_id"),
            _count("impressions", "Times shown.", "impressions.item_id"),
            _count("clicks", "Times clicked.", "impressions.clicked"),
            _count("users", "Distinct users who saw it.", "impressions.user_id"),
            _count(
                "clicking_users",
                "Distinct users who clicked it.",
                "impressions.user_id",
                "impressions.clicked",
            ),
        ),
        ("day", "item_id"),
    ),
    Table(
        "item_frequency",
        "Popularity as of the end of a day, over the trailing window: one row an item shown in the window.",
        (
            _day("The day as of whose end the window is taken.", "item_frequency_daily.day"),
            _item("item_frequency_daily.item_id"),
            _count("impressions", "Times shown in the window.", "item_frequency_daily.impressions"),
            _count("clicks", "Times clicked in the window.", "item_frequency_daily.clicks"),
            _count(
                "decayed_impressions",
                "Impressions, each day halved per half-life.",
                "item_frequency_daily.impressions",
                type_="DOUBLE",
            ),
            _count(
                "decayed_clicks",
                "Clicks, each day halved per half-life.",
                "item_frequency_daily.clicks",
                type_="DOUBLE",
            ),
            _share(
                "q",
                "Share of the window's clicks; 0 on a window without clicks.",
                "item_frequency_daily.clicks",
            ),
            _share("decayed_q", "Share of the decayed clicks.", "item_frequency_daily.clicks"),
            Column(
                "popularity_rank",
                "BIGINT",
                "1 for the most clicked item; ties by impressions, then item_id.",
                minimum=1,
                derived_from=("item_frequency_daily.clicks", "item_frequency_daily.impressions"),
            ),
            _share(
                "cumulative_share",
                "Share of clicks of this and all higher ranks.",
                "item_frequency_daily.clicks",
            ),
            Column(
                "bucket",
                "VARCHAR",
                "head: the most popular items holding the first half of the clicks; mid: to 80 %; tail: the rest; "
                "cold: no click.",
                values=BUCKETS,
                derived_from=("item_frequency_daily.clicks",),
            ),
        ),
        ("day", "item_id"),
    ),
    Table(
        "exposure_log",
        "Shown and not clicked: one row a user, item, context and day. Items that the user clicked on that day or in "
        "the trailing window are left out; a later click never decides.",
        (
            _day(source="impressions.day"),
            _user("impressions.user_id"),
            _item("impressions.item_id"),
            Column(
                "context",
                "VARCHAR",
                "Where it was shown.",
                nullable=True,
                derived_from=("impressions.context",),
            ),
            Column(
                "request_id",
                "VARCHAR",
                "The request of the last of these times.",
                nullable=True,
                derived_from=("impressions.request_id", "impressions.shown_at"),
            ),
            Column(
                "times_shown",
                "BIGINT",
                "Times shown on that day without a click.",
                minimum=1,
                derived_from=("impressions.shown_at",),
            ),
            Column(
                "first_shown_at",
                "TIMESTAMP",
                "First of these times, UTC.",
                derived_from=("impressions.shown_at",),
            ),
            Column(
                "last_shown_at",
                "TIMESTAMP",
                "Last of these times, UTC.",
                derived_from=("impressions.shown_at",),
            ),
        ),
        ("day", "user_id", "item_id", "context"),
    ),
    Table(
        "category_map",
        "Item to category: one row an item.",
        (
            _item("items.item_id"),
            Column("category", "VARCHAR", "Leaf category.", derived_from=("items.category",)),
            Column(
                "category_index",
                "BIGINT",
                "Place of the category in alphabetical order, from 0.",
                minimum=0,
                derived_from=("items.category",),
            ),
            Column(
                "category_items",
                "BIGINT",
                "Items in the category.",
                minimum=1,
                derived_from=("items.category", "items.item_id"),
            ),
            Column(
                "path",
                "VARCHAR[]",
                "Categories from the widest to the leaf.",
                derived_from=("items.categories", "items.category"),
            ),
            Column("depth", "BIGINT", "Length of the path.", minimum=1, derived_from=("items.categories",)),
        ),
        ("item_id",),
    ),
    Table(
        "training_pairs",
        "The day's positives: one row a click, with what the user had clicked strictly before it.",
        (
            _day(source="impressions.day"),
            _user("impressions.user_id"),
            _item("impressions.item_id"),
            Column("clicked_at", "TIMESTAMP", "When, UTC.", derived_from=("impressions.shown_at",)),
            Column(
                "history",
                "VARCHAR[]",
                "Items the user clicked in the trailing window strictly before `clicked_at`, oldest first, the "
                "latest `history_length` of them.",
                derived_from=("impressions.item_id", "impressions.clicked", "impressions.shown_at"),
            ),
            Column(
                "request_id",
                "VARCHAR",
                "Groups the items of one page.",
                nullable=True,
                derived_from=("impressions.request_id",),
            ),
            Column("context", "VARCHAR", "Where it was.", nullable=True, derived_from=("impressions.context",)),
            Column("weight", "DOUBLE", "Weight in training.", minimum=0, derived_from=("impressions.weight",)),
        ),
        ("user_id", "item_id", "clicked_at"),
    ),
)

TRAINING = (
    Table(
        "training_curves",
        "How a training went: one row an epoch.",
        (
            _day("The day as of which the model was trained."),
            _VERSION,
            Column("epoch", "BIGINT", "From 1.", minimum=1),
            Column("loss", "DOUBLE", "Mean training loss of the epoch, in nats."),
            _share("validation_metric", "recall@20 on the validation part; null without one.", nullable=True),
            Column("pairs_per_second", "DOUBLE", "Training throughput.", minimum=0),
            Column("seconds", "DOUBLE", "Wall-clock time of the epoch.", minimum=0),
            _share("repeat_share", "Share of batch places that repeat a user of the same batch."),
            *_LEFT_AND_MASKED,
        ),
        ("day", "epoch"),
    ),
)

_ITEM_VECTORS = (
    _item("items.item_id", "training_pairs.item_id"),
    _EMBEDDING,
    _BIAS,
    _LOG_Q,
    _VERSION,
    _INVERSE_TEMPERATURE,
    _TRAINED_WEIGHT,
    _WEIGHT_IS_KNOWN,
)
_USER_VECTORS = (
    _user("users.user_id", "impressions.user_id"),
    _EMBEDDING,
    _VERSION,
    _INVERSE_TEMPERATURE,
    _TRAINED_WEIGHT,
    _WEIGHT_IS_KNOWN,
)

SERVING = (
    Table(
        "item_embeddings",
        "Item vectors of that day's model: one row an item of the catalogue. "
        "score = inverse_temperature·⟨user, item⟩ + bias + (γ − trained_popularity_weight)·log_q.",
        (_day("The day as of which the model was trained."), *_ITEM_VECTORS),
        ("day", "item_id"),
    ),
    Table(
        "user_embeddings",
        "User vectors of that day's model, from the history up to the end of the day: one row a user.",
        (_day("The day as of which the model was trained."), *_USER_VECTORS),
        ("day", "user_id"),
    ),
    Table(
        "ann_index_quality",
        "Measured recall and speed of each index: one row an index and popularity weight.",
        (
            _day("The day of the model."),
            Column("index_version", "VARCHAR", "Version (content hash) of the index."),
            _VERSION,
            Column("factory", "VARCHAR", "FAISS index-factory string."),
            _GAMMA,
            Column("k", "BIGINT", "Length of the compared lists.", minimum=1),
            _share("recall_at_k", "Share of the exact top k that the index finds, mean over the queries."),
            Column("queries_per_second", "DOUBLE", "Measured search speed.", minimum=0),
            Column("queries", "BIGINT", "Queries measured.", minimum=1),
        ),
        ("day", "popularity_weight"),
    ),
    Table(
        "ann_index_depths",
        "What search depth buys: recall and speed of each index at every depth measured, the chosen one among them.",
        (
            _day("The day of the model."),
            Column("index_version", "VARCHAR", "Version (content hash) of the index."),
            _VERSION,
            Column("factory", "VARCHAR", "FAISS index-factory string."),
            Column(
                "search_depth",
                "BIGINT",
                "efSearch of a graph, nprobe of an inverted file; null for an exact index.",
                nullable=True,
                minimum=1,
            ),
            _GAMMA,
            Column("k", "BIGINT", "Length of the compared lists.", minimum=1),
            _share("recall_at_k", "Share of the exact top k that the index finds, mean over the queries."),
            Column("queries_per_second", "DOUBLE", "Measured search speed.", minimum=0),
            Column("queries", "BIGINT", "Queries measured.", minimum=1),
            Column("threads", "BIGINT", "Threads that searched.", minimum=1),
            Column("chosen", "BOOLEAN", "Whether the index is searched at this depth."),
        ),
        ("day", "search_depth", "popularity_weight"),
    ),
    Table(
        "embedding_drift",
        "How far item vectors moved between two versions, whose spaces were first turned onto each other (orthogonal "
        "Procrustes on the items that both know): one row a pair of versions and item of both.",
        (
            _day("The day of the later model."),
            _VERSION,
            Column("other_version", "VARCHAR", "The earlier version, or the champion, that it is compared with."),
            _item("item_embeddings.item_id"),
            Column(
                "cosine",
                "DOUBLE",
                "Between the item's two vectors, aligned; 1: it did not move.",
                minimum=-1 - 1e-6,
                maximum=1 + 1e-6,
                derived_from=("item_embeddings.embedding",),
            ),
            _share(
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
            Column("model_day", "DATE", "The day as of which the served model was trained."),
            _VERSION,
            Column("index_version", "VARCHAR", "Version of the served index."),
            Column("report_version", "VARCHAR", "Version of the report on it."),
            Column("promoted_at", "TIMESTAMP", "When it became the champion, UTC."),
            Column("reason", "VARCHAR", "What it passed, or who promoted it and why."),
        ),
        ("model_version",),
    ),
    Table(
        "champion_decisions",
        "Every decision on what is served: one row a version that was judged, or promoted or rolled back by hand, at a "
        "time. A verdict that is the same as the last one on the same two versions is not written again.",
        (
            Column("decided_at", "TIMESTAMP", "When, UTC."),
            _VERSION,
            Column("model_day", "DATE", "The day as of which it was trained."),
            Column("index_version", "VARCHAR", "Version of its index.", nullable=True),
            Column("report_version", "VARCHAR", "Version of the report on it.", nullable=True),
            Column(
                "decision",
                "VARCHAR",
                "What was decided; of a roll-back, the row is of the version that was served until then.",
                values=DECISIONS,
            ),
            Column("reasons", "VARCHAR", "What held and what failed, with numbers; or what a person gave as reason."),
            Column(
                "champion_before",
                "VARCHAR",
                "Version that was served at that moment, which it was judged against; null where none was.",
                nullable=True,
            ),
            Column("run_id", "VARCHAR", "Dagster run that decided."),
        ),
        ("decided_at", "model_version"),
    ),
    Table(
        "version_comparisons",
        "A challenger beside the champion that it was judged against, on the same users, those of the challenger's "
        "hold-out, at the served γ: one row a metric.",
        (
            _VERSION,
            Column("other_version", "VARCHAR", "The version that it is compared with."),
            Column("hold_out_day", "DATE", "Day of the first version, on whose held-out clicks both are judged."),
            Column(
                "metric",
                "VARCHAR",
                "Name, as in the report; `category_recall` is the recall of the clicks on items of one category.",
            ),
            Column("k", "BIGINT", "Length of the recommendation lists.", minimum=1),
            Column(
                "bucket",
                "VARCHAR",
                "`all`, a popularity bucket, `beyond_head`, or the category of a `category_recall`.",
            ),
            Column(
                "value", "DOUBLE", "Of the first: mean over users, or the value for the whole catalogue.", nullable=True
            ),
            Column("other_value", "DOUBLE", "Of the other.", nullable=True),
            Column("difference", "DOUBLE", "value − other_value.", nullable=True),
            Column(
                "low",
                "DOUBLE",
                "Lower end of its 95 % bootstrap interval, users being drawn as pairs; null where it is no mean over "
                "users.",
                nullable=True,
            ),
            Column("high", "DOUBLE", "Upper end.", nullable=True),
            _count("users", "Users that the means are over."),
        ),
        ("model_version", "other_version", "metric", "k", "bucket"),
    ),
)

_METRIC = (
    Column("metric", "VARCHAR", "Name; every metric is defined in the report."),
    Column("k", "BIGINT", "Length of the recommendation lists.", minimum=1),
    Column("bucket", "VARCHAR", "`all`, a popularity bucket, or `beyond_head` (mid, tail and cold together)."),
)
_DIAGNOSTICS = (
    Column(
        "delta",
        "DOUBLE",
        "Missing popularity δ, fitted on held-out clicks under softmax(s + δ·log q); null where the clicks do "
        "not determine it.",
        nullable=True,
    ),
    Column("delta_low", "DOUBLE", "Lower end of its 95 % bootstrap interval over users.", nullable=True),
    Column("delta_high", "DOUBLE", "Upper end.", nullable=True),
    Column("slope", "DOUBLE", "Mean over users of the slope of the score on log q.", nullable=True),
    Column(
        "pmi_correlation",
        "DOUBLE",
        "Correlation with PMI between user segments and items over cells with at least 20 clicks.",
        nullable=True,
        minimum=-1,
        maximum=1,
    ),
)
_REPORT_DAY = _day("The day as of which the reported model was trained.")

REPORTS = (
    Table(
        "model_metrics",
        "Ranking and popularity metrics on the hold-out: one row a model, γ, metric, k and bucket.",
        (
            _REPORT_DAY,
            _VERSION,
            _MODEL,
            _GAMMA,
            *_METRIC,
            Column("value", "DOUBLE", "Mean over users, or the value for the whole catalogue.", nullable=True),
            Column("low", "DOUBLE", "Lower end of the 95 % bootstrap interval over users.", nullable=True),
            Column("high", "DOUBLE", "Upper end.", nullable=True),
            _count("users", "Users that the mean is over."),
        ),
        ("day", "model", "popularity_weight", "metric", "k", "bucket"),
    ),
    Table(
        "exposure_by_bucket",
        "Who gets the exposure: one row a model, γ and popularity bucket.",
        (
            _REPORT_DAY,
            _VERSION,
            _MODEL,
            _GAMMA,
            _BUCKET,
            _share("exposure_share", "Share of the places in the top-20 lists."),
            _share("click_share", "Share of the training clicks."),
            _share("catalogue_share", "Share of the catalogue's items."),
        ),
        ("day", "model", "popularity_weight", "bucket"),
    ),
    Table(
        "category_coverage",
        "Which categories the top-20 lists reach, at the served γ: one row a category.",
        (
            _REPORT_DAY,
            _VERSION,
            Column("category", "VARCHAR", "Leaf category."),
            _count("items", "Items in the category."),
            _count("items_recommended", "Items in at least one list."),
            _share("exposure_share", "Share of the places in the lists."),
            _share("click_share", "Share of the training clicks."),
        ),
        ("day", "category"),
    ),
    Table(
        "popularity_diagnostics",
        "How much popularity the score misses: one row a γ.",
        (
            _REPORT_DAY,
            _VERSION,
            _GAMMA,
            *_DIAGNOSTICS,
        ),
        ("day", "popularity_weight"),
    ),
)

_RECIPE = Column("recipe", "VARCHAR", "The recipe; one partition.")
_SEED = Column("seed", "BIGINT", "Training seed; 0 where the recipe could not be trained.", minimum=0)
_COMPARED_GAMMA = Column("popularity_weight", "DOUBLE", "γ of the score.", minimum=0, maximum=1)

RECIPES = (
    Table(
        "negative_sampling_runs",
        "Trainings that compare recipes: one row a recipe and seed; one row with a reason where a recipe cannot be "
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
            Column("popularity_weight", "DOUBLE", "γ that it was validated and compared at.", minimum=0, maximum=1),
            Column("popularity_from", "VARCHAR", "What log q of γ is taken of.", values=("clicks", "impressions")),
            Column("trained_popularity_weight", "DOUBLE", "γ₀ of the recipe.", nullable=True),
            Column("trained_weight_is_known", "BOOLEAN", "Whether γ₀ follows from the recipe.", nullable=True),
            Column("inverse_temperature", "DOUBLE", "1/τ after training.", nullable=True, minimum=0),
            Column("epochs", "BIGINT", "Epochs trained.", nullable=True, minimum=1),
            Column("best_epoch", "BIGINT", "The epoch that was kept.", nullable=True, minimum=1),
            Column(
                "loss", "DOUBLE", "Loss of that epoch; comparable between seeds, not between recipes.", nullable=True
            ),
            _share("validation_metric", "recall@20 on the validation part, of the epoch kept.", nullable=True),
            Column(
                "seconds",
                "DOUBLE",
                "Time of training, without validation, with that of a mined model.",
                nullable=True,
                minimum=0,
            ),
            Column("pairs_per_second", "DOUBLE", "Training throughput.", nullable=True, minimum=0),
            _share("repeat_share", "Share of batch places that repeat a user of the same batch.", nullable=True),
            *(replace(column, nullable=True) for column in _LEFT_AND_MASKED),
            Column("run_id", "VARCHAR", "Dagster run that trained it."),
            Column("code_version", "VARCHAR", "Version of the code that trained it."),
        ),
        ("recipe", "seed"),
    ),
    Table(
        "negative_sampling_metrics",
        "Ranking and popularity metrics of the compared trainings on the test part: one row a recipe, seed, γ, metric, "
        "k and bucket.",
        (
            _RECIPE,
            _SEED,
            _COMPARED_GAMMA,
            *_METRIC,
            Column("value", "DOUBLE", "Mean over users, or the value for the whole catalogue.", nullable=True),
            _count("users", "Users that the mean is over."),
        ),
        ("recipe", "seed", "popularity_weight", "metric", "k", "bucket"),
    ),
    Table(
        "negative_sampling_user_metrics",
        "The same per user, at the served γ, mean over seeds: what recipes are compared by, pair by pair.",
        (
            _RECIPE,
            *_METRIC,
            Column("user_id", "VARCHAR", "The user."),
            Column("value", "DOUBLE", "Mean over the seeds."),
        ),
        ("recipe", "metric", "k", "bucket", "user_id"),
    ),
    Table(
        "negative_sampling_diagnostics",
        "How much popularity the scores of the compared trainings miss: one row a recipe, seed and γ.",
        (
            _RECIPE,
            _SEED,
            _COMPARED_GAMMA,
            *_DIAGNOSTICS,
        ),
        ("recipe", "seed", "popularity_weight"),
    ),
    Table(
        "negative_sampling_comparison",
        "Every recipe beside the baseline recipe, at the served γ: one row a recipe, metric, k and bucket.",
        (
            _RECIPE,
            *_METRIC,
            Column("baseline", "VARCHAR", "The recipe that it is compared with."),
            Column(
                "value", "DOUBLE", "Mean over users and seeds, or the value for the whole catalogue.", nullable=True
            ),
            Column("low", "DOUBLE", "Lower end of the 95 % bootstrap interval over users.", nullable=True),
            Column("high", "DOUBLE", "Upper end.", nullable=True),
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
            _count("users", "Users that the mean is over."),
            _count("seeds", "Trainings that the mean is over."),
        ),
        ("recipe", "metric", "k", "bucket"),
    ),
)

ARTIFACTS = Table(
    "artifacts",
    "Checkpoints, indexes and reports: one row an artifact version.",
    (
        Column("asset", "VARCHAR", "The asset that made it."),
        Column("version", "VARCHAR", "Its version: the start of its content hash."),
        Column("model_day", "DATE", "The daily partition it belongs to."),
        Column("path", "VARCHAR", "Folder, relative to the home folder."),
        Column("content_hash", "VARCHAR", "SHA-256 over its files."),
        Column("created_at", "TIMESTAMP", "When, UTC."),
        Column("lake_snapshot", "BIGINT", "Lake snapshot that it was made from.", minimum=0),
        Column("code_version", "VARCHAR", "Version of the code that made it."),
        Column("run_id", "VARCHAR", "Dagster run that made it."),
        Column("recipe", "VARCHAR", "Training recipe.", nullable=True),
        Column("seed", "BIGINT", "Training seed.", nullable=True),
        Column("upstream", "JSON", "What it was made from: tables with days, artifacts with versions."),
        Column(
            "details",
            "JSON",
            "What else belongs to it: a checkpoint's hold-out, an index's kind, what a report measured.",
            nullable=True,
        ),
    ),
    ("asset", "version"),
)

ANALYSTS = (
    Table(
        "macro_help",
        "The views and table macros of the lake: one row each, from the comments of the files in `sql/analysts/`.",
        (
            Column("name", "VARCHAR", "Its name."),
            Column("kind", "VARCHAR", "Whether it takes arguments.", values=("view", "macro")),
            Column("signature", "VARCHAR", "How it is called."),
            Column("description", "VARCHAR", "What it is."),
            Column("arguments", "VARCHAR", "What each argument is.", nullable=True),
            Column("gives", "VARCHAR", "Its columns."),
            Column("errors", "VARCHAR", "What it refuses.", nullable=True),
            Column("example", "VARCHAR", "A statement that runs on any lake in which something is served."),
        ),
        ("name",),
    ),
    Table(
        "column_lineage",
        "Which columns the columns of tables are made from, as declared: one row a column and source.",
        (
            Column("table_name", "VARCHAR", "The table."),
            Column("column_name", "VARCHAR", "Its column."),
            Column("from_table", "VARCHAR", "The table that it is made from."),
            Column("from_column", "VARCHAR", "The column that it is made from."),
        ),
        ("table_name", "column_name", "from_table", "from_column"),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table for table in (*SOURCES, *FEATURES, *TRAINING, *SERVING, *REPORTS, *RECIPES, ARTIFACTS, *ANALYSTS)
}


def names(tables: Sequence[Table]) -> list[str]:
    """The names of `tables`, in order."""
    return [table.name for table in tables]

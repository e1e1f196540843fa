"""The log, its rejected rows, the catalogue and the users."""

from __future__ import annotations

from twotower_assets.lake.tables.declaration import Column, Table, day, item, user

ID_FAULTS = (
    "is missing",
    "is no whole number",
    "is no text in UTF-8",
    "is a float above 2^53, which is not exact",
    "holds a character of code 0",
    "has more than 1,000 characters",
)
"""What `sql/macros/id_fault.sql` says of an id."""
REJECTION_REASONS = (
    *(f"{column} {fault}" for column in ("user_id", "item_id") for fault in ID_FAULTS),
    "shown_at is missing or no timestamp",
    "clicked is missing or neither true nor false",
    "shown_at lies in the future",
    "shown_at lies before the earliest day",
    "shown_at lies outside the partition",
    "weight is negative or not finite",
    "repeats a user, item and moment",
)
"""The reasons that `sql/cleaning/checked_impressions.sql` gives."""
_SHOWN_AT = Column("shown_at", "TIMESTAMP", "When the item was shown to the user, UTC.")
_CLICKED = Column("clicked", "BOOLEAN", "Whether the user clicked the item that was shown.")
_CONTEXT = Column("context", "VARCHAR", "Where it was shown: query, tab, slot, …", nullable=True)
_FEATURES = Column(
    "features", "MAP(VARCHAR, VARCHAR)", "Further columns of the source, as text by name.", nullable=True
)
SOURCES = (
    Table(
        "impressions",
        "The cleaned log: one item shown to one user at one moment, clicked or not.",
        (
            day("The UTC day of `shown_at`; one daily partition."),
            user(),
            item(),
            _SHOWN_AT,
            _CLICKED,
            Column("request_id", "VARCHAR", "Groups the items of one page or response.", nullable=True),
            _CONTEXT,
            Column("position", "INTEGER", "Position in the list that was shown.", nullable=True),
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
        "Rejected rows of the raw log, each with the reason.",
        (
            day("The UTC day whose materialization rejected the row."),
            Column("reason", "VARCHAR", "Why the row was rejected.", values=REJECTION_REASONS),
            Column("user_id", "VARCHAR", "The user as found.", nullable=True),
            Column("item_id", "VARCHAR", "The item as found.", nullable=True),
            Column("shown_at", "VARCHAR", "The timestamp as found.", nullable=True),
            Column("clicked", "VARCHAR", "The click flag as found.", nullable=True),
        ),
    ),
    Table(
        "items",
        "The catalogue: one row per item.",
        (
            item(),
            Column("category", "VARCHAR", "Leaf category; `unknown` where the source has none."),
            Column("categories", "VARCHAR[]", "Category path, from the root to the leaf.", nullable=True),
            Column("title", "VARCHAR", "A readable name.", nullable=True),
            Column("published_at", "TIMESTAMP", "When the item appeared, UTC.", nullable=True),
            _FEATURES,
        ),
        ("item_id",),
    ),
    Table("users", "One row per user; may be empty.", (user(), _FEATURES), ("user_id",)),
)

"""The declaration of a table and of a column, and columns that several groups of tables share.

The tables themselves are in the modules beside this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from twotower_assets.core.buckets import BUCKETS
from twotower_assets.core.metric_rows import METRIC_COLUMNS

_SQL_TYPES = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE"}


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
        """The column with that name. Raises `KeyError` if there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"table {self.name} has no column {name}")


def names(tables: Sequence[Table]) -> list[str]:
    """The names of `tables`, in order."""
    return [table.name for table in tables]


def day(meaning: str = "The UTC day; one daily partition.", source: str = "") -> Column:
    """The partition of a daily table."""
    return Column("day", "DATE", meaning, derived_from=(source,) if source else ())


def user(*sources: str) -> Column:
    """A user's id, made from `sources`."""
    return Column("user_id", "VARCHAR", "The user.", derived_from=sources)


def item(*sources: str) -> Column:
    """An item's id, made from `sources`."""
    return Column("item_id", "VARCHAR", "The item.", derived_from=sources)


def share(name: str, description: str, *sources: str, nullable: bool = False) -> Column:
    """A number from 0 to 1, with a tolerance for rounding in sums of shares."""
    return Column(name, "DOUBLE", description, nullable=nullable, minimum=0, maximum=1 + 1e-9, derived_from=sources)


def count(name: str, description: str, *sources: str, type_: str = "BIGINT") -> Column:
    """A number that is not negative."""
    return Column(name, type_, description, minimum=0, derived_from=sources)


def metric(name: str, description: str | None = None) -> Column:
    """A column of `core.metric_rows.MetricRow`, with its declared description or the given one."""
    declared = METRIC_COLUMNS[name]
    return Column(
        name,
        _SQL_TYPES[declared.type],
        description or declared.description,
        declared.nullable,
        declared.minimum,
        declared.maximum,
        declared.values,
    )


MODEL_VERSION = Column("model_version", "VARCHAR", "Version (content hash) of the checkpoint.")
MODEL = metric("model")
POPULARITY_WEIGHT = metric("popularity_weight")
METRIC = (metric("metric"), metric("k"), metric("bucket"))
BUCKET = Column("bucket", "VARCHAR", "Popularity bucket by cumulative share of clicks.", values=BUCKETS)
NEGATIVE_COUNTS = (
    Column("negatives_per_positive", "DOUBLE", "Mean negatives per pair after masking.", minimum=0),
    Column("masked_accidental_hits", "DOUBLE", "Masked per pair: the positive's own item again.", minimum=0),
    Column("masked_clicked", "DOUBLE", "Masked per pair: other items that the user clicked.", minimum=0),
    Column("masked_same_request", "DOUBLE", "Masked per pair: clicks of the same request.", minimum=0),
    Column("masked_positive_aware", "DOUBLE", "Masked per pair: cosines too near to the positive's.", minimum=0),
)

DIAGNOSTICS = (
    Column(
        "delta",
        "DOUBLE",
        "Missing popularity δ, fitted on held-out clicks under softmax(s + δ·log q); null if the clicks do "
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

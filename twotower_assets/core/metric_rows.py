"""A row of metrics: its columns, declared once, and the list lengths k.

The tables of the lake, the frames of the report and the rows of the evaluation derive their columns from here.
How a metric is computed is in `evaluation`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, Final, get_args, get_type_hints

K: Final = 20
"""Length of the list shown to a user."""
WIDE_K: Final = 100
"""Length of the candidate list that retrieval passes to ranking; index recall is measured at it too."""
KS: Final = (K, WIDE_K)
MODELS: Final = ("two_tower", "most_popular", "ease")
"""The model, then the baselines."""


def _column(description: str, **facts: Any) -> Any:
    return field(metadata={"description": description, **facts})


@dataclass(frozen=True, slots=True)
class MetricRow:
    """One metric of one model. Undefined values are NaN here, and null in tables.

    Attributes:
        model: `two_tower` or a baseline.
        popularity_weight: γ of the served score; None for baselines.
        metric: its name, without the length.
        k: length of the lists.
        bucket: `all`, head, mid, tail, cold or `beyond_head`: what the relevant items are restricted to.
        value: the mean over users, or the catalogue's value for coverage and Gini; NaN if no user has a value.
        low: lower end of the bootstrap interval over users; NaN for coverage and Gini.
        high: upper end.
        users: users that the mean is over.
    """

    model: str = _column("`two_tower` or a baseline.", values=MODELS)
    popularity_weight: float | None = _column("γ of the served score; null for baselines.", minimum=0, maximum=1)
    metric: str = _column("Name; every metric is defined in the report.")
    k: int = _column("Length of the recommendation lists.", minimum=1)
    bucket: str = _column("`all`, a popularity bucket, or `beyond_head` (mid, tail and cold together).")
    value: float = _column("Mean over users, or the value for the whole catalogue.", nullable=True)
    low: float = _column("Lower end of the 95 % bootstrap interval over users.", nullable=True)
    high: float = _column("Upper end.", nullable=True)
    users: int = _column("Users that the mean is over.", minimum=0)


@dataclass(frozen=True, slots=True)
class MetricColumn:
    """The declaration of a `MetricRow` column; `type` is str, int or float, `minimum` and `maximum` are inclusive."""

    name: str
    type: type
    description: str
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None


def _declared() -> dict[str, MetricColumn]:
    hints = get_type_hints(MetricRow)
    columns = {}
    for column in fields(MetricRow):
        type_, *optional = get_args(hints[column.name]) or (hints[column.name],)
        columns[column.name] = MetricColumn(column.name, type_, **{"nullable": bool(optional), **column.metadata})
    return columns


METRIC_COLUMNS: Final = _declared()
"""The columns of `MetricRow` by name, in order."""

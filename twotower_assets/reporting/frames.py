"""The input tables of the charts and the report: their columns and types, and the validation of both.

Names and types of columns belong here. How the numbers are computed or drawn does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from twotower_assets.core.metric_rows import METRIC_COLUMNS

ColumnType = pl.DataType | type[pl.DataType]

_TYPES: dict[type, ColumnType] = {str: pl.String, int: pl.Int64, float: pl.Float64}


def _metric(*names: str) -> dict[str, ColumnType]:
    """Columns of a metric row with their types, from `core.metric_rows`."""
    return {name: _TYPES[METRIC_COLUMNS[name].type] for name in names}


@dataclass(frozen=True)
class Contract:
    """The columns of one table: `required` ones must be present, missing `optional` ones are filled with null."""

    name: str
    required: Mapping[str, ColumnType]
    optional: Mapping[str, ColumnType] = field(default_factory=dict)

    def conform(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return `frame` with the columns and types of the contract, and null for floats that are NaN or infinite.

        A frame without any column counts as an empty table. Columns outside the contract are dropped.

        Raises:
            ValueError: a required column is missing, or a column cannot be cast to its type.
        """
        types = {**self.required, **self.optional}
        if not frame.columns:
            return pl.DataFrame(schema=types)
        missing = [column for column in self.required if column not in frame.columns]
        if missing:
            raise ValueError(
                f"The report's table {self.name!r} lacks {', '.join(map(repr, missing))} "
                f"(it has: {', '.join(frame.columns)}). It needs: {', '.join(self.required)}."
            )
        try:
            return frame.select(
                (pl.col(name) if name in frame.columns else pl.lit(None).alias(name)).cast(dtype)
                for name, dtype in types.items()
            ).with_columns(
                pl.when(pl.col(name).is_finite()).then(pl.col(name)).alias(name)
                for name, dtype in types.items()
                if dtype == pl.Float64
            )
        except pl.exceptions.PolarsError as error:
            expected = ", ".join(f"{name} {dtype}" for name, dtype in types.items())
            raise ValueError(
                f"The report's table {self.name!r} has a column of the wrong type: {error}. Expected: {expected}."
            ) from error


METRICS = Contract(
    "metrics",
    _metric("model", "metric", "bucket", "value"),
    _metric("popularity_weight", "k", "low", "high", "users"),
)
EXPOSURE = Contract(
    "exposure",
    {**_metric("model", "bucket"), "exposure_share": pl.Float64},
    {**_metric("popularity_weight"), "click_share": pl.Float64, "catalogue_share": pl.Float64},
)
LORENZ = Contract("lorenz", {**_metric("model"), "item_share": pl.Float64, "exposure_share": pl.Float64})
CATEGORIES = Contract(
    "categories",
    {"category": pl.String, "items": pl.Int64, "items_recommended": pl.Int64},
    {"exposure_share": pl.Float64, "click_share": pl.Float64},
)
POPULARITY_DIAGNOSTICS = Contract(
    "popularity_diagnostics",
    {**_metric("popularity_weight"), "delta": pl.Float64},
    {
        "delta_low": pl.Float64,
        "delta_high": pl.Float64,
        "slope": pl.Float64,
        "pmi_correlation": pl.Float64,
    },
)
CURVES = Contract(
    "curves",
    {"epoch": pl.Int64, "loss": pl.Float64},
    {"validation_metric": pl.Float64, "pairs_per_second": pl.Float64},
)
DIFFERENCES = Contract(
    "differences",
    {"other": pl.String, **_metric("metric", "k", "bucket"), "difference": pl.Float64},
    {**_metric("value"), "other_value": pl.Float64, **_metric("low", "high", "users")},
)
INDEX_QUALITY = Contract(
    "index_quality",
    {**_metric("popularity_weight"), "recall_at_k": pl.Float64},
    {**_metric("k"), "queries_per_second": pl.Float64},
)

_LIST_METRIC = _metric("metric", "k", "bucket", "value")
RECIPE_RUNS = Contract(
    "negative_sampling_runs",
    {"recipe": pl.String, "seed": pl.Int64, "status": pl.String},
    {"reason": pl.String, "validation_metric": pl.Float64, "seconds": pl.Float64},
)
RECIPE_METRICS = Contract(
    "negative_sampling_metrics",
    {"recipe": pl.String, **_metric("popularity_weight"), **_LIST_METRIC},
    {"seed": pl.Int64},
)
RECIPE_DIAGNOSTICS = Contract(
    "negative_sampling_diagnostics",
    {"recipe": pl.String, **_metric("popularity_weight"), "delta": pl.Float64},
    {
        "seed": pl.Int64,
        "delta_low": pl.Float64,
        "delta_high": pl.Float64,
        "slope": pl.Float64,
        "pmi_correlation": pl.Float64,
    },
)
RECIPE_COMPARISON = Contract(
    "negative_sampling_comparison",
    {"recipe": pl.String, "baseline": pl.String, **_LIST_METRIC},
    {
        "seed_deviation": pl.Float64,
        "gain_percent": pl.Float64,
        "gain_low": pl.Float64,
        "gain_high": pl.Float64,
    },
)

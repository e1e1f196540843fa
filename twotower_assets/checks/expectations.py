"""The Great Expectations suites, one per table, derived from its declared columns; and how to run them on a frame.

The lake itself rejects nulls in columns that are not nullable, so no expectation checks them. Conditions across days or
tables are gates.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from twotower_assets.checks.outcome import Outcome
from twotower_assets.lake.tables import Column, Table

if TYPE_CHECKING:
    import pandas as pd

SAMPLE = 5
HAS_ROWS = "has_rows"
PLAUSIBLE_CLICK_RATES = (0.001, 0.95)
MAY_BE_EMPTY = {
    "users",
    "rejected_impressions",
    "exposure_log",
    "orphan_items",
    # until there is a second version, and it was evaluated
    "champion_decisions",
    "embedding_drift",
    "version_comparisons",
    # until a recipe is applicable
    "negative_sampling_metrics",
    "negative_sampling_user_metrics",
    "negative_sampling_diagnostics",
}


@dataclass(frozen=True)
class Expectation:
    """One expectation of a suite: a Great Expectations class by name, with its arguments."""

    name: str
    description: str
    type: str
    arguments: dict[str, Any]
    error: bool = True
    """Whether a failure is an error, which also blocks downstream assets; else it is a warning."""

    @property
    def columns(self) -> list[str]:
        """The columns it reads."""
        if "column_list" in self.arguments:
            return list(self.arguments["column_list"])
        return [self.arguments["column"]] if "column" in self.arguments else []


EXTRA = {
    "impressions": (
        Expectation(
            "click_rate_is_plausible",
            "Between 0.1 % and 95 % of the impressions are clicked; outside, `clicked` is probably read wrongly.",
            "ExpectColumnMeanToBeBetween",
            {"column": "clicked", "min_value": PLAUSIBLE_CLICK_RATES[0], "max_value": PLAUSIBLE_CLICK_RATES[1]},
            error=False,
        ),
    ),
    "items": (
        Expectation(
            "most_items_have_a_category",
            "At least half of the items have a category.",
            "ExpectColumnValuesToNotBeInSet",
            {"column": "category", "value_set": ["unknown"], "mostly": 0.5},
            error=False,
        ),
    ),
}


def suite(table: Table) -> list[Expectation]:
    """The expectations of a table: ranges and value sets of its columns, its grain, its volume, and the extra ones."""
    expectations = [expectation for column in table.columns for expectation in _column_expectations(column)]
    if table.grain:
        expectations.append(
            Expectation(
                "rows_are_unique",
                f"No two rows have the same {', '.join(table.grain)}.",
                "ExpectCompoundColumnsToBeUnique" if len(table.grain) > 1 else "ExpectColumnValuesToBeUnique",
                {"column_list": list(table.grain), "ignore_row_if": "never"}
                if len(table.grain) > 1
                else {"column": table.grain[0]},
            )
        )
    if table.name not in MAY_BE_EMPTY:
        expectations.append(
            Expectation(
                HAS_ROWS,
                "There are rows on every day; a day without is only a warning."
                if table.daily
                else "There is at least one row.",
                "ExpectTableRowCountToBeBetween",
                {"min_value": 1},
                error=not table.daily,
            )
        )
    return [*expectations, *EXTRA.get(table.name, ())]


def validate(frame: pd.DataFrame, expectations: list[Expectation], identified_by: Sequence[str] = ()) -> list[Outcome]:
    """Run the expectations on a pandas frame that has their columns; one outcome per expectation, in order.

    Outcomes name offending rows by the columns `identified_by`, which the frame must have too.
    """
    import great_expectations as gx

    gx_expectations = [getattr(gx.expectations, ours.type)(**ours.arguments) for ours in expectations]
    found = (
        _frames()
        .get_batch(batch_parameters={"dataframe": frame})
        .validate(
            gx.ExpectationSuite("suite", expectations=gx_expectations),
            result_format={"result_format": "SUMMARY", "unexpected_index_column_names": list(identified_by)},
        )
    )
    by_config = {_identity(result.expectation_config): result for result in found.results}
    return [
        _outcome(ours, by_config[_identity(theirs.configuration)], identified_by)
        for ours, theirs in zip(expectations, gx_expectations, strict=True)
    ]


@functools.cache
def _frames() -> Any:
    """What makes a batch of Great Expectations of any frame; making it takes as long as a validation."""
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    source = context.data_sources.add_pandas("lake")
    return source.add_dataframe_asset("table").add_batch_definition_whole_dataframe("rows")


def _column_expectations(column: Column) -> list[Expectation]:
    found = []
    if column.minimum is not None or column.maximum is not None:
        bounds = {"min_value": column.minimum, "max_value": column.maximum}
        found.append(
            Expectation(
                f"{column.name}_is_in_range",
                f"`{column.name}` lies in {_range(column)}.",
                "ExpectColumnValuesToBeBetween",
                {
                    "column": column.name,
                    **{name: value for name, value in bounds.items() if value is not None},
                },
            )
        )
    if column.values:
        found.append(
            Expectation(
                f"{column.name}_is_known",
                f"`{column.name}` is one of {', '.join(column.values)}.",
                "ExpectColumnValuesToBeInSet",
                {"column": column.name, "value_set": list(column.values)},
            )
        )
    return found


def _range(column: Column) -> str:
    low = "−∞" if column.minimum is None else f"{column.minimum:g}"
    high = "∞" if column.maximum is None else f"{column.maximum:g}"
    return f"[{low}, {high}]"


def _identity(configuration: Any) -> tuple[str, str]:
    arguments = {name: value for name, value in configuration.kwargs.items() if name != "batch_id"}
    return configuration.type, repr(sorted(arguments.items()))


def _outcome(expectation: Expectation, result: Any, identified_by: Sequence[str]) -> Outcome:
    details = result.result or {}
    if error := _error(result.exception_info or {}):
        return Outcome(False, f"could not be evaluated: {error}", expectation.description)
    if "unexpected_count" in details:
        observed = f"{details['unexpected_count']} of {details['element_count']} rows fail"
        sample = [str(value) for value in details.get("partial_unexpected_list", [])[:SAMPLE]]
        names = dict.fromkeys([*identified_by, *expectation.columns])
        rows = [
            {name: str(row[name]).removesuffix(" 00:00:00") for name in names if name in row}
            for row in details.get("partial_unexpected_index_list", [])[:SAMPLE]
            if isinstance(row, dict)
        ]
        return Outcome(bool(result.success), observed, expectation.description, sample, rows)
    value = details.get("observed_value")
    if value is None:
        return Outcome(bool(result.success), "no observed value", expectation.description)
    observed = f"{value:g}" if isinstance(value, float) and math.isfinite(value) else str(value)
    return Outcome(bool(result.success), observed, expectation.description)


def _error(exception_info: dict[str, Any]) -> str | None:
    # Great Expectations returns one record, or one per metric that it could not compute.
    records = [exception_info, *(value for value in exception_info.values() if isinstance(value, dict))]
    return next((str(record["exception_message"]) for record in records if record.get("raised_exception")), None)

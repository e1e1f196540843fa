"""The checks as Dagster runs them: one check per expectation and per gate, with what was observed and wanted.

What is expected lives in `expectations` and `gates`; here it meets assets, days and severities. The checks have no
partitions of their own: Dagster records the checks of a run over a range of days without a partition, and would show
partitioned checks of such days as never run. The days that were checked are in the metadata.
"""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from twotower_assets.assets.declaration import GROUPS, key_of
from twotower_assets.checks.expectations import Expectation, Outcome, suite, validate
from twotower_assets.checks.gates import GATES, Gate, judge
from twotower_assets.lake.tables import RECIPES, REPORTS, TABLES, Table, names
from twotower_assets.partitions import Days, days_of
from twotower_assets.platform import Platform

WRITTEN_WITH = {
    "ann_index_quality": "ann_index",
    "served_item_embeddings": "champion",
    "served_user_embeddings": "champion",
    **dict.fromkeys(names(REPORTS), "popularity_bias_report"),
    **{
        name: "negative_sampling_runs"
        for name in names(RECIPES)
        if name not in ("negative_sampling_runs", "negative_sampling_comparison")
    },
}
"""Tables that an asset of another name writes; their checks are that asset's, and carry the table's name."""

CHECKED_TABLES = [
    *(name for members in GROUPS.values() for name in members if name in TABLES),
    *WRITTEN_WITH,
]


def table_checks() -> list[dg.AssetChecksDefinition]:
    """One multi-check per table, and one check per gate."""
    return [
        *(_suite_checks(TABLES[name]) for name in CHECKED_TABLES),
        *(_gate_check(gate) for gate in GATES),
    ]


def blocking_check_keys(assets: list[str]) -> list[dg.AssetCheckKey]:
    """The checks of some assets whose failure means that nothing may be built on them."""
    of_tables = [
        dg.AssetCheckKey(key_of(name), one.name) for name in assets for one in suite(TABLES[name]) if one.error
    ]
    return [
        *of_tables,
        *(dg.AssetCheckKey(key_of(gate.asset), gate.name) for gate in GATES if gate.asset in assets),
    ]


def _suite_checks(table: Table) -> dg.AssetChecksDefinition:
    expectations = suite(table)
    asset = WRITTEN_WITH.get(table.name, table.name)
    prefix = "" if asset == table.name else f"{table.name}_"

    @dg.multi_asset_check(
        name=f"{table.name}_suite",
        specs=[
            dg.AssetCheckSpec(
                prefix + one.name,
                asset=key_of(asset),
                description=one.description,
                blocking=one.error,
            )
            for one in expectations
        ],
    )
    def checks(
        context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.AssetCheckResult]:
        days = _checked_days(context, platform) if table.daily else None
        frame = _frame(platform, table, expectations, days)
        for one, outcome in zip(expectations, validate(frame, expectations), strict=True):
            yield _result(asset, prefix + one.name, outcome, days, error=one.error)

    return checks


def _gate_check(gate: Gate) -> dg.AssetChecksDefinition:
    @dg.asset_check(
        name=gate.name,
        asset=key_of(gate.asset),
        description=gate.description,
        blocking=True,
    )
    def check(context: dg.AssetCheckExecutionContext, platform: dg.ResourceParam[Platform]) -> dg.AssetCheckResult:
        days = _checked_days(context, platform)
        with platform.lake.reader() as con:
            outcome = judge(con, gate, days, platform.settings)
        return _result(gate.asset, gate.name, outcome, days, error=True)

    return check


def _checked_days(context: dg.AssetCheckExecutionContext, platform: Platform) -> Days:
    """The days of the run; every day where checks are run by themselves, without a partition."""
    try:
        return days_of(context)
    except LookupError:
        first, last = platform.days()
        return Days(first, last or datetime.now(UTC).date())


def _frame(platform: Platform, table: Table, expectations: list[Expectation], days: Days | None) -> Any:
    columns = sorted({name for one in expectations for name in one.columns}) or [table.column_names[0]]
    sql = f"SELECT {', '.join(columns)} FROM {table.name}"
    with platform.lake.reader() as con:
        if days:
            frame = con.execute(f"{sql} WHERE day BETWEEN $first AND $last", days._asdict()).df()
        else:
            frame = con.execute(sql).df()
    # Great Expectations passes over NaN as over a missing value; where none may be missing it is out of every range.
    return frame.fillna({name: math.inf for name in frame.select_dtypes("floating") if not table[name].nullable})


def _result(asset: str, name: str, outcome: Outcome, days: Days | None, *, error: bool) -> dg.AssetCheckResult:
    verdict = "holds" if outcome.passed else "does not hold"
    return dg.AssetCheckResult(
        passed=outcome.passed,
        asset_key=key_of(asset),
        check_name=name,
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description=f"{outcome.wanted} — {verdict}: {outcome.observed}",
        metadata={
            "observed": outcome.observed,
            "threshold": outcome.wanted,
            "sample": outcome.sample,
            **({"first_day": str(days.first), "last_day": str(days.last)} if days else {}),
        },
    )

"""The Dagster asset checks: one per expectation and per gate, with the observed value and the threshold.

Expectations and gates are defined in `checks`; here they are attached to assets, days and severities. The checks are
not partitioned: Dagster records the checks of a run over a range of days without a partition, and would show
partitioned checks of such days as never run. The checked days are in the metadata.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb

from twotower_assets.checks.expectations import HAS_ROWS, Expectation, suite, validate
from twotower_assets.checks.gates import GATES, evaluate_gate
from twotower_assets.checks.outcome import Outcome
from twotower_assets.core.days import Days
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.naming import GROUPS, WRITTEN_WITH, Naming
from twotower_assets.defs.partitions import PartitionError, days_of
from twotower_assets.defs.plan import Plan
from twotower_assets.lake.tables import TABLES, Table
from twotower_assets.workspace import Workspace

CELL = 80
"""Longest value shown, in characters."""

CHECKED_TABLES = [
    *(name for members in GROUPS.values() for name in members if name in TABLES),
    *WRITTEN_WITH,
]


def table_checks(plan: Plan) -> list[dg.AssetChecksDefinition]:
    """One multi-check per asset: the suites of its tables, and its gates."""
    tables: dict[str, list[Table]] = {gate.asset: [] for gate in GATES}
    for name in CHECKED_TABLES:
        tables.setdefault(WRITTEN_WITH.get(name, name), []).append(TABLES[name])
    return [_checks_of(plan, asset, written) for asset, written in tables.items()]


def blocking_check_keys(naming: Naming, assets: Sequence[str]) -> list[dg.AssetCheckKey]:
    """The checks of some assets that block everything downstream when they fail."""
    errors = [(name, expectation.name) for name in assets for expectation in suite(TABLES[name]) if expectation.error]
    gates = [(gate.asset, gate.name) for gate in GATES if gate.asset in assets and gate.blocking]
    return [dg.AssetCheckKey(naming.key_of(asset), name) for asset, name in (*errors, *gates)]


def _checks_of(plan: Plan, asset: str, tables: list[Table]) -> dg.AssetChecksDefinition:
    suites = {
        table: {_check_name(asset, table, expectation): expectation for expectation in suite(table)} for table in tables
    }
    gates = {gate.name: gate for gate in GATES if gate.asset == asset}
    key = plan.naming.key_of(asset)
    expectations = {name: expectation for named in suites.values() for name, expectation in named.items()}

    @dg.multi_asset_check(
        name=plan.naming.definition_name(f"{asset}_checks"),
        specs=[
            *(
                dg.AssetCheckSpec(name, asset=key, description=expectation.description, blocking=expectation.error)
                for name, expectation in expectations.items()
            ),
            *(
                dg.AssetCheckSpec(name, asset=key, description=gate.description, blocking=gate.blocking)
                for name, gate in gates.items()
            ),
        ],
        can_subset=True,
        required_resource_keys=plan.resource_keys,
    )
    def checks(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
        with expected_errors_as_failures():
            workspace = plan.workspace(context)
            chosen = {check.name for check in context.selected_asset_check_keys}
            with workspace.lake.reader() as con:
                for table, named in suites.items():
                    days = _checked_days(context, workspace) if table.daily else None
                    selected = {name: expectation for name, expectation in named.items() if name in chosen}
                    for name, outcome in _outcomes(con, table, selected, days):
                        yield _result(key, name, outcome, days, error=expectations[name].error)
                for name in [name for name in gates if name in chosen]:
                    days = _checked_days(context, workspace)
                    outcome = evaluate_gate(
                        con, gates[name], days, workspace.settings, first_partition=workspace.days()[0]
                    )
                    yield _result(key, name, outcome, days, error=gates[name].blocking)

    return checks


def _check_name(asset: str, table: Table, expectation: Expectation) -> str:
    return expectation.name if asset == table.name else f"{table.name}_{expectation.name}"


def _outcomes(
    con: duckdb.DuckDBPyConnection, table: Table, expectations: dict[str, Expectation], days: Days | None
) -> Iterator[tuple[str, Outcome]]:
    """The outcomes of a table's expectations on some days; its rows are read only if there is an expectation."""
    if expectations:
        selected = list(expectations.values())
        frame = _frame(con, table, selected, days)
        for (name, expectation), outcome in zip(
            expectations.items(), validate(frame, selected, table.grain), strict=True
        ):
            yield name, _rows_on_every_day(con, table, days) if days and expectation.name == HAS_ROWS else outcome


def _rows_on_every_day(con: duckdb.DuckDBPyConnection, table: Table, days: Days) -> Outcome:
    """Whether a table has rows on each of some days: among many days, one without rows would not show."""
    sql = f"SELECT DISTINCT day FROM {table.name} WHERE day BETWEEN $first AND $last"
    present = {day for (day,) in con.execute(sql, days._asdict()).fetchall()}
    missing = [str(day) for day in days.every() if day not in present]
    observed = f"no rows on {', '.join(missing[:3])}" if missing else "rows on every day"
    if len(missing) > 3:
        observed += f" and {len(missing) - 3} more days"
    return Outcome(not missing, observed, "rows on every day", missing[:5])


def _checked_days(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> Days:
    """The days of the run; all days if the checks are run on their own, without a partition."""
    try:
        return days_of(context)
    except PartitionError:
        first, last = workspace.days()
        return Days(first, last or datetime.now(UTC).date())


def _frame(con: duckdb.DuckDBPyConnection, table: Table, expectations: list[Expectation], days: Days | None) -> Any:
    read = {*table.grain, *(name for expectation in expectations for name in expectation.columns)}
    columns = sorted(read) or table.column_names[:1]
    sql = f"SELECT {', '.join(columns)} FROM {table.name}"
    if days:
        frame = con.execute(f"{sql} WHERE day BETWEEN $first AND $last", days._asdict()).df()
    else:
        frame = con.execute(sql).df()
    # Great Expectations skips NaN like a missing value. In a column without nulls, infinity fails every range instead.
    return frame.fillna({name: math.inf for name in frame.select_dtypes("floating") if not table[name].nullable})


def _result(key: dg.AssetKey, name: str, outcome: Outcome, days: Days | None, *, error: bool) -> dg.AssetCheckResult:
    state = "holds" if outcome.passed else "does not hold"
    return dg.AssetCheckResult(
        passed=outcome.passed,
        asset_key=key,
        check_name=name,
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description=f"{outcome.expected} — {state}: {outcome.observed}",
        metadata={
            "observed": outcome.observed,
            "threshold": outcome.expected.replace("`", ""),
            "sample": sample_of(outcome),
            **({"first_day": str(days.first), "last_day": str(days.last)} if days else {}),
        },
    )


def sample_of(outcome: Outcome) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """Offending rows as a table, which Dagster shows without a click; the text "none" if there are none."""
    rows = outcome.rows or [{"found": value} for value in outcome.sample]
    if not rows:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table([dg.TableRecord({name: _cell(text) for name, text in row.items()}) for row in rows])


def _cell(text: str) -> str:
    return text if len(text) <= CELL else text[: CELL - 1] + "…"

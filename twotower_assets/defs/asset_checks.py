"""The checks as Dagster runs them: one check per expectation and per gate, with what was observed and wanted.

What is expected lives in `checks`; here it meets assets, days and severities. The checks have no
partitions of their own: Dagster records the checks of a run over a range of days without a partition, and would show
partitioned checks of such days as never run. The days that were checked are in the metadata.
"""

import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb

from twotower_assets.checks.expectations import Expectation, suite, validate
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
"""Characters of a value that are shown."""

CHECKED_TABLES = [
    *(name for members in GROUPS.values() for name in members if name in TABLES),
    *WRITTEN_WITH,
]


def table_checks(plan: Plan) -> list[dg.AssetChecksDefinition]:
    """One multi-check per asset: the suites of its tables, and its gates."""
    tables: dict[str, list[Table]] = {gate.asset: [] for gate in GATES}
    for name in CHECKED_TABLES:
        tables.setdefault(WRITTEN_WITH.get(name, name), []).append(TABLES[name])
    return [_checks_of(plan, asset, of_asset) for asset, of_asset in tables.items()]


def blocking_check_keys(naming: Naming, assets: Sequence[str]) -> list[dg.AssetCheckKey]:
    """The checks of some assets whose failure means that nothing may be built on them."""
    errors = [(name, one.name) for name in assets for one in suite(TABLES[name]) if one.error]
    gates = [(gate.asset, gate.name) for gate in GATES if gate.asset in assets and gate.blocking]
    return [dg.AssetCheckKey(naming.key_of(asset), name) for asset, name in (*errors, *gates)]


def _checks_of(plan: Plan, asset: str, tables: list[Table]) -> dg.AssetChecksDefinition:
    suites = {table: {_check_name(asset, table, one): one for one in suite(table)} for table in tables}
    gates = {gate.name: gate for gate in GATES if gate.asset == asset}
    key = plan.naming.key_of(asset)
    named = {name: one for of_table in suites.values() for name, one in of_table.items()}

    @dg.multi_asset_check(
        name=plan.naming.definition_name(f"{asset}_checks"),
        specs=[
            *(
                dg.AssetCheckSpec(name, asset=key, description=one.description, blocking=one.error)
                for name, one in named.items()
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
            chosen = {one.name for one in context.selected_asset_check_keys}
            with workspace.lake.reader() as con:
                for table, of_table in suites.items():
                    days = _checked_days(context, workspace) if table.daily else None
                    wanted = {name: one for name, one in of_table.items() if name in chosen}
                    for name, outcome in _outcomes(con, table, wanted, days):
                        yield _result(key, name, outcome, days, error=named[name].error)
                for name in [name for name in gates if name in chosen]:
                    days = _checked_days(context, workspace)
                    outcome = evaluate_gate(con, gates[name], days, workspace.settings)
                    yield _result(key, name, outcome, days, error=gates[name].blocking)

    return checks


def _check_name(asset: str, table: Table, expectation: Expectation) -> str:
    return expectation.name if asset == table.name else f"{table.name}_{expectation.name}"


def _outcomes(
    con: duckdb.DuckDBPyConnection, table: Table, expectations: dict[str, Expectation], days: Days | None
) -> Iterator[tuple[str, Outcome]]:
    """What the expectations of a table find on some days; its rows are read only where any is asked for."""
    if expectations:
        asked = list(expectations.values())
        yield from zip(expectations, validate(_frame(con, table, asked, days), asked, table.grain), strict=True)


def _checked_days(context: dg.AssetCheckExecutionContext, workspace: Workspace) -> Days:
    """The days of the run; every day where checks are run by themselves, without a partition."""
    try:
        return days_of(context)
    except PartitionError:
        first, last = workspace.days()
        return Days(first, last or datetime.now(UTC).date())


def _frame(con: duckdb.DuckDBPyConnection, table: Table, expectations: list[Expectation], days: Days | None) -> Any:
    columns = sorted({*table.grain, *(name for one in expectations for name in one.columns)}) or table.column_names[:1]
    sql = f"SELECT {', '.join(columns)} FROM {table.name}"
    if days:
        frame = con.execute(f"{sql} WHERE day BETWEEN $first AND $last", days._asdict()).df()
    else:
        frame = con.execute(sql).df()
    # Great Expectations passes over NaN as over a missing value; where none may be missing it is out of every range.
    return frame.fillna({name: math.inf for name in frame.select_dtypes("floating") if not table[name].nullable})


def _result(key: dg.AssetKey, name: str, outcome: Outcome, days: Days | None, *, error: bool) -> dg.AssetCheckResult:
    verdict = "holds" if outcome.passed else "does not hold"
    return dg.AssetCheckResult(
        passed=outcome.passed,
        asset_key=key,
        check_name=name,
        severity=dg.AssetCheckSeverity.ERROR if error else dg.AssetCheckSeverity.WARN,
        description=f"{outcome.expected} — {verdict}: {outcome.observed}",
        metadata={
            "observed": outcome.observed,
            "threshold": outcome.expected.replace("`", ""),
            "sample": sample_of(outcome),
            **({"first_day": str(days.first), "last_day": str(days.last)} if days else {}),
        },
    )


def sample_of(outcome: Outcome) -> dg.TableMetadataValue | dg.TextMetadataValue:
    """Offending rows as a table, which Dagster shows without a click; "none" without any."""
    rows = outcome.rows or [{"found": value} for value in outcome.sample]
    if not rows:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table([dg.TableRecord({name: _cell(text) for name, text in row.items()}) for row in rows])


def _cell(text: str) -> str:
    return text if len(text) <= CELL else text[: CELL - 1] + "…"

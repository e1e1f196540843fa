"""The sources: the raw log and catalogues, read through the data set's SQL and cleaned; rejected rows are kept."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from twotower_assets.datasets.ingest import ingest_catalogue, ingest_impressions
from twotower_assets.datasets.raw_source import MACROS, partition_bounds
from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.partitions import days_of
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.publish import run_of, table_result
from twotower_assets.defs.specs import table_spec

MOVIELENS_NOTE = (
    "MovieLens has no impressions: a rating of 4 or 5 counts as a click, a lower one as an impression without a click."
)
USERS_NOTE = "The table is empty if the data set has no `users.sql`, or if the files that it reads do not exist."


def source_assets(plan: Plan) -> list[dg.AssetsDefinition]:
    """`impressions` with `rejected_impressions`, `items` and `users`."""
    dataset = plan.declared_for.source.dataset

    def spec(name: str, used_for: str, note: str = "", read: str = "") -> dg.AssetSpec:
        raw = read or name
        macros = [f"macros/{macro}.sql" for macro in MACROS]
        cleaning = sql_files(f"cleaning/checked_{raw}.sql", f"cleaning/{name}.sql", *macros)
        sql = [*_reading(plan, raw), *cleaning]
        return table_spec(
            name,
            plan,
            used_for=used_for,
            note=note,
            kinds={"duckdb", "sql"},
            sql=sql,
            version=code_version(["datasets.ingest"], sql),
            made_from=f"the raw files of the data set '{dataset}', read by its SQL and cleaned.",
        )

    @plan.step(
        "impressions",
        spec(
            "impressions",
            "every feature: frequencies, exposures, histories, training pairs.",
            MOVIELENS_NOTE if dataset == "movielens" else "",
        ),
        spec(
            "rejected_impressions",
            "finding errors in the raw log; nothing depends on it.",
            read="impressions",
        ),
        partitions_def=plan.partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
    )
    def impressions(context: dg.AssetExecutionContext) -> Iterator[dg.MaterializeResult]:
        with expected_errors_as_failures():
            workspace, days = plan.workspace(context), days_of(context)
            first_day, _ = workspace.days()
            settings, run = workspace.settings, run_of(context, "impressions")
            bounds = partition_bounds(*days, first_day, settings.plausible_from)
            for written in ingest_impressions(
                workspace.lake, workspace.source, days, bounds, settings.maximum_rejected_share, run
            ):
                yield table_result(context, written)

    @plan.step("items", spec("items", "the category map, the item tower, titles in lists and reports."))
    def items(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            return _catalogue(plan, context, "items")

    @plan.step(
        "users", spec("users", "feature columns of the user tower, and vectors for users without a click.", USERS_NOTE)
    )
    def users(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            return _catalogue(plan, context, "users")

    return [impressions, items, users]


def _catalogue(plan: Plan, context: dg.AssetExecutionContext, table: str) -> dg.MaterializeResult:
    workspace = plan.workspace(context)
    share, run = workspace.settings.maximum_rejected_share, run_of(context, table)
    return table_result(context, ingest_catalogue(workspace.lake, workspace.source, table, share, run))


def _reading(plan: Plan, raw: str) -> list[Path]:
    """The SQL files that read a raw table, one per raw format if there are several."""
    return sorted(plan.declared_for.source.sql_folder.glob(f"{raw}*.sql"))

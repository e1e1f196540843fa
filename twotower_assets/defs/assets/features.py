"""The features: each table is built from its upstream table by the SQL file of the same name in `sql/features/`."""

import dagster as dg

from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.partitions import days_of
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.preconditions import require_complete_window
from twotower_assets.defs.publish import run_of, table_result
from twotower_assets.defs.specs import table_spec
from twotower_assets.experiments.stage_features import write_feature
from twotower_assets.lake.tables import TABLES


def feature_assets(plan: Plan) -> list[dg.AssetsDefinition]:
    """The feature assets."""
    return [
        _feature(
            plan,
            "item_frequency_daily",
            "impressions",
            used_for="`item_frequency`, and any question about a day's popularity.",
        ),
        _feature(
            plan,
            "item_frequency",
            "item_frequency_daily",
            looks_back=True,
            used_for="the buckets shown with recommendations, and tracking popularity concentration over time.",
        ),
        _feature(
            plan,
            "exposure_log",
            "impressions",
            looks_back=True,
            used_for="impressions without a click, by user and item: negatives for recipes that sample exposures.",
        ),
        _feature(
            plan,
            "orphan_items",
            "impressions",
            also="items",
            used_for="finding ids that the log and the catalogue write differently: zeros, case, spaces.",
        ),
        _feature(plan, "category_map", "items", used_for="joining items with categories and their sizes."),
        _feature(
            plan,
            "training_pairs",
            "impressions",
            looks_back=True,
            used_for="training, which reads a trailing window of pairs.",
        ),
    ]


def _feature(
    plan: Plan, name: str, upstream: str, *, used_for: str, looks_back: bool = False, also: str | None = None
) -> dg.AssetsDefinition:
    daily, sql = TABLES[name].daily, sql_files(f"features/{name}.sql")
    window = f"The trailing window is {plan.settings.window_days} days, this day included; later days are never read."

    @plan.step(
        name,
        table_spec(
            name,
            plan,
            used_for=used_for,
            deps=[
                plan.window_dep(upstream) if looks_back else plan.dep(upstream),
                *([plan.dep(also)] if also else []),
            ],
            kinds={"duckdb", "sql"},
            version=code_version(["experiments.stage_features"], sql),
            note=window if looks_back else "",
            sql=sql,
        ),
        partitions_def=plan.partitions if daily else None,
        backfill_policy=dg.BackfillPolicy.single_run() if daily else None,
    )
    def feature(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            workspace, days = plan.workspace(context), days_of(context) if daily else None
            if days and looks_back:
                require_complete_window(
                    context, workspace, plan.naming.key_of(upstream), days, workspace.settings.window_days
                )
            return table_result(context, write_feature(workspace, name, days, run_of(context, name)))

    return feature

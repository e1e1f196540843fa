"""The popularity report: how a model treats popular and long-tail items, as tables, charts and one page."""

import dagster as dg

from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.metadata import report_metadata
from twotower_assets.defs.partitions import day_of
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.publish import artifact_result, run_of
from twotower_assets.defs.specs import asset_spec, folder_of
from twotower_assets.experiments.write_report import write_report
from twotower_assets.lake.tables import REPORTS, names

MADE_FROM = ("tower_checkpoint", "training_curves", "ann_index", "items", "users")
REPORT = (
    "How well a day's model finds held-out clicks, for popular and for long-tail items, compared with most-popular, "
    "EASE and the champion, at several popularity weights γ; how much popularity its scores are missing (δ). One HTML "
    f"page per day, and the tables {', '.join(f'`{name}`' for name in names(REPORTS))}.\n\n"
    "**Used for:** deciding whether a model may be served, and at which γ."
)


def report_assets(plan: Plan) -> list[dg.AssetsDefinition]:
    """`popularity_bias_report`."""

    @plan.step(
        "popularity_bias_report",
        asset_spec(
            "popularity_bias_report",
            plan,
            description=REPORT,
            deps=[plan.window_dep("training_pairs"), *map(plan.dep, MADE_FROM)],
            kinds={"duckdb", "html"},
            metadata=folder_of("popularity_bias_report", plan),
            version=code_version(["experiments.write_report"], sql_files("reports/*.sql", "training/*.sql")),
        ),
        partitions_def=plan.partitions,
    )
    def popularity_bias_report(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            workspace = plan.workspace(context)
            made = write_report(workspace, day_of(context), run_of(context, "popularity_bias_report"))
            return artifact_result(context, made.artifact, report_metadata(made, workspace.settings))

    return [popularity_bias_report]

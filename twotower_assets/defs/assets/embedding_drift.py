"""`embedding_drift`: how far the item vectors of a day's model moved since the previous model and from the champion."""

import dagster as dg

from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.partitions import day_of
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.publish import run_of, table_result
from twotower_assets.defs.specs import table_spec
from twotower_assets.serving.measure_drift import measure_drift


def embedding_drift_asset(plan: Plan) -> dg.AssetsDefinition:
    """`embedding_drift`."""

    @plan.step(
        "embedding_drift",
        table_spec(
            "embedding_drift",
            plan,
            used_for="seeing which items a new model moved before it is served, with the macro "
            "`embedding_drift(version_a, version_b)`.",
            deps=[plan.dep("item_embeddings")],
            kinds={"duckdb", "scipy"},
            version=code_version(["serving.measure_drift"], sql_files("serving/drift_*.sql")),
            note="The day's model is compared with that of the newest earlier day with vectors, and with the current "
            "champion. The very first model has nothing to compare with, and no rows.",
            sql="serving/drift_vectors.sql",
        ),
        partitions_def=plan.partitions,
    )
    def embedding_drift(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            run = run_of(context, "embedding_drift")
            return table_result(context, measure_drift(plan.workspace(context), day_of(context), run))

    return embedding_drift

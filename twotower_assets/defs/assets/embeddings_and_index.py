"""From a checkpoint to vectors in the lake and an index over them. `champion.py` decides which version is served."""

import dagster as dg

from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.metadata import index_metadata
from twotower_assets.defs.partitions import day_of
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.publish import artifact_result, run_of, table_result
from twotower_assets.defs.specs import asset_spec, folder_of, table_spec
from twotower_assets.serving.embed_day import embed_items, embed_users
from twotower_assets.serving.publish_index import publish_index

INDEX = (
    "The FAISS index of a day's item vectors: one index per day, with the popularity weight γ as a dimension of the "
    "query, and an id map that is checked against it. Its recall against exact search and its speed are measured at "
    "γ = 0, ½ and 1, on a sample of the users; an approximate index is measured at several search depths, and the "
    "smallest with enough recall is chosen.\n\n**Used for:** recommendations."
)


def embedding_and_index_assets(plan: Plan) -> list[dg.AssetsDefinition]:
    """`item_embeddings`, `user_embeddings` and `ann_index`."""

    @plan.step(
        "item_embeddings",
        table_spec(
            "item_embeddings",
            plan,
            used_for="the index, and joining items with anything else in SQL.",
            sql="training/catalogue.sql",
            deps=[plan.dep("tower_checkpoint"), plan.dep("items"), plan.window_dep("training_pairs")],
            kinds={"duckdb", "pytorch"},
            version=code_version(["serving.embed_day"], sql_files("training/*.sql")),
        ),
        partitions_def=plan.partitions,
    )
    def item_embeddings(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            run = run_of(context, "item_embeddings")
            return table_result(context, embed_items(plan.workspace(context), day_of(context), run))

    @plan.step(
        "user_embeddings",
        table_spec(
            "user_embeddings",
            plan,
            used_for="recommendations, measuring the index, and joining users with anything else in SQL.",
            sql="serving/user_histories.sql",
            deps=[
                plan.dep("tower_checkpoint"),
                plan.window_dep("training_pairs"),
                plan.window_dep("impressions"),
                plan.dep("users"),
            ],
            kinds={"duckdb", "pytorch"},
            version=code_version(["serving.embed_day"], sql_files("serving/user_histories.sql", "training/users.sql")),
            note="Histories reach to the end of the day: held-out clicks are not training data, but they are known "
            "when the model is served.",
        ),
        partitions_def=plan.partitions,
    )
    def user_embeddings(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            run = run_of(context, "user_embeddings")
            return table_result(context, embed_users(plan.workspace(context), day_of(context), run))

    @plan.step(
        "ann_index",
        asset_spec(
            "ann_index",
            plan,
            description=INDEX,
            deps=[plan.dep("item_embeddings"), plan.dep("user_embeddings")],
            kinds={"faiss"},
            version=code_version(["serving.publish_index"]),
            metadata=folder_of("ann_index", plan),
        ),
        partitions_def=plan.partitions,
    )
    def ann_index(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            workspace = plan.workspace(context)
            made = publish_index(workspace, day_of(context), run_of(context, "ann_index"))
            return artifact_result(context, made.artifact, index_metadata(made, workspace.settings))

    return [item_embeddings, user_embeddings, ann_index]

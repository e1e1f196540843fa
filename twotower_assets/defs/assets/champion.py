"""The champion: the version that is served, published to the served tables in one commit, with the decisions on it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.launch_checks import checked_at_launch
from twotower_assets.defs.metadata import champion_metadata
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.publish import run_of, table_result
from twotower_assets.defs.specs import table_spec
from twotower_assets.serving.publish_champion import publish_champion

MADE_FROM = ("item_embeddings", "user_embeddings", "ann_index", "embedding_drift", "popularity_bias_report")
NOTE = (
    "A newer version becomes the champion if it passes the gates: sound vectors, index recall, better than most "
    "popular and, on the same users, not worse than the champion. Otherwise the champion stays, and the check "
    "`challenger_is_not_worse` gives the reasons. Every decision is a row of `champion_decisions`. The vectors are "
    "published to `served_item_embeddings` and `served_user_embeddings` in the same commit, so rebuilding a partition "
    "never changes what is served. In the launchpad a version can be promoted by hand or rolled back."
)


class ChampionConfig(dg.Config):
    """A decision by hand; by default, the newest version that passes the gates is served."""

    version: str | None = Field(
        None,
        min_length=1,
        description="Serve this version without evaluating the gates: a version of the model, the start of one, or a "
        "day. Default: the newest version that passes the gates.",
    )
    roll_back: bool = Field(
        False,
        description="Serve the previous champion again, or `version` if it is given. The version that is replaced is "
        "not promoted again automatically.",
    )
    reason: str | None = Field(None, min_length=1, description="The reason; stored with the decision.")


def champion_asset(plan: Plan) -> dg.AssetsDefinition:
    """`champion`."""

    @plan.step(
        "champion",
        table_spec(
            "champion",
            plan,
            used_for="what `twotower recommend` and the views `current_item_embeddings` and "
            "`current_user_embeddings` serve.",
            deps=[plan.dep(name) for name in MADE_FROM],
            kinds={"duckdb"},
            version=code_version(
                ["serving.publish_champion"],
                sql_files("serving/*.sql", "checks/*.sql", "analysts/*.sql", "training/*.sql"),
            ),
            note=NOTE,
        ),
    )
    def champion(context: dg.AssetExecutionContext, config: ChampionConfig) -> dg.MaterializeResult:
        with expected_errors_as_failures():
            workspace, run = plan.workspace(context), run_of(context, "champion")
            made = publish_champion(workspace, run, config.version, roll_back=config.roll_back, reason=config.reason)
            return table_result(context, made.written, **champion_metadata(made))

    return checked_at_launch(champion, ChampionConfig, _require_decision)


def _require_decision(config: Mapping[str, Any]) -> None:
    if config.get("reason") and not (config.get("version") or config.get("roll_back")):
        raise ValueError("reason belongs to a decision by hand; name a version to serve, or set roll_back.")

"""The champion: the version that is served, published to the served tables in one commit, with the decisions on it."""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from twotower_assets.defs import metadata
from twotower_assets.defs.code_version import code_version, sql_files
from twotower_assets.defs.failures import expected_errors_as_failures
from twotower_assets.defs.launch_checks import checked_at_launch
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.publish import run_of, table_result
from twotower_assets.defs.specs import table_spec
from twotower_assets.serving.publish_champion import publish_champion

MADE_FROM = ("item_embeddings", "user_embeddings", "ann_index", "embedding_drift", "popularity_bias_report")
NOTE = (
    "A newer version becomes the champion when it passes the gates: sound vectors, index recall, better than most "
    "popular, and, on the same users, not worse than the champion. Otherwise what is served stays, and the check "
    "`challenger_is_not_worse` says why. Every decision is a row of `champion_decisions`. Rows are published to "
    "`served_item_embeddings` and `served_user_embeddings` in the same commit, so rebuilding a partition never changes "
    "what is served. The launchpad takes a version to promote by hand, or a roll-back."
)


class ChampionConfig(dg.Config):
    """What a person may decide; left as it is, the newest version that passes the gates is served."""

    version: str | None = Field(
        None,
        min_length=1,
        description="Serve this version, without asking the gates: a version of the model, the start of one, or a day. "
        "Default: the newest that passes the gates.",
    )
    roll_back: bool = Field(
        False,
        description="Serve again what was served before, or `version` where it is named. What is served until then "
        "is not promoted again by itself.",
    )
    reason: str | None = Field(None, min_length=1, description="Why; kept with the decision.")


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
            return table_result(context, made.written, **metadata.of_champion(made))

    return checked_at_launch(champion, ChampionConfig, _about_something)


def _about_something(config: Mapping[str, Any]) -> None:
    if config.get("reason") and not (config.get("version") or config.get("roll_back")):
        raise ValueError("reason is kept with a decision by hand; name a version to serve, or set roll_back.")

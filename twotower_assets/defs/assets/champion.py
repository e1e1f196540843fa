"""The champion: the version that is served, published to the served tables in one commit, with the decisions on it.

How versions are judged, and what is done where a person names one, lives in `promotion`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import duckdb
from pydantic import Field

from twotower_assets.defs.launch_checks import checked_at_launch
from twotower_assets.defs.publish import commit_tables, table_result
from twotower_assets.defs.specs import code_files, code_version, key_of, sql_files, table_spec
from twotower_assets.lake.queries import scalar
from twotower_assets.lake.staging import stage_frame, stage_rows
from twotower_assets.lake.tables import TABLES
from twotower_assets.lake.views import current_views
from twotower_assets.serving import promotion
from twotower_assets.serving.promotion import Choice, Decision
from twotower_assets.serving.versions import VECTOR_FILES, Version, champion_of, vector_file
from twotower_assets.workspace import Workspace


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


def champion_asset(workspace: Workspace) -> dg.AssetsDefinition:
    """`champion`."""

    @dg.multi_asset(
        name="champion",
        specs=[
            table_spec(
                "champion",
                workspace,
                used_for="what `twotower recommend` and the views `current_item_embeddings` and "
                "`current_user_embeddings` serve.",
                deps=[
                    dg.AssetDep(key_of(name))
                    for name in (
                        "item_embeddings",
                        "user_embeddings",
                        "ann_index",
                        "embedding_drift",
                        "popularity_bias_report",
                    )
                ],
                kinds={"duckdb"},
                version=code_version(
                    [
                        *sql_files("serving/*.sql", "checks/*.sql", "analysts/*.sql"),
                        *code_files(
                            "core", "defs/assets/champion.py", "serving/promotion.py", "experiments/compare_versions.py"
                        ),
                    ]
                ),
                note="A newer version becomes the champion when it passes the gates: sound vectors, index recall, "
                "better than most popular, and, on the same users, not worse than the champion. Otherwise what is "
                "served stays, and the check `challenger_is_not_worse` says why. Every decision is a row of "
                "`champion_decisions`. Rows are published to `served_item_embeddings` and `served_user_embeddings` in "
                "the same commit, so rebuilding a partition never changes what is served. The launchpad takes a "
                "version to promote by hand, or a roll-back.",
            )
        ],
    )
    def champion(
        context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace], config: ChampionConfig
    ) -> dg.MaterializeResult:
        return _decide(context, workspace, config)

    return checked_at_launch(champion, ChampionConfig, _about_something)


def _about_something(config: Mapping[str, Any]) -> None:
    if config.get("reason") and not (config.get("version") or config.get("roll_back")):
        raise ValueError("reason is kept with a decision by hand; name a version to serve, or set roll_back.")


def _decide(context: dg.AssetExecutionContext, workspace: Workspace, config: ChampionConfig) -> dg.MaterializeResult:
    # One promotion at a time: whoever comes last looks at all candidates, and cannot bring back an older one.
    with workspace.lake.exclusively("champion"), workspace.lake.writer() as con:
        reason = config.reason or "no reason given"
        if config.roll_back:
            choice = promotion.roll_back(con, workspace, config.version, reason)
        elif config.version:
            choice = promotion.choose_by_hand(con, workspace, config.version, reason)
        else:
            choice = promotion.choose(con, workspace)
        snapshot = _publish(context, workspace, con, choice)
        served = champion_of(con)
        if served is None:
            refused = " | ".join(f"{one.version.model_version} {one.reasons}" for one in choice.decisions)
            raise dg.Failure(
                "No version passes the gates, and nothing is served. "
                + (f"Refused: {refused}" if refused else "There is no complete version yet."),
                allow_retries=False,
            )
        stage_rows(con, "champion", _rows_of(con))
        return table_result(
            context,
            con,
            "champion",
            snapshot,
            None,
            model_version=served.model_version,
            index_version=served.index_version,
            model_day=str(served.model_day),
            decisions=dg.MetadataValue.md(_as_markdown(choice.decisions)),
            refused=[
                f"{one.version.model_version}: {one.reasons}"
                for one in choice.decisions
                if one.decision == promotion.REFUSED
            ],
        )


def _publish(
    context: dg.AssetExecutionContext, workspace: Workspace, con: duckdb.DuckDBPyConnection, choice: Choice
) -> int:
    """Write decisions, and the version to serve if another one was chosen, in one commit; give the snapshot."""
    now = datetime.now(UTC).replace(tzinfo=None)
    names: list[str] = []
    if decisions := list(promotion.without_repeats(con, choice.decisions)):
        stage_rows(con, "champion_decisions", [_decision_row(one, now, context.run.run_id) for one in decisions])
        names.append("champion_decisions")
    if compared := [row for one in decisions if one.comparison is not None for row in one.comparison.to_dicts()]:
        stage_rows(con, "version_comparisons", compared)
        names.append("version_comparisons")
    served, views = choice.served, []
    if served:
        row = {"promoted_at": now, "reason": choice.decisions[-1].reasons}
        stage_rows(con, "champion", [{**vars(served), **row}])
        _stage_vectors(con, workspace, served)
        dimensions = scalar(con, "SELECT len(embedding) FROM staged_served_item_embeddings LIMIT 1")
        views = current_views(dimensions)
        names += ["champion", *VECTOR_FILES]
    elif (champion := champion_of(con)) and (newest := promotion.with_newest_report(con, champion)) != champion:
        stage_rows(con, "champion", [{**row, **vars(newest)} for row in _rows_of(con)])
        names.append("champion")
    return commit_tables(context, workspace, con, names, None, views=views) if names else workspace.lake.snapshot(con)


def _stage_vectors(con: duckdb.DuckDBPyConnection, workspace: Workspace, version: Version) -> None:
    """The vectors that the index of a version was built with, as they were."""
    import pyarrow.parquet as pq

    index = workspace.artifacts.open("ann_index", str(version.index_version))
    for name in VECTOR_FILES:
        stage_frame(con, name, pq.read_table(vector_file(index, name)))


def _rows_of(con: duckdb.DuckDBPyConnection) -> list[dict[str, object]]:
    names = TABLES["champion"].column_names
    rows = con.execute(f"SELECT {', '.join(names)} FROM champion").fetchall()
    return [dict(zip(names, row, strict=True)) for row in rows]


def _decision_row(one: Decision, now: datetime, run_id: str) -> dict[str, object]:
    return {
        "decided_at": now,
        **vars(one.version),
        "decision": one.decision,
        "reasons": one.reasons,
        "champion_before": one.champion_before,
        "run_id": run_id,
    }


def _as_markdown(decisions: list[Decision]) -> str:
    if not decisions:
        return "No newer version: what is served stays."
    lines = [f"| `{one.version.model_version}` | {one.decision} | {_cell(one.reasons)} |" for one in decisions]
    return "\n".join(["| version | decision | reasons |", "| --- | --- | --- |", *lines])


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")

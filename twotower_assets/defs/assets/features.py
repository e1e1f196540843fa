"""The features: each a table made by the SQL file of its name under `sql/features/`, from the tables it depends on."""

from typing import Any

import dagster as dg
import duckdb

from twotower_assets.core.buckets import HEAD_PERCENT, MID_PERCENT
from twotower_assets.core.days import Days
from twotower_assets.defs.partitions import Partitions, days_of, trailing_window
from twotower_assets.defs.preconditions import require_whole_window
from twotower_assets.defs.publish import commit_tables, table_result
from twotower_assets.defs.specs import code_version, key_of, sql_files, table_spec
from twotower_assets.lake.queries import read_query, stage
from twotower_assets.lake.tables import TABLES
from twotower_assets.settings import Settings
from twotower_assets.workspace import Workspace

SORTS_THE_LOG = ("exposure_log",)
"""Features whose SQL sorts all impressions of the days that it is given, each day for itself."""
IMPRESSIONS_AT_ONCE = 10_000_000
"""What a statement of these is given at most: about what 2 GiB sort without the disk. The rows are the same."""


def feature_assets(workspace: Workspace, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """The five feature assets."""
    return [
        _feature(
            "item_frequency_daily",
            workspace,
            partitions,
            upstream="impressions",
            used_for="`item_frequency`, and any question about a day's popularity.",
        ),
        _feature(
            "item_frequency",
            workspace,
            partitions,
            upstream="item_frequency_daily",
            looks_back=True,
            used_for="the buckets shown with recommendations, and following concentration over time.",
        ),
        _feature(
            "exposure_log",
            workspace,
            partitions,
            upstream="impressions",
            looks_back=True,
            used_for="what is shown in vain, by user and item; these are the negatives that users themselves gave.",
        ),
        _feature(
            "category_map",
            workspace,
            None,
            upstream="items",
            used_for="joining items with categories and their sizes.",
        ),
        _feature(
            "training_pairs",
            workspace,
            partitions,
            upstream="impressions",
            looks_back=True,
            used_for="training; the trailing window of pairs is put together there.",
        ),
    ]


def feature_parameters(settings: Settings, days: Days | None) -> dict[str, Any]:
    """What feature SQL may name as `$parameter`."""
    parameters: dict[str, Any] = {
        "window_days": settings.window_days,
        "half_life_days": settings.half_life_days,
        "history_length": settings.history_length,
        "head_share": HEAD_PERCENT / 100,
        "mid_share": MID_PERCENT / 100,
    }
    return {**parameters, "first_day": days.first, "last_day": days.last} if days else parameters


def stage_feature(con: duckdb.DuckDBPyConnection, name: str, settings: Settings, days: Days | None) -> int:
    """Put the rows of a feature into `staged_<name>`; give their number. Raises `QueryError`."""
    sql, staged = read_query(f"features/{name}.sql"), f"staged_{name}"
    stretches = _stretches(con, days) if days and name in SORTS_THE_LOG else [days]
    rows = [
        stage(con, staged, sql, feature_parameters(settings, stretch), append=number > 0)
        for number, stretch in enumerate(stretches)
    ]
    return rows[-1]


def _stretches(con: duckdb.DuckDBPyConnection, days: Days) -> list[Days]:
    """The days in stretches of at most `IMPRESSIONS_AT_ONCE` impressions, or of one day."""
    counts = dict(con.execute(read_query("windows/impressions_by_day.sql"), days._asdict()).fetchall())
    every_day = days.every()
    stretches, held = [Days(every_day[0], every_day[0])], counts.get(every_day[0], 0)
    for day in every_day[1:]:
        held += counts.get(day, 0)
        if held <= IMPRESSIONS_AT_ONCE:
            stretches[-1] = Days(stretches[-1].first, day)
        else:
            stretches.append(Days(day, day))
            held = counts.get(day, 0)
    return stretches


def _feature(
    name: str,
    workspace: Workspace,
    partitions: Partitions | None,
    *,
    upstream: str,
    used_for: str,
    looks_back: bool = False,
) -> dg.AssetsDefinition:
    window_days = workspace.settings.window_days
    mapping = trailing_window(partitions, window_days) if partitions and looks_back else None
    note = f"The trailing window is {window_days} days, this day included; later days are never read."

    @dg.multi_asset(
        name=name,
        specs=[
            table_spec(
                name,
                workspace,
                used_for=used_for,
                deps=[dg.AssetDep(key_of(upstream), partition_mapping=mapping)],
                kinds={"duckdb", "sql"},
                version=code_version(sql_files(f"features/{name}.sql")),
                note=note if looks_back else "",
                sql=f"features/{name}.sql",
            )
        ],
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run() if partitions else None,
    )
    def feature(context: dg.AssetExecutionContext, workspace: dg.ResourceParam[Workspace]) -> dg.MaterializeResult:
        days = days_of(context) if TABLES[name].daily else None
        if days and looks_back:
            require_whole_window(context, key_of(upstream), days, window_days, workspace.days()[0])
        with workspace.lake.writer() as con:
            stage_feature(con, name, workspace.settings, days)
            snapshot = commit_tables(context, workspace, con, [name], days)
            return table_result(context, con, name, snapshot, days)

    return feature

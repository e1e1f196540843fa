"""Builds all definitions in one place; callers can replace the resource, the partitions and the checks."""

import re
import warnings
from collections.abc import Mapping, Sequence

import dagster as dg

from twotower_assets.defs.asset_checks import table_checks
from twotower_assets.defs.assets.champion import champion_asset
from twotower_assets.defs.assets.embedding_drift import embedding_drift_asset
from twotower_assets.defs.assets.embeddings_and_index import embedding_and_index_assets
from twotower_assets.defs.assets.features import feature_assets
from twotower_assets.defs.assets.recipe_runs import recipe_assets
from twotower_assets.defs.assets.reports import report_assets
from twotower_assets.defs.assets.sources import source_assets
from twotower_assets.defs.assets.training import training_assets
from twotower_assets.defs.jobs import EVERYTHING, jobs
from twotower_assets.defs.naming import Naming
from twotower_assets.defs.partitions import Partitions, daily_partitions
from twotower_assets.defs.plan import Plan
from twotower_assets.defs.resources import WORKSPACE, WorkspaceResource
from twotower_assets.defs.schedules import daily_schedule
from twotower_assets.settings import Settings, load_settings
from twotower_assets.workspace import open_workspace


def build_definitions(
    settings: Settings | None = None,
    *,
    naming: Naming | None = None,
    resources: Mapping[str, object] | None = None,
    partitions: Partitions | None = None,
    checks: Sequence[dg.AssetChecksDefinition] | None = None,
    schedule: bool = True,
) -> dg.Definitions:
    """All assets, checks, jobs and the schedule for the data set in the settings.

    Args:
        settings: the settings that the graph is built for. Default: from the environment and the home folder.
        naming: prefix and group names, if the graph shares a code location with others.
        resources: by key; `workspace` replaces the resource that gives assets and checks their home.
        partitions: the days, instead of those from the settings or the data set.
        checks: used instead of the checks of the tables and gates.
        schedule: whether to include the daily schedule.

    Raises:
        SettingsError: a setting is out of range.
        SourceError: the data set's SQL or files, which give its days, are missing.
    """
    chosen, names = settings or load_settings(), naming or Naming()
    # Features are materialized as ranges, models day by day; a job with both runs day by day, as intended. Dagster
    # warns about it when it resolves the job, which is after this function.
    job = re.escape(names.definition_name(EVERYTHING))
    warnings.filterwarnings("ignore", message=f"Asset job {job} materializes assets with varying")
    workspace = open_workspace(chosen)
    plan = Plan(names, partitions or daily_partitions(*workspace.days(), chosen.window_days), workspace)
    with warnings.catch_warnings():
        # Windows that reach before the first partition are a beta in Dagster 1.13.
        warnings.filterwarnings("ignore", category=dg.BetaWarning)
        every_job = jobs(names)
        return dg.Definitions(
            assets=dg.with_source_code_references(_assets(plan)),
            asset_checks=table_checks(plan) if checks is None else checks,
            jobs=every_job,
            schedules=[daily_schedule(chosen, names, plan.partitions, every_job[-1])] if schedule else [],
            resources=_resources(names, {WORKSPACE: WorkspaceResource.from_settings(chosen), **(resources or {})}),
        )


def _resources(naming: Naming, resources: Mapping[str, object]) -> dict[str, object]:
    """The workspace resource gets the graph's prefix, so that another graph of the code location can have its own."""
    return {naming.definition_name(key) if key == WORKSPACE else key: value for key, value in resources.items()}


def _assets(plan: Plan) -> list[dg.AssetsDefinition]:
    return [
        *source_assets(plan),
        *feature_assets(plan),
        *training_assets(plan),
        *embedding_and_index_assets(plan),
        embedding_drift_asset(plan),
        champion_asset(plan),
        *report_assets(plan),
        *recipe_assets(plan),
    ]

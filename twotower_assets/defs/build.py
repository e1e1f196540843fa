"""The one place where everything is put together; tests pass their own settings or resources."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from twotower_assets.defs.asset_checks import blocking_check_keys, table_checks
from twotower_assets.defs.assets.champion import champion_asset
from twotower_assets.defs.assets.embedding_drift import embedding_drift_asset
from twotower_assets.defs.assets.embeddings_and_index import serving_assets
from twotower_assets.defs.assets.features import feature_assets
from twotower_assets.defs.assets.popularity_bias_report import report_assets
from twotower_assets.defs.assets.recipe_runs import negative_sampling_assets
from twotower_assets.defs.assets.sources import source_assets
from twotower_assets.defs.assets.training import training_assets
from twotower_assets.defs.automation import daily_schedule, jobs
from twotower_assets.defs.partitions import daily_partitions
from twotower_assets.settings import Settings, load_settings
from twotower_assets.workspace import Workspace, open_workspace

TRAINING_INPUTS = ["impressions", "items", "users", "training_pairs", "exposure_log"]


def build_definitions(
    settings: Settings | None = None, *, resources: Mapping[str, Any] | None = None
) -> dg.Definitions:
    """All assets, checks, jobs and the schedule of the data set that the settings name.

    Args:
        settings: default: from the environment and the home folder.
        resources: replace the resource `platform`, for tests.

    Raises:
        SettingsError: a setting is out of range.
        SourceError: the data set's SQL or files are needed to know its days, and are not there.
    """
    # Features are materialized as ranges, models day by day; a job of both takes the smaller step, as it should.
    # Dagster warns of it when it resolves the job, which is after this function.
    warnings.filterwarnings("ignore", message="Asset job everything_job materializes assets with varying")
    workspace = open_workspace(settings or load_settings())
    with warnings.catch_warnings():
        # Windows that reach before the first partition are a beta in Dagster 1.13.
        warnings.filterwarnings("ignore", category=dg.BetaWarning)
        return _definitions(workspace, resources or {})


def _definitions(workspace: Workspace, resources: Mapping[str, Any]) -> dg.Definitions:
    partitions = daily_partitions(*workspace.days(), workspace.settings.window_days)
    every_job = jobs()
    assets: list[dg.AssetsDefinition] = [
        *source_assets(workspace, partitions),
        *feature_assets(workspace, partitions),
        *training_assets(workspace, partitions, blocking_check_keys(TRAINING_INPUTS)),
        *serving_assets(workspace, partitions),
        embedding_drift_asset(workspace, partitions),
        champion_asset(workspace),
        *report_assets(workspace, partitions),
        *negative_sampling_assets(workspace, partitions, blocking_check_keys(TRAINING_INPUTS)),
    ]
    return dg.Definitions(
        assets=dg.with_source_code_references(assets),
        asset_checks=table_checks(),
        jobs=every_job,
        schedules=[daily_schedule(workspace.settings, partitions, every_job[-1])],
        resources={"workspace": workspace, **resources},
        executor=dg.in_process_executor,
    )

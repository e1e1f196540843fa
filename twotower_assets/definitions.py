"""The one place where everything is put together; tests pass their own settings or resources."""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from twotower_assets.assets.champion import champion_asset
from twotower_assets.assets.embedding_drift import embedding_drift_asset
from twotower_assets.assets.features import feature_assets
from twotower_assets.assets.negative_sampling import negative_sampling_assets
from twotower_assets.assets.reports import report_assets
from twotower_assets.assets.serving import serving_assets
from twotower_assets.assets.sources import source_assets
from twotower_assets.assets.training import training_assets
from twotower_assets.automation import daily_schedule, jobs
from twotower_assets.checks.asset_checks import blocking_check_keys, table_checks
from twotower_assets.event_log import speed_up_sqlite_event_log
from twotower_assets.partitions import daily_partitions
from twotower_assets.platform import Platform, open_platform
from twotower_assets.settings import Settings, load_settings

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
    platform = open_platform(settings or load_settings())
    with warnings.catch_warnings():
        # Windows that reach before the first partition are a beta in Dagster 1.13.
        warnings.filterwarnings("ignore", category=dg.BetaWarning)
        return _definitions(platform, resources or {})


def _definitions(platform: Platform, resources: Mapping[str, Any]) -> dg.Definitions:
    partitions = daily_partitions(*platform.days())
    every_job = jobs()
    assets: list[dg.AssetsDefinition] = [
        *source_assets(platform, partitions),
        *feature_assets(platform, partitions),
        *training_assets(platform, partitions, blocking_check_keys(TRAINING_INPUTS)),
        *serving_assets(platform, partitions),
        embedding_drift_asset(platform, partitions),
        champion_asset(platform),
        *report_assets(platform, partitions),
        *negative_sampling_assets(platform, partitions, blocking_check_keys(TRAINING_INPUTS)),
    ]
    return dg.Definitions(
        assets=dg.with_source_code_references(assets),
        asset_checks=table_checks(),
        jobs=every_job,
        schedules=[daily_schedule(platform.settings, partitions, every_job[-1])],
        resources={"platform": platform, **resources},
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """What Dagster loads."""
    speed_up_sqlite_event_log()
    return build_definitions()

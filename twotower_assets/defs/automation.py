"""Jobs and the daily schedule. Which assets they hold is said by group; what these do is not decided here."""

from typing import Any

import dagster as dg

from twotower_assets.defs.partitions import Partitions
from twotower_assets.defs.specs import key_of
from twotower_assets.settings import Settings

FEATURES = dg.AssetSelection.groups("sources", "features")
TRAINING = dg.AssetSelection.groups("training", "serving", "reports", "promotion")


def jobs() -> list[Any]:
    """The jobs, each with the checks of its assets; the last is `everything_job`."""
    return [
        dg.define_asset_job(
            "features_job",
            FEATURES,
            description="Read the sources of a day, or of a range of days, and make every feature.",
        ),
        dg.define_asset_job(
            "training_job",
            TRAINING,
            description="Train as of a day, embed, index, report, and serve the newest version that passes the gates.",
        ),
        dg.define_asset_job(
            "champion_job",
            dg.AssetSelection.assets(key_of("champion")),
            description="Judge the newest version against what is served; or promote a version by hand, or roll back.",
        ),
        dg.define_asset_job(
            "recipes_job",
            dg.AssetSelection.assets(key_of("negative_sampling_runs")),
            description="Train one recipe, to be compared with others; a backfill over all partitions is the ablation.",
        ),
        dg.define_asset_job(
            "comparison_job",
            dg.AssetSelection.assets(key_of("negative_sampling_comparison")),
            description="Set the recipes that were trained side by side.",
        ),
        dg.define_asset_job(
            "everything_job",
            FEATURES | TRAINING,
            description="A day from its raw log to what is served.",
        ),
    ]


def daily_schedule(settings: Settings, partitions: Partitions, everything: Any) -> dg.ScheduleDefinition:
    """Run `everything_job` for the day that ended last, once a day at the set hour of the set time zone."""

    @dg.schedule(
        name="daily_schedule",
        job=everything,
        cron_schedule=f"0 {settings.schedule_hour} * * *",
        execution_timezone=settings.time_zone,
        description=f"Every day at {settings.schedule_hour}:00 {settings.time_zone}, for the UTC day that ended last.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        with dg.partition_loading_context(effective_dt=context.scheduled_execution_time):
            key = partitions.get_last_partition_key()
        if key is None:
            return dg.SkipReason("No daily partition has ended yet.")
        return dg.RunRequest(run_key=key, partition_key=key)

    return schedule

"""The daily schedule. What a run materializes is defined by its job."""

from typing import Any

import dagster as dg

from twotower_assets.defs.naming import Naming
from twotower_assets.defs.partitions import Partitions
from twotower_assets.settings import Settings


def daily_schedule(
    settings: Settings, naming: Naming, partitions: Partitions, everything: Any
) -> dg.ScheduleDefinition:
    """Run `everything_job` for the latest complete UTC day, once a day at `schedule_hour` in `time_zone`."""

    @dg.schedule(
        name=naming.definition_name("daily_schedule"),
        job=everything,
        cron_schedule=f"0 {settings.schedule_hour} * * *",
        execution_timezone=settings.time_zone,
        description=f"Every day at {settings.schedule_hour}:00 {settings.time_zone}, for the latest complete UTC day.",
    )
    def schedule(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        with dg.partition_loading_context(effective_dt=context.scheduled_execution_time):
            key = partitions.get_last_partition_key()
        if key is None:
            return dg.SkipReason("No daily partition has ended yet.")
        return dg.RunRequest(run_key=key, partition_key=key)

    return schedule

"""The platform as one object: settings, lake, artifacts and raw data set, opened together.

Assets get it as the Dagster resource `platform`, the command line opens it itself. It decides nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from twotower_assets.lake.artifacts import ArtifactStore
from twotower_assets.lake.lake import Lake
from twotower_assets.lake.sources import Source
from twotower_assets.settings import Settings, SettingsError

DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
event_log_storage:
  module: twotower_assets.event_storage
  class: LocalEventLog
  config:
    base_dir:
      env: DAGSTER_HOME
run_monitoring:
  enabled: true
  free_slots_after_run_end_seconds: 60
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
concurrency:
  runs:
    max_concurrent_runs: 2
"""


@dataclass(frozen=True)
class Platform:
    """What every asset and command needs."""

    settings: Settings
    lake: Lake
    artifacts: ArtifactStore
    source: Source

    def days(self) -> tuple[date, date | None]:
        """First and last daily partition: as set, else as the data set's `days.sql` says.

        Raises `SettingsError` where neither names a first day, `SourceError` where `days.sql` fails.
        """
        first, last = self.settings.first_day, self.settings.last_day
        if first is None:
            with duckdb.connect() as con:
                found_first, found_last = self.source.days(con)
            first, last = found_first, last or found_last
        if first is None:
            raise SettingsError(
                f"the data set '{self.source.dataset}' has no days.sql (or an empty log); set TWOTOWER_FIRST_DAY"
            )
        if last is not None and last < first:
            raise SettingsError(
                f"the first daily partition, {first}, lies after the last, {last}; see TWOTOWER_FIRST_DAY"
            )
        return first, last


def open_platform(settings: Settings) -> Platform:
    """The platform that `settings` describe; opens no file yet."""
    return Platform(
        settings=settings,
        lake=Lake(
            settings.lake_folder,
            settings.dataset,
            memory_limit=settings.memory_limit,
            threads=settings.threads,
            lock_seconds=settings.catalog_lock_seconds,
        ),
        artifacts=ArtifactStore(settings.artifacts_folder),
        source=Source(settings.dataset, settings.data_folder, settings.source_sql_folder, settings.source_format),
    )


def prepare_dagster_home(folder: Path) -> None:
    """Make the folder of the Dagster instance, with its `dagster.yaml`, and point DAGSTER_HOME at it."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "dagster.yaml").exists():
        (folder / "dagster.yaml").write_text(DAGSTER_YAML, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(folder)

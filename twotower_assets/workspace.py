"""The platform as one object: settings, lake, artifacts and raw data set, opened together.

Assets get it as the Dagster resource `platform`, the command line opens it itself. It decides nothing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from twotower_assets.datasets.raw_source import Source
from twotower_assets.lake.artifacts import ArtifactStore
from twotower_assets.lake.lake import Lake
from twotower_assets.settings import Settings, SettingsError, load_settings

if TYPE_CHECKING:
    from twotower_assets.lake.lineage import Node

DAGSTER_YAML = """\
telemetry:
  enabled: false
nux:
  enabled: false
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
BATCHED_EVENT_LOG = """\
event_log_storage:
  module: twotower_assets.defs.event_storage
  class: LocalEventLog
  config:
    base_dir:
      env: DAGSTER_HOME
"""

WORKSPACE_YAML = """\
load_from:
  - python_module:
      module_name: twotower_assets.definitions
      location_name: twotower_assets
"""
"""The code location, for a Dagster that does not start in a checkout of this project."""


@dataclass(frozen=True)
class Workspace:
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


def lineage(workspace: Workspace, artifact: str) -> Node:
    """The chain below an artifact of this home; raises as `lake.lineage.lineage` does."""
    from twotower_assets.lake.lineage import RawData
    from twotower_assets.lake.lineage import lineage as chain_below

    source = workspace.source
    first_day, _ = workspace.days()
    raw = RawData(str(source.path), str(source.sql_folder), first_day, workspace.settings.window_days)
    return chain_below(workspace.lake, workspace.artifacts, raw, artifact)


def open_workspace(settings: Settings) -> Workspace:
    """The platform that `settings` describe; opens no file yet."""
    return Workspace(
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


def dagster_yaml(event_log: str) -> str:
    """What the `dagster.yaml` of a home with this `TWOTOWER_EVENT_LOG` is written with."""
    before, runs, after = DAGSTER_YAML.partition("run_monitoring:")
    return before + (BATCHED_EVENT_LOG if event_log == "batched" else "") + runs + after


def prepare_dagster_home(settings: Settings) -> None:
    """Make the folder of the Dagster instance, with its `dagster.yaml`, and point DAGSTER_HOME at it.

    A `dagster.yaml` that was edited is left as it is; one that is as it was written follows the settings.
    """
    folder, wanted = settings.dagster_home, dagster_yaml(settings.event_log)
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "dagster.yaml"
    batched = dagster_yaml("batched")
    written = {DAGSTER_YAML, batched, batched.replace("twotower_assets.defs.", "twotower_assets.")}
    if not file.exists() or file.read_text(encoding="utf-8") in written - {wanted}:
        file.write_text(wanted, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(folder)


def write_workspace_file(folder: Path) -> Path:
    """Write the `workspace.yaml` that Dagster loads the installed package with; give its path."""
    file = folder / "workspace.yaml"
    file.write_text(WORKSPACE_YAML, encoding="utf-8")
    return file


def connect(home: str | Path | None = None, *, snapshot: int | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the lake attached read-only as `lake`, and chosen with USE.

    Every statement sees one snapshot: the newest, or `snapshot` throughout. For several statements on the newest, put
    them between `BEGIN` and `COMMIT`. Runs that write are neither disturbed nor waited for. Close the connection, or
    use it in a `with`.

    Args:
        home: the home folder. Default: `TWOTOWER_HOME`, else `.twotower` in a checkout, else `~/.twotower`.
        snapshot: a snapshot of the lake, such as the `lake_snapshot` of an artifact. Views and macros are there as far
            as they were then.

    Raises:
        LakeError: there is no lake in the home, or no such snapshot.
        SettingsError: a setting of the home is wrong.
    """
    settings = load_settings() if home is None else load_settings(home=Path(home))
    return open_workspace(settings).lake.session(snapshot)

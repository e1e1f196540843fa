"""The platform as one object: settings, lake, artifacts and raw data set, opened together.

Assets get it as the Dagster resource `platform`; the command line opens it itself. No logic belongs here.
"""

from __future__ import annotations

import os
import re
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
    """The settings, lake, artifacts and raw data set of one home folder."""

    settings: Settings
    lake: Lake
    artifacts: ArtifactStore
    source: Source

    def days(self) -> tuple[date, date | None]:
        """First and last daily partition: each from its setting, else from the data set's `days.sql`.

        Raises `SettingsError` if neither gives a first day, `SourceError` if `days.sql` fails.
        """
        first, last = self.settings.first_day, self.settings.last_day
        if first is None or last is None:
            with duckdb.connect() as con:
                found_first, found_last = self.source.days(
                    con, self.settings.plausible_from, only_last=first is not None
                )
            first, last = first or found_first, last or found_last
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
    """The lineage of an artifact of this home; raises like `lake.lineage.lineage`."""
    from twotower_assets.lake.lineage import RawData
    from twotower_assets.lake.lineage import lineage as artifact_lineage

    source = workspace.source
    first_day, _ = workspace.days()
    raw = RawData(str(source.path), str(source.sql_folder), first_day, workspace.settings.window_days)
    return artifact_lineage(workspace.lake, workspace.artifacts, raw, artifact)


def open_workspace(settings: Settings) -> Workspace:
    """The workspace of these settings; no file is opened yet."""
    return Workspace(
        settings=settings,
        lake=Lake(
            settings.lake_folder,
            settings.dataset,
            memory_limit=settings.memory_limit,
            threads=settings.query_threads,
            lock_seconds=settings.catalog_lock_seconds,
        ),
        artifacts=ArtifactStore(settings.artifacts_folder),
        source=Source(settings.dataset, settings.data_folder, settings.source_sql_folder, settings.source_format),
    )


def dagster_yaml(event_log: str) -> str:
    """The content of `dagster.yaml` for this value of `TWOTOWER_EVENT_LOG`."""
    before, runs, after = DAGSTER_YAML.partition("run_monitoring:")
    return before + (BATCHED_EVENT_LOG if event_log == "batched" else "") + runs + after


def prepare_dagster_home(settings: Settings) -> None:
    """Create the folder of the Dagster instance with its `dagster.yaml`, and set DAGSTER_HOME to it.

    An edited `dagster.yaml` is left alone; an unedited one is updated when the settings change. Raises `SettingsError`
    where the home cannot be written, or has a name that Dagster cannot store in.
    """
    folder, wanted = settings.dagster_home, dagster_yaml(settings.event_log)
    if re.search(r"\?|%[0-9a-fA-F]{2}", str(folder)):
        raise SettingsError(
            f"TWOTOWER_HOME is {settings.home}: Dagster cannot keep its SQLite files in a folder with a '?', or a '%' "
            "before two hexadecimal digits, in its path. Choose another folder"
        )
    file = folder / "dagster.yaml"
    batched = dagster_yaml("batched")
    written = {DAGSTER_YAML, batched, batched.replace("twotower_assets.defs.", "twotower_assets.")}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.exists() or file.read_text(encoding="utf-8") in written - {wanted}:
            file.write_text(wanted, encoding="utf-8")
    except OSError as error:
        raise SettingsError(
            f"cannot write to {folder}: {error.strerror}. TWOTOWER_HOME must be a folder that can be written"
        ) from error
    os.environ["DAGSTER_HOME"] = str(folder)


def write_workspace_file(folder: Path) -> Path:
    """Write the `workspace.yaml` that Dagster loads the installed package with; give its path."""
    file = folder / "workspace.yaml"
    file.write_text(WORKSPACE_YAML, encoding="utf-8")
    return file


def connect(home: str | Path | None = None, *, snapshot: int | None = None) -> duckdb.DuckDBPyConnection:
    """A DuckDB connection with the lake attached read-only as `lake`, the default database.

    Every statement sees one snapshot: the newest, or always `snapshot`. To read the same newest snapshot in several
    statements, put them between `BEGIN` and `COMMIT`. Readers and writers do not block each other. Close the
    connection, or use it in a `with` statement.

    Args:
        home: the home folder. Default: `TWOTOWER_HOME`, else `.twotower` in a checkout, else `~/.twotower`.
        snapshot: a snapshot of the lake, such as the `lake_snapshot` of an artifact. Its views and macros are those of
            that snapshot.

    Raises:
        LakeError: there is no lake in the home, or no such snapshot.
        SettingsError: a setting of the home is wrong.
    """
    settings = load_settings() if home is None else load_settings(home=Path(home))
    return open_workspace(settings).lake.session(snapshot)

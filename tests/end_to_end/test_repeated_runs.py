"""Materializing twice gives the same, and the snapshots distinguish both."""

from __future__ import annotations

import hashlib
from typing import Any

from dagster._core.definitions.data_version import DATA_VERSION_TAG

from end_to_end.market import instance_of, materialize, rows
from twotower_assets.defs.naming import GROUPS, key_of
from twotower_assets.lake.tables import TABLES
from twotower_assets.workspace import Workspace

MEASURED = {
    "training_curves": "EXCLUDE (pairs_per_second, seconds)",
    "ann_index_quality": "EXCLUDE (queries_per_second)",
    "ann_index_depths": "EXCLUDE (queries_per_second)",
    "champion": "EXCLUDE (promoted_at)",
    "artifacts": "EXCLUDE (created_at, run_id, lake_snapshot, upstream)",
}


def contents(workspace: Workspace) -> dict[str, str]:
    """A digest of the rows of each table, without measured times and names of runs. Reports say when they were made."""
    digests = {}
    with workspace.lake.reader() as con:
        for name in TABLES:
            where = "WHERE asset <> 'popularity_bias_report'" if name == "artifacts" else ""
            columns = MEASURED.get(name, "")
            columns = "EXCLUDE (promoted_at, report_version)" if name == "champion" else columns
            text = str(con.execute(f"SELECT * {columns} FROM {name} {where} ORDER BY ALL").fetchall())
            digests[name] = hashlib.sha256(text.encode()).hexdigest()
    return digests


def versions(result: Any, name: str) -> set[str]:
    """The data versions with which an asset was materialized."""
    return {
        event.step_materialization_data.materialization.tags[DATA_VERSION_TAG]
        for event in result.get_asset_materialization_events()
        if event.asset_key == key_of(name)
    }


def test_a_partition_materialized_twice_gives_the_same_rows_checkpoint_and_index(changeable: Workspace) -> None:
    before = contents(changeable)
    newest = "SELECT max(snapshot_id) FROM ducklake_snapshots('lake')"
    snapshots = rows(changeable, newest)
    with instance_of(changeable) as instance:
        stood = {
            name: instance.get_latest_materialization_event(key_of(name)).asset_materialization.tags[DATA_VERSION_TAG]
            for name in ("tower_checkpoint", "ann_index")
        }
    again = materialize(changeable, *(name for group in GROUPS if group != "recipes" for name in GROUPS[group]))
    assert contents(changeable) == before
    assert rows(changeable, newest) > snapshots
    assert {name: versions(again, name) for name in stood} == {name: {version} for name, version in stood.items()}

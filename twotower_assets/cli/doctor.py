"""The findings of `twotower doctor`: installed packages, locations of state, problems. It repairs nothing."""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from typing import NamedTuple

import duckdb

from twotower_assets.core.cores import available_cores
from twotower_assets.datasets.raw_source import SourceError
from twotower_assets.lake.artifacts import ArtifactError
from twotower_assets.lake.errors import LakeError
from twotower_assets.lake.extensions import EXTENSIONS, load_extension
from twotower_assets.lake.queries import read_query
from twotower_assets.settings import SettingsError, load_settings
from twotower_assets.workspace import Workspace, open_workspace

PACKAGES = (
    "dagster",
    "dagster-webserver",
    "duckdb",
    "duckdb-extension-ducklake",
    "duckdb-extension-sqlite-scanner",
    "polars",
    "torch",
    "faiss-cpu",
    "great-expectations",
)


class Finding(NamedTuple):
    """One check: whether it passed, and what was found."""

    name: str
    ok: bool
    text: str


def examine() -> list[Finding]:
    """Run all checks; stops early if the settings are invalid."""
    findings = [
        Finding("python", sys.version_info >= (3, 11), sys.version.split()[0]),
        *_packages(),
        *_extensions(),
    ]
    try:
        workspace = open_workspace(load_settings())
    except SettingsError as error:
        return [*findings, Finding("settings", False, str(error))]
    return [
        *findings,
        _cores(workspace),
        _device(workspace),
        *_locations(workspace),
        *_source(workspace),
        *_lake(workspace),
    ]


def _packages() -> list[Finding]:
    findings = []
    for name in PACKAGES:
        try:
            findings.append(Finding(name, True, installed_version(name)))
        except PackageNotFoundError:
            findings.append(Finding(name, False, f"not installed; run `pip install {name}` or `make install`"))
    return findings


def _extensions() -> list[Finding]:
    findings = []
    with duckdb.connect() as con:
        for name, package in EXTENSIONS.items():
            try:
                load_extension(con, name, package)
                findings.append(Finding(f"DuckDB extension {name}", True, "loads"))
            except LakeError as error:
                findings.append(Finding(f"DuckDB extension {name}", False, str(error)))
    return findings


def _cores(workspace: Workspace) -> Finding:
    settings, machine = workspace.settings, os.cpu_count()
    used = f"{settings.query_threads} for DuckDB and FAISS, {settings.training_threads} for training"
    return Finding("cores", True, f"{used}; this process may use {available_cores()} of the machine's {machine}")


def _device(workspace: Workspace) -> Finding:
    from twotower_assets.two_tower.training.device import DeviceError, training_device

    asked = workspace.settings.device
    try:
        return Finding("training device", True, f"{training_device(asked)} (TWOTOWER_DEVICE={asked})")
    except DeviceError as error:
        return Finding("training device", False, str(error))


def _locations(workspace: Workspace) -> list[Finding]:
    settings = workspace.settings
    env_file = settings.home / "twotower.env"
    return [
        Finding("home", True, f"{settings.home}{'' if settings.home.is_dir() else ' (created by the first run)'}"),
        Finding("settings file", True, str(env_file) if env_file.is_file() else f"none ({env_file} does not exist)"),
        Finding("Dagster instance", True, f"DAGSTER_HOME={settings.dagster_home}"),
    ]


def _source(workspace: Workspace) -> list[Finding]:
    name = f"data set {workspace.source.dataset}"
    try:
        first, last = workspace.days()
    except (SettingsError, SourceError) as error:
        return [Finding(name, False, str(error))]
    exists = workspace.source.path.exists()
    days = f"daily partitions from {first} to {last or 'today'}"
    text = f"{workspace.source.path}{'' if exists else ' does not exist'}; {days}"
    return [Finding(name, exists, text)]


def _lake(workspace: Workspace) -> list[Finding]:
    if not workspace.lake.exists:
        command = "demo" if workspace.source.dataset == "movielens" else "materialize features_job"
        return [Finding("lake", True, f"none yet in {workspace.lake.folder}; `twotower {command}` creates it")]
    try:
        with workspace.lake.reader() as con:
            snapshot = workspace.lake.snapshot(con)
            found = [Finding("lake", True, f"{workspace.lake.uri}, snapshot {snapshot}")]
            found.append(_orphans(con, workspace))
            row = con.execute("SELECT model_version, index_version FROM champion").fetchone()
            if row is None:
                return [*found, Finding("champion", True, "none yet")]
            try:
                for asset, version in zip(("tower_checkpoint", "ann_index"), row, strict=True):
                    artifact = workspace.artifacts.open_recorded(con, asset, version)
                workspace.artifacts.verify(artifact)
            except ArtifactError as error:
                return [*found, Finding("champion", False, str(error))]
            return [*found, Finding("champion", True, row[0])]
    except (LakeError, duckdb.Error) as error:
        return [Finding("lake", False, str(error))]


def _orphans(con: duckdb.DuckDBPyConnection, workspace: Workspace) -> Finding:
    """Whether what was shown is in the catalogue."""
    ((orphaned, impressions, items, likely),) = con.execute(read_query("reports/orphans.sql")).fetchall()
    share = orphaned / impressions if impressions else 0.0
    text = f"{share:.1%} of {impressions:,} impressions have an item that is not in the catalogue"
    if items:
        text += f" ({items:,} items)"
    if likely:
        text += f"; likely cause: {likely['cause']}, such as '{likely['orphan']}' for '{likely['listed']}'"
    return Finding("catalogue", share <= workspace.settings.maximum_orphan_share, text)

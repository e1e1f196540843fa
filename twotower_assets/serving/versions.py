"""Resolves the name that a person gives to a version of the model, with its index and its report.

Serving, promoting and comparing versions is done elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from pathlib import Path

import duckdb

from twotower_assets.core.errors import ExpectedError
from twotower_assets.lake.artifacts import Artifact, ArtifactError
from twotower_assets.lake.queries import read_query

CHAMPION = "champion"
NAMING = "a version, the start of one or of its hash, a day (its newest model), or 'champion'"
VECTOR_FILES = {
    "served_item_embeddings": "item_vectors.parquet",
    "served_user_embeddings": "user_vectors.parquet",
}
"""The vectors that an index was built with, kept beside it so that a roll-back can serve them again."""


class VersionError(ExpectedError, LookupError):
    """No version has this name, or several do."""


@dataclass(frozen=True)
class Version:
    """A version of the model; its index and report are None if it has none."""

    model_day: date
    model_version: str
    index_version: str | None
    report_version: str | None


def champion_of(con: duckdb.DuckDBPyConnection) -> Version | None:
    """The version that is served; None if nothing is."""
    row = con.execute("SELECT model_day, model_version, index_version, report_version FROM champion").fetchone()
    return Version(*row) if row else None


def find_version(con: duckdb.DuckDBPyConnection, name: str) -> Version:
    """The version that `name` refers to, as `NAMING` describes.

    Raises `VersionError` if it matches no version, or several.
    """
    if name == CHAMPION:
        if (champion := champion_of(con)) is None:
            raise VersionError("there is no champion yet; name another version")
        return champion
    known = [Version(*row) for row in con.execute(read_query("serving/versions.sql")).fetchall()]
    on_day = [version for version in known if version.model_day.isoformat() == name]
    found = on_day[:1] or [version for version in known if _is_named(version, name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise VersionError(f"'{name}' may be any of {', '.join(version.model_version for version in found)}")
    newest = ", ".join(version.model_version for version in known[:5]) or "none yet"
    raise VersionError(f"there is no version '{name}' of the model; name {NAMING}. Newest: {newest}")


def _is_named(version: Version, name: str) -> bool:
    if name in (version.model_version, version.index_version):
        return True
    return bool(name) and (
        version.model_version.startswith(name) or version.model_version.rpartition("-")[2].startswith(name)
    )


def vector_file(index: Artifact, table: str) -> Path:
    """The file of an index version with its item or user vectors. Raises `ArtifactError` if it is missing."""
    file = index.folder / VECTOR_FILES[table]
    if not file.is_file():
        raise ArtifactError(
            f"ann_index {index.version} has no {file.name}: the file was lost, or the index was built before vectors "
            "were kept with it. Materialize serving/ann_index for that day again"
        )
    return file

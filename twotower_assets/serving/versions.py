"""Which version is meant: a name that a person gives becomes a version of the model, with its index and its report.

What is done with a version (served, promoted, compared) lives with those who do it.
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
"""The vectors that an index was built with, which are kept beside it: what was served can be served again."""


class VersionError(ExpectedError, LookupError):
    """No version is named so, or more than one."""


@dataclass(frozen=True)
class Version:
    """A version of the model; index and report are None where there is none."""

    model_day: date
    model_version: str
    index_version: str | None
    report_version: str | None


def champion_of(con: duckdb.DuckDBPyConnection) -> Version | None:
    """What is served, if anything is."""
    row = con.execute("SELECT model_day, model_version, index_version, report_version FROM champion").fetchone()
    return Version(*row) if row else None


def find_version(con: duckdb.DuckDBPyConnection, name: str) -> Version:
    """The version that `name` means: see `NAMING`.

    Raises `VersionError` where it means none, or several.
    """
    if name == CHAMPION:
        if (champion := champion_of(con)) is None:
            raise VersionError("there is no champion yet; name another version")
        return champion
    known = [Version(*row) for row in con.execute(read_query("serving/versions.sql")).fetchall()]
    of_day = [one for one in known if one.model_day.isoformat() == name]
    found = of_day[:1] or [one for one in known if _is_named(one, name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise VersionError(f"'{name}' may be any of {', '.join(one.model_version for one in found)}")
    newest = ", ".join(one.model_version for one in known[:5]) or "none yet"
    raise VersionError(f"there is no version '{name}' of the model; name {NAMING}. Newest: {newest}")


def _is_named(version: Version, name: str) -> bool:
    if name in (version.model_version, version.index_version):
        return True
    return bool(name) and (
        version.model_version.startswith(name) or version.model_version.rpartition("-")[2].startswith(name)
    )


def vector_file(index: Artifact, table: str) -> Path:
    """The file of an index version with its item or user vectors. Raises `ArtifactError` where it keeps none."""
    file = index.folder / VECTOR_FILES[table]
    if not file.is_file():
        raise ArtifactError(
            f"ann_index {index.version} has no {file.name}: it was built before versions kept their vectors, or lost "
            "it. Materialize serving/ann_index for that day again"
        )
    return file

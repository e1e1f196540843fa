"""Artifacts that are not tables: checkpoints, indexes and reports. Each version is an immutable folder.

A version is written to a temporary folder and renamed into place, with a `manifest.json` that records its provenance.
The content of the other files is up to the writer.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb

from twotower_assets.core.errors import ExpectedError
from twotower_assets.lake.queries import read_query, scalar

MANIFEST = "manifest.json"
VERSION_DIGITS = 12
MANIFEST_HASH = "manifest_hash"
"""The field of a manifest with the SHA-256 of its other fields."""


class ArtifactError(ExpectedError, RuntimeError):
    """An artifact is missing, damaged or cannot be written; the message says what to do."""


@dataclass(frozen=True)
class TableInput:
    """A table that an artifact was made from, with the days and the lake snapshot that were read."""

    table: str
    snapshot: int
    first_day: str | None = None
    last_day: str | None = None


@dataclass(frozen=True)
class ArtifactInput:
    """An artifact that another was made from."""

    asset: str
    version: str


@dataclass(frozen=True)
class Provenance:
    """What an artifact was made from, by which code, in which run."""

    model_day: date
    lake_snapshot: int
    code_version: str
    run_id: str
    tables: tuple[TableInput, ...] = ()
    artifacts: tuple[ArtifactInput, ...] = ()
    recipe: str | None = None
    seed: int | None = None
    details: dict[str, Any] = field(default_factory=dict)


FIELDS = {"asset", "version", "content_hash", "created_at", *(each.name for each in fields(Provenance))}
"""What every manifest has."""


@dataclass(frozen=True)
class Artifact:
    """A published version: its folder and its manifest."""

    asset: str
    version: str
    folder: Path
    manifest: dict[str, Any]

    @property
    def content_hash(self) -> str:
        """SHA-256 of its content, hexadecimal."""
        return str(self.manifest["content_hash"])


@dataclass(frozen=True)
class ArtifactStore:
    """The folder `<folder>/<asset>/<version>/`."""

    folder: Path

    def publish(self, asset: str, build: Callable[[Path], str | None], provenance: Provenance) -> Artifact:
        """Let `build` write a version into an empty folder, and move it into place atomically.

        `build` returns the content hash, or None for the hash over all files that it wrote. If the version already
        exists, its files are kept and only the manifest is replaced. Raises `ArtifactError` if writing fails; then
        nothing is left behind.
        """
        parent = self.folder / asset
        try:
            parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=parent, prefix=".writing-", ignore_cleanup_errors=True) as name:
                fresh = Path(name) / "content"
                fresh.mkdir()
                content_hash = build(fresh) or _folder_hash(fresh)
                version = f"{provenance.model_day}-{content_hash[:VERSION_DIGITS]}"
                manifest = _manifest(asset, version, content_hash, provenance)
                (fresh / MANIFEST).write_text(_as_text(manifest), "utf-8")
                _move_into_place(fresh, parent / version)
        except OSError as error:
            raise ArtifactError(
                f"cannot write a version of {asset} to {parent}: {error.strerror or error}. Nothing was left behind"
            ) from error
        return self.open(asset, version)

    def open(self, asset: str, version: str) -> Artifact:
        """The published version. Raises `ArtifactError` if it is gone, or its manifest is damaged or of another one."""
        folder = self.folder / asset / version
        try:
            manifest = _verified((folder / MANIFEST).read_text("utf-8"))
        except FileNotFoundError as error:
            raise ArtifactError(
                f"{asset} {version} is gone: {folder} is not there. Materialize {asset} again, or restore the folder"
            ) from error
        except (OSError, ValueError) as error:
            raise ArtifactError(f"the manifest in {folder} cannot be read ({error}). Restore the folder") from error
        if (manifest["asset"], manifest["version"]) != (asset, version):
            raise ArtifactError(
                f"{folder} holds {manifest['asset']} {manifest['version']}: it was renamed or swapped. Restore it"
            )
        return Artifact(asset, version, folder, manifest)

    def verify(self, artifact: Artifact) -> None:
        """Raise `ArtifactError` if the hash of the files differs from the one in the manifest.

        Only for artifacts whose content hash covers all their files.
        """
        if _folder_hash(artifact.folder) != artifact.content_hash:
            raise ArtifactError(
                f"the files in {artifact.folder} are not those that were published: their hash differs from that in "
                f"{MANIFEST}. Restore the folder, or materialize {artifact.asset} again"
            )

    def open_recorded(self, con: duckdb.DuckDBPyConnection, asset: str, version: str) -> Artifact:
        """Like `open`; also raises if the lake that `con` reads recorded another content hash for the version."""
        artifact = self.open(asset, version)
        recorded = scalar(con, read_query("lineage/recorded_hash.sql"), {"asset": asset, "version": version})
        if recorded != artifact.content_hash:
            raise ArtifactError(
                f"{artifact.folder} is not the {asset} that the lake recorded: its content hash is "
                f"{artifact.content_hash}, there it is {recorded or 'missing'}. Restore the folder"
            )
        return artifact

    def scratch(self, asset: str, name: str) -> Path:
        """A folder for state that must survive an interruption, such as the resume state of a training."""
        return self.folder / ".resume" / asset / name

    def discard_scratch(self, asset: str, name: str) -> None:
        """Remove the folder of `scratch`."""
        shutil.rmtree(self.scratch(asset, name), ignore_errors=True)


def _manifest(asset: str, version: str, content_hash: str, provenance: Provenance) -> dict[str, Any]:
    made_from = asdict(provenance) | {"model_day": provenance.model_day.isoformat()}
    manifest = {
        "asset": asset,
        "version": version,
        "content_hash": content_hash,
        "created_at": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        **made_from,
    }
    return {**manifest, MANIFEST_HASH: _manifest_hash(manifest)}


def _as_text(manifest: dict[str, Any]) -> str:
    return json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"


def _manifest_hash(manifest: dict[str, Any]) -> str:
    others = {name: value for name, value in manifest.items() if name != MANIFEST_HASH}
    return hashlib.sha256(_as_text(others).encode()).hexdigest()


def _verified(text: str) -> dict[str, Any]:
    """The manifest with this text. Raises `ValueError` if any of it was changed.

    Manifests of earlier releases have no hash of their own; of these only the fields and the version are checked.
    """
    manifest = json.loads(text)
    if not isinstance(manifest, dict):
        raise ValueError("it is not a JSON object")
    if set(manifest) - {MANIFEST_HASH} != FIELDS:
        raise ValueError(f"its fields are not {', '.join(sorted(FIELDS))}")
    if manifest["version"] != f"{manifest['model_day']}-{str(manifest['content_hash'])[:VERSION_DIGITS]}":
        raise ValueError("its version, day and content hash do not agree")
    if MANIFEST_HASH in manifest and (manifest[MANIFEST_HASH], _as_text(manifest)) != (_manifest_hash(manifest), text):
        raise ValueError(f"it is not the text that its {MANIFEST_HASH} belongs to")
    return manifest


def _move_into_place(fresh: Path, folder: Path) -> None:
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise
        (fresh / MANIFEST).replace(folder / MANIFEST)  # the same content was already published


def _folder_hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST):
        digest.update(str(file.relative_to(folder)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()

"""The DuckDB extensions that a lake needs, loaded from their wheels."""

from __future__ import annotations

import logging
from importlib.resources import files
from pathlib import Path

import duckdb

from twotower_assets.lake.errors import LakeError
from twotower_assets.lake.queries import quoted

log = logging.getLogger(__name__)

EXTENSIONS = {"ducklake": "duckdb_extension_ducklake", "sqlite_scanner": "duckdb_extension_sqlite_scanner"}


def load_extension(con: duckdb.DuckDBPyConnection, name: str, package: str) -> None:
    """Load a DuckDB extension from its wheel, else from DuckDB's repository. Raises `LakeError` if neither works."""
    try:
        con.execute(load_statement(name, package))
        return
    except duckdb.Error as error:
        log.info("the DuckDB extension %s is not installed: %s", name, error)
    try:
        con.execute(f"INSTALL {name}")
        con.execute(f"LOAD {name}")
    except duckdb.Error as error:
        wheel = package.replace("_", "-")
        raise LakeError(
            f"DuckDB {duckdb.__version__} cannot load its extension '{name}'; "
            f"run `pip install {wheel}=={duckdb.__version__}` ({error})"
        ) from error


def load_statement(name: str, package: str) -> str:
    """The statement that loads a DuckDB extension from its wheel, or without the wheel from DuckDB's repository."""
    try:
        file = files(package) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    except ModuleNotFoundError:
        return f"LOAD {name}"
    return f"LOAD '{quoted(Path(str(file)))}'"

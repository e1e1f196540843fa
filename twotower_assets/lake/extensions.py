"""The DuckDB extensions that a lake needs, from their wheels. Which lake is opened with them is decided in `lake`."""

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
    """Load a DuckDB extension from its wheel, else from DuckDB's own store. Raises `LakeError` if neither works."""
    try:
        con.execute(load_statement(name, package))
        return
    except duckdb.Error as error:
        log.info("the DuckDB extension %s is not at hand: %s", name, error)
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
    """The statement that loads a DuckDB extension: from the file of its wheel, without one from DuckDB's own store."""
    try:
        file = files(package) / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    except ModuleNotFoundError:
        return f"LOAD {name}"
    return f"LOAD '{quoted(Path(str(file)))}'"

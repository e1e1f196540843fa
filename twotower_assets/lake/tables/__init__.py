"""The tables of the lake. Each column is declared once: name, type, meaning, allowed values, source columns.

Table creation, comments in the lake, the Dagster column schema, column lineage, the Great Expectations suites and
`docs/tables.md` all read these declarations. Nothing here opens a database.
"""

from __future__ import annotations

from twotower_assets.lake.tables.bookkeeping import ANALYSTS, ARTIFACTS
from twotower_assets.lake.tables.declaration import Column, Table, names
from twotower_assets.lake.tables.features import FEATURES
from twotower_assets.lake.tables.recipes import RECIPES
from twotower_assets.lake.tables.reports import REPORTS
from twotower_assets.lake.tables.serving import DECISIONS, SERVING
from twotower_assets.lake.tables.sources import REJECTION_REASONS, SOURCES
from twotower_assets.lake.tables.training import TRAINING

__all__ = [
    "ANALYSTS",
    "ARTIFACTS",
    "DECISIONS",
    "FEATURES",
    "RECIPES",
    "REJECTION_REASONS",
    "REPORTS",
    "SERVING",
    "SOURCES",
    "TABLES",
    "TRAINING",
    "Column",
    "Table",
    "names",
]

TABLES: dict[str, Table] = {
    table.name: table for table in (*SOURCES, *FEATURES, *TRAINING, *SERVING, *REPORTS, *RECIPES, ARTIFACTS, *ANALYSTS)
}

"""Metadata of the platform: versions of artifacts, and tables that document the others."""

from __future__ import annotations

from twotower_assets.lake.tables.declaration import Column, Table

ARTIFACTS = Table(
    "artifacts",
    "Checkpoints, indexes and reports: one row per artifact version.",
    (
        Column("asset", "VARCHAR", "The asset that produced it."),
        Column("version", "VARCHAR", "Its version: the start of its content hash."),
        Column("model_day", "DATE", "The daily partition it belongs to."),
        Column("path", "VARCHAR", "Folder, relative to the home folder."),
        Column("content_hash", "VARCHAR", "SHA-256 over its files."),
        Column("created_at", "TIMESTAMP", "When, UTC."),
        Column("lake_snapshot", "BIGINT", "Lake snapshot that it was made from.", minimum=0),
        Column("code_version", "VARCHAR", "Version of the code that produced it."),
        Column("run_id", "VARCHAR", "Dagster run that produced it."),
        Column("recipe", "VARCHAR", "Training recipe.", nullable=True),
        Column("seed", "BIGINT", "Training seed.", nullable=True),
        Column("upstream", "JSON", "What it was made from: tables with days, artifacts with versions."),
        Column(
            "details",
            "JSON",
            "Further facts: the hold-out of a checkpoint, the type of an index, the headline metrics of a report.",
            nullable=True,
        ),
    ),
    ("asset", "version"),
)

ANALYSTS = (
    Table(
        "macro_help",
        "The views and table macros of the lake: one row each, from the comments of the files in `sql/analysts/`.",
        (
            Column("name", "VARCHAR", "Its name."),
            Column("kind", "VARCHAR", "Whether it takes arguments.", values=("view", "macro")),
            Column("signature", "VARCHAR", "How it is called."),
            Column("description", "VARCHAR", "What it is."),
            Column("arguments", "VARCHAR", "What each argument is.", nullable=True),
            Column("gives", "VARCHAR", "Its columns."),
            Column("errors", "VARCHAR", "When it raises an error.", nullable=True),
            Column("example", "VARCHAR", "A statement that runs on any lake with a champion."),
        ),
        ("name",),
    ),
    Table(
        "column_lineage",
        "Which columns the columns of tables are made from, as declared: one row per column and source.",
        (
            Column("table_name", "VARCHAR", "The table."),
            Column("column_name", "VARCHAR", "Its column."),
            Column("from_table", "VARCHAR", "The table that it is made from."),
            Column("from_column", "VARCHAR", "The column that it is made from."),
        ),
        ("table_name", "column_name", "from_table", "from_column"),
    ),
)

"""How an asset is declared: key, group, owners, and the metadata that its table or its code gives.

What an asset does lives in the module of its group.
"""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from twotower_assets.lake import tables
from twotower_assets.lake.queries import SQL_FOLDER
from twotower_assets.lake.tables import TABLES, Table
from twotower_assets.workspace import Workspace

OWNERS = ["team:recommendations"]
PACKAGE = Path(__file__).resolve().parents[1]
GROUPS = {
    "sources": tables.names(tables.SOURCES),
    "features": tables.names(tables.FEATURES),
    "training": ["tower_checkpoint", *tables.names(tables.TRAINING)],
    "serving": ["item_embeddings", "user_embeddings", "ann_index", "embedding_drift", "champion"],
    "reports": ["popularity_bias_report"],
    "recipes": ["negative_sampling_runs", "negative_sampling_comparison"],
}
WRITTEN_WITH = {
    "ann_index_quality": "ann_index",
    "ann_index_depths": "ann_index",
    "served_item_embeddings": "champion",
    "served_user_embeddings": "champion",
    "champion_decisions": "champion",
    "version_comparisons": "champion",
    **dict.fromkeys(tables.names(tables.REPORTS), "popularity_bias_report"),
    **{name: "negative_sampling_runs" for name in tables.names(tables.RECIPES) if name not in GROUPS["recipes"]},
}
"""Tables that an asset of another name writes: their columns are shown at it, and their checks are its."""
SHOWN_APART = {"champion": "promotion"}
"""Assets that the graph shows in a group of their own: what is decided from the report comes to the right of it."""


def group_of(name: str) -> str:
    """The group that the asset `name` belongs to; `KeyError` if to none."""
    for group, members in GROUPS.items():
        if name in members:
            return group
    raise KeyError(f"{name} belongs to no group")


def key_of(name: str) -> dg.AssetKey:
    """The asset key of `name`: its group, then its name."""
    return dg.AssetKey([group_of(name), name])


def code_version(files: Iterable[Path]) -> str:
    """A version that changes with the text of the files: the start of a SHA-256."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def sql_files(*patterns: str) -> list[Path]:
    """The SQL files under `sql/` that match."""
    return [file for pattern in patterns for file in sorted(SQL_FOLDER.glob(pattern))]


def code_files(*names: str) -> list[Path]:
    """The Python and YAML files of rooms of this package, or single files of it."""
    found = (PACKAGE / name for name in names)
    every = (file for one in found for file in ([one] if one.is_file() else sorted(one.rglob("*"))))
    return [file for file in every if file.suffix in (".py", ".yaml")]


def column_schema(table: Table) -> dg.TableSchema:
    """The declared columns as Dagster shows them."""
    return dg.TableSchema(
        columns=[
            dg.TableColumn(
                column.name,
                column.type,
                description=column.description,
                constraints=dg.TableColumnConstraints(nullable=column.nullable, unique=table.grain == (column.name,)),
            )
            for column in table.columns
        ]
    )


def column_lineage(table: Table) -> dg.TableColumnLineage | None:
    """Which upstream columns each column is made from; None where none is declared."""
    lineage = {
        column.name: [
            dg.TableColumnDep(asset_key=key_of(source.split(".")[0]), column_name=source.split(".")[1])
            for source in column.derived_from
        ]
        for column in table.columns
        if column.derived_from
    }
    return dg.TableColumnLineage(lineage) if lineage else None


def describe(table: Table, used_for: str, note: str = "") -> str:
    """Description of a table asset: grain, identifying columns, what it is used for."""
    identified = f"\n\nA row is identified by {', '.join(f'`{name}`' for name in table.grain)}." if table.grain else ""
    more = f"\n\n{note}" if note else ""
    return f"{table.description}{identified}\n\n**Used for:** {used_for}{more}"


def table_spec(
    name: str,
    workspace: Workspace,
    *,
    used_for: str,
    deps: Sequence[Any] = (),
    kinds: set[str],
    version: str,
    note: str = "",
    sql: str | Sequence[Path] = (),
    made_from: str = "",
    partitions_def: dg.PartitionsDefinition | None = None,
) -> dg.AssetSpec:
    """The spec of an asset that is a table of the lake.

    Args:
        name: of the table, and of the asset.
        platform: whose lake it is in.
        used_for: a phrase that ends with a full stop.
        deps: the assets it is made from; where there are none, `made_from` says what it is made from.
        kinds: what it is made with.
        version: from `code_version`.
        note: what else there is to know.
        sql: the files that make it, or a pattern below `sql/`.
        made_from: a phrase that ends with a full stop.
        partitions_def: as Dagster has it.
    """
    table = TABLES[name]
    metadata: dict[str, Any] = {
        "dagster/column_schema": column_schema(table),
        "dagster/table_name": f"lake.main.{name}",
        "dagster/uri": f"{workspace.lake.uri}#{name}",
        **code_references(sql_files(sql) if isinstance(sql, str) else sql),
    }
    if lineage := column_lineage(table):
        metadata["dagster/column_lineage"] = lineage
    return asset_spec(
        name,
        description=describe(table, used_for, note),
        deps=deps,
        kinds=kinds,
        version=version,
        metadata=metadata,
        made_from=made_from,
        partitions_def=partitions_def,
    )


def code_references(files: Sequence[Path]) -> dict[str, Any]:
    """Metadata that links files, which the UI opens in an editor; `definitions` adds the function of the asset."""
    links = [
        dg.LocalFileCodeReference(file_path=str(file), line_number=1, label=f"{file.parent.name}/{file.stem}")
        for file in files
    ]
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=list(links))} if links else {}


def folder_of(name: str, workspace: Workspace) -> dict[str, Any]:
    """Metadata that says where the versions of an artifact lie."""
    return {"dagster/uri": (workspace.settings.artifacts_folder / name).as_uri()}


def asset_spec(
    name: str,
    *,
    description: str,
    deps: Sequence[Any] = (),
    kinds: set[str],
    version: str,
    metadata: dict[str, Any] | None = None,
    made_from: str = "",
    partitions_def: dg.PartitionsDefinition | None = None,
) -> dg.AssetSpec:
    """The spec of any asset, with the owners, tags and key that every asset here has."""
    inputs = [dg.AssetDep.from_coercible(dep).asset_key.path[-1] for dep in deps]
    made_from = made_from or f"{', '.join(f'`{one}`' for one in inputs)}."
    schemas = {
        f"columns of {table}": dg.MetadataValue.table_schema(column_schema(TABLES[table]))
        for table, asset in WRITTEN_WITH.items()
        if asset == name
    }
    return dg.AssetSpec(
        key_of(name),
        description=f"{description}\n\n**Made from:** {made_from}",
        deps=list(deps),
        group_name=SHOWN_APART.get(name, group_of(name)),
        owners=OWNERS,
        kinds=kinds,
        tags={"layer": group_of(name)},
        code_version=version,
        metadata={**(metadata or {}), **schemas},
        partitions_def=partitions_def,
    )

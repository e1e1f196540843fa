"""Asset specs: key, group, owners, and metadata from the asset's table and code.

What an asset does is in the module of its group, its name in `naming.py`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from twotower_assets.defs.code_version import sql_files
from twotower_assets.defs.naming import WRITTEN_WITH, Naming, group_of
from twotower_assets.defs.plan import Plan
from twotower_assets.lake.tables import TABLES, Table

OWNERS = ["team:recommendations"]


def column_schema(table: Table) -> dg.TableSchema:
    """The columns of a table as a Dagster table schema."""
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


def column_lineage(table: Table, naming: Naming) -> dg.TableColumnLineage | None:
    """The upstream columns that each column is derived from; None if none are declared."""
    lineage = {
        column.name: [
            dg.TableColumnDep(asset_key=naming.key_of(source.split(".")[0]), column_name=source.split(".")[1])
            for source in column.derived_from
        ]
        for column in table.columns
        if column.derived_from
    }
    return dg.TableColumnLineage(lineage) if lineage else None


def describe(table: Table, used_for: str, note: str = "") -> str:
    """Description of a table asset: contents, identifying columns and use."""
    identified = f"\n\nA row is identified by {', '.join(f'`{name}`' for name in table.grain)}." if table.grain else ""
    more = f"\n\n{note}" if note else ""
    return f"{table.description}{identified}\n\n**Used for:** {used_for}{more}"


def table_spec(
    name: str,
    plan: Plan,
    *,
    used_for: str,
    deps: Sequence[dg.AssetDep] = (),
    kinds: set[str],
    version: str,
    note: str = "",
    sql: str | Sequence[Path] = (),
    made_from: str = "",
) -> dg.AssetSpec:
    """The spec of an asset that is a table of the lake.

    Args:
        name: of the table, and of the asset.
        plan: gives its key and its lake.
        used_for: what the table is used for, a phrase that ends with a full stop.
        deps: the assets it is made from.
        kinds: technologies, shown as Dagster kinds.
        version: from `code_version`.
        note: a last paragraph of the description.
        sql: the SQL files that build it, or a glob pattern below `sql/`.
        made_from: what it is made from if that is no asset, a phrase that ends with a full stop.
    """
    table = TABLES[name]
    metadata: dict[str, Any] = {
        "dagster/column_schema": column_schema(table),
        "dagster/table_name": f"lake.main.{name}",
        "dagster/uri": f"{plan.declared_for.lake.uri}#{name}",
        **code_references(sql_files(sql) if isinstance(sql, str) else sql),
    }
    if lineage := column_lineage(table, plan.naming):
        metadata["dagster/column_lineage"] = lineage
    return asset_spec(
        name,
        plan,
        description=describe(table, used_for, note),
        deps=deps,
        kinds=kinds,
        version=version,
        metadata=metadata,
        made_from=made_from,
    )


def code_references(files: Sequence[Path]) -> dict[str, Any]:
    """Metadata with links to files that the UI opens in an editor; `build` adds the asset's function."""
    links = [
        dg.LocalFileCodeReference(file_path=str(file), line_number=1, label=f"{file.parent.name}/{file.stem}")
        for file in files
    ]
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=list(links))} if links else {}


def folder_of(name: str, plan: Plan) -> dict[str, Any]:
    """Metadata with the folder that holds the versions of an artifact."""
    return {"dagster/uri": (plan.settings.artifacts_folder / name).as_uri()}


def asset_spec(
    name: str,
    plan: Plan,
    *,
    description: str,
    deps: Sequence[dg.AssetDep] = (),
    kinds: set[str],
    version: str,
    metadata: dict[str, Any] | None = None,
    made_from: str = "",
) -> dg.AssetSpec:
    """The spec of any asset, with the common owners, tags and key."""
    inputs = [dep.asset_key.path[-1] for dep in deps]
    made_from = made_from or f"{', '.join(f'`{name}`' for name in inputs)}."
    schemas = {
        f"columns of {table}": dg.MetadataValue.table_schema(column_schema(TABLES[table]))
        for table, asset in WRITTEN_WITH.items()
        if asset == name
    }
    return dg.AssetSpec(
        plan.naming.key_of(name),
        description=f"{description}\n\n**Made from:** {made_from}",
        deps=list(deps),
        group_name=plan.naming.group_name_of(name),
        owners=OWNERS,
        kinds=kinds,
        tags={"layer": group_of(name)},
        code_version=version,
        metadata={**(metadata or {}), **schemas},
    )

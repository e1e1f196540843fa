"""Materialization results for Dagster: row counts, numbers by day, lake snapshot and lineage.

How rows are written is in `lake/writing.py`; the metadata of models, indexes and reports is in `metadata.py`.
"""

from collections.abc import Iterable
from typing import Any

import dagster as dg

from twotower_assets.lake.artifacts import Artifact
from twotower_assets.lake.writing import Run, WrittenTable

COLUMN_LINEAGE = "dagster/column_lineage"


def spec_of(context: dg.AssetExecutionContext, name: str) -> dg.AssetSpec:
    """The spec of the asset `name` among those that the step materializes, with any prefix."""
    specs: Iterable[dg.AssetSpec] = context.assets_def.specs
    return next(spec for spec in specs if spec.key.path[-1] == name)


def run_of(context: dg.AssetExecutionContext, name: str) -> Run:
    """The run as recorded in commits and manifests, for the asset `name` of its step."""
    earlier = tuple(dict.fromkeys(filter(None, (context.run.parent_run_id, context.run.root_run_id))))
    return Run(name, context.run.run_id, spec_of(context, name).code_version or "", earlier, context.log)


def table_result(context: dg.AssetExecutionContext, written: WrittenTable, **metadata: Any) -> dg.MaterializeResult:
    """The result of writing a table: row counts (by day if it is daily), snapshot, lineage, facts and `metadata`."""
    spec = spec_of(context, written.name)
    shown: dict[str, Any] = {"lake_snapshot": written.snapshot, **written.facts, **metadata}
    if lineage := spec.metadata.get(COLUMN_LINEAGE):
        shown[COLUMN_LINEAGE] = lineage
    if written.rows is not None:
        shown["dagster/row_count"] = written.rows
    for day, numbers in written.by_day.items():
        by_day = {"dagster/row_count" if name == "row_count" else name: value for name, value in numbers.items()}
        context.add_asset_metadata(by_day, spec.key, partition_key=day.isoformat())
    return dg.MaterializeResult(asset_key=spec.key, metadata=shown)


def artifact_result(
    context: dg.AssetExecutionContext, artifact: Artifact, metadata: dict[str, Any]
) -> dg.MaterializeResult:
    """The result of publishing an artifact, with its content hash as the data version."""
    return dg.MaterializeResult(
        asset_key=spec_of(context, artifact.asset).key,
        data_version=dg.DataVersion(artifact.content_hash),
        metadata=metadata,
    )

"""Properties that the Dagster definition of every asset must have."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from twotower_assets.core.folders import CHECKOUT
from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.naming import GROUPS, WRITTEN_WITH, group_of
from twotower_assets.defs.specs import OWNERS
from twotower_assets.lake.tables import TABLES
from twotower_assets.settings import Settings

HOME = Path("/nonexistent")
STORED_IN_FOLDERS = {"tower_checkpoint", "ann_index", "popularity_bias_report"}


def every_spec() -> Iterator[Any]:
    definitions = build_definitions(
        Settings(home=HOME, dataset="parquet", first_day=date(2024, 1, 1), last_day=date(2024, 1, 6))
    )
    for spec in sorted(definitions.resolve_all_asset_specs(), key=lambda spec: spec.key):
        yield pytest.param(spec, id=spec.key.path[-1])


EVERY_SPEC = list(every_spec())
for_every_asset = pytest.mark.parametrize("spec", EVERY_SPEC)


def test_the_groups_name_every_asset() -> None:
    assert {each.values[0].key.path[-1] for each in EVERY_SPEC} == {name for group in GROUPS.values() for name in group}


@for_every_asset
def test_it_has_an_owner_a_layer_kinds_and_a_code_version(spec: dg.AssetSpec) -> None:
    assert list(spec.owners) == OWNERS
    assert spec.tags["layer"] == spec.key.path[0] == group_of(spec.key.path[-1])
    assert spec.kinds
    assert spec.code_version
    assert not spec.skippable


@for_every_asset
def test_its_description_says_the_grain_the_use_and_what_it_is_made_from(spec: dg.AssetSpec) -> None:
    description = spec.description or ""
    name = spec.key.path[-1]
    assert ("A row is identified by" in description) == bool(name in TABLES and TABLES[name].grain)
    assert name in TABLES or " per day" in description
    (used, made) = (description.partition(f"**{heading}:**")[2].strip() for heading in ("Used for", "Made from"))
    assert used.split("\n")[0].endswith(".")
    assert made.split("\n")[0].endswith(".")
    assert all(f"`{dep.asset_key.path[-1]}`" in made for dep in spec.deps)


@for_every_asset
def test_it_says_where_it_is_stored(spec: dg.AssetSpec) -> None:
    name = spec.key.path[-1]
    if name in STORED_IN_FOLDERS:
        assert spec.metadata["dagster/uri"] == (HOME / "artifacts" / name).as_uri()
    else:
        assert spec.metadata["dagster/table_name"] == f"lake.main.{name}"
        assert str(spec.metadata["dagster/uri"]).endswith(f"#{name}")


@for_every_asset
def test_it_shows_the_columns_of_every_table_that_it_writes(spec: dg.AssetSpec) -> None:
    name = spec.key.path[-1]
    shown = {
        key.removeprefix("columns of "): value.value
        for key, value in spec.metadata.items()
        if key.startswith("columns of ")
    }
    if name not in STORED_IN_FOLDERS:
        shown[name] = spec.metadata["dagster/column_schema"]
    assert set(shown) - {name} == {table for table, asset in WRITTEN_WITH.items() if asset == name}
    for table, schema in shown.items():
        schema = getattr(schema, "value", schema)
        assert [column.name for column in schema.columns] == TABLES[table].column_names
        assert all(column.description for column in schema.columns)


@for_every_asset
def test_it_links_its_code_and_its_sql_in_the_checkout(spec: dg.AssetSpec) -> None:
    links = spec.metadata["dagster/code_references"].code_references
    files = [Path(link.file_path) for link in links]
    assert all(
        file.is_file() and file.is_relative_to(CHECKOUT) and link.line_number
        for file, link in zip(files, links, strict=True)
    )
    assert [file.suffix for file in files].count(".py") == 1
    if "sql" in spec.kinds:
        assert any(file.suffix == ".sql" for file in files)


@for_every_asset
def test_its_metadata_adds_little_to_the_event_log(spec: dg.AssetSpec) -> None:
    assert len(str(spec.metadata)) < 40_000


def test_every_job_schedule_and_check_says_what_it_is_for() -> None:
    definitions = build_definitions(Settings(home=HOME, dataset="parquet", first_day=date(2024, 1, 1)))
    repository = definitions.get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    assert len(jobs) > 4
    assert all(len(job.description or "") > 20 for job in jobs)
    assert all(len(each.description or "") > 20 for each in repository.schedule_defs)
    graph = definitions.resolve_asset_graph()
    assert all(graph.get(key).description for key in graph.asset_check_keys)

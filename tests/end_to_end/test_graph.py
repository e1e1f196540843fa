"""The whole graph on the market: what was materialized, checked and reported to Dagster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from end_to_end.market import DAYS, EMPTY_DAY, LAST, Built, instance_of, metadata, rows
from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.naming import GROUPS, key_of
from twotower_assets.lake.tables import TABLES
from twotower_assets.workspace import Workspace

ASSETS = [name for names in GROUPS.values() for name in names]
DAILY = [name for name in ASSETS if name not in GROUPS["recipes"]]
TABLE_ASSETS = [name for name in ASSETS if name in TABLES]
OF_EVERY_DAY = [name for name in (*GROUPS["sources"], *GROUPS["features"]) if TABLES[name].daily]
WARNED = {
    ("orphan_items", "items_are_in_the_catalogue"),  # one item is in no catalogue
    *(
        (name, "has_rows") for name in ("impressions", "item_frequency_daily", "training_pairs")
    ),  # and a day has no rows
}
OF_THE_LAST_DAY = ["training_curves", "item_embeddings", "user_embeddings"]


@pytest.fixture(scope="module")
def instance(trained: Workspace) -> Iterator[dg.DagsterInstance]:
    with instance_of(trained) as instance:
        yield instance


@pytest.fixture(scope="module")
def specs(trained: Workspace) -> dict[str, dg.AssetSpec]:
    return {spec.key.path[-1]: spec for spec in build_definitions(trained.settings).resolve_all_asset_specs()}


def materialization(instance: dg.DagsterInstance, name: str, partition: str | None = None) -> dict[str, Any]:
    """The metadata of the latest materialization of an asset."""
    wanted = dg.AssetRecordsFilter(asset_key=key_of(name), asset_partitions=[partition] if partition else None)
    records = instance.fetch_materializations(wanted, limit=1).records
    assert records, f"{name} was not materialized"
    found = records[0].asset_materialization
    assert found
    return metadata(found)


@pytest.mark.parametrize("name", DAILY)
def test_every_asset_but_the_comparison_of_recipes_is_materialized(instance: dg.DagsterInstance, name: str) -> None:
    assert materialization(instance, name)


def test_every_check_has_run_and_passes(trained: Workspace, instance: dg.DagsterInstance) -> None:
    keys = build_definitions(trained.settings).resolve_asset_graph().asset_check_keys
    assert len(keys) > 50
    for key in (each for each in keys if each.asset_key.path[-1] in DAILY):
        record = instance.get_latest_asset_check_evaluation_record(key)
        assert record, f"{key} did not run"
        assert record.event
        assert record.event.dagster_event
        evaluation = record.event.dagster_event.asset_check_evaluation_data
        assert evaluation.passed != ((key.asset_key.path[-1], key.name) in WARNED), key


def test_each_day_of_a_run_has_its_own_row_count(trained: Workspace, instance: dg.DagsterInstance) -> None:
    with trained.lake.reader() as con:
        for name in (*OF_EVERY_DAY, *OF_THE_LAST_DAY):
            counts = dict(con.execute(f"SELECT day, count(*) FROM {name} GROUP BY day").fetchall())
            for day in DAYS if name in OF_EVERY_DAY else [LAST]:
                entry = materialization(instance, name, str(day))
                assert entry["dagster/row_count"] == counts.get(day, 0), (name, day)


def test_a_day_without_rows_has_a_count_of_zero(instance: dg.DagsterInstance) -> None:
    assert materialization(instance, "impressions", str(EMPTY_DAY))["dagster/row_count"] == 0
    assert materialization(instance, "impressions", str(LAST))["dagster/row_count"] > 0


def test_what_was_rejected_is_kept_with_its_reason(trained: Workspace, instance: dg.DagsterInstance) -> None:
    assert rows(trained, "SELECT item_id, reason FROM rejected_impressions") == [("i0", "user_id is missing")]
    assert "user_id is missing" in str(
        materialization(instance, "rejected_impressions", "2024-01-02")["reasons_in_this_run"]
    )
    rejected = {day: materialization(instance, "impressions", str(day)).get("rows_rejected", 0) for day in DAYS}
    assert sum(rejected.values()) == 1


def test_the_snapshot_that_was_read_or_written_is_recorded(trained: Workspace, instance: dg.DagsterInstance) -> None:
    known = {snapshot for (snapshot,) in rows(trained, "SELECT snapshot_id FROM ducklake_snapshots('lake')")}
    assert {materialization(instance, name)["lake_snapshot"] for name in DAILY} <= known


@pytest.mark.parametrize("name", ASSETS)
def test_every_asset_says_what_it_is_and_who_owns_it(specs: dict[str, dg.AssetSpec], name: str) -> None:
    spec = specs[name]
    assert "**Used for:**" in (spec.description or "")
    assert spec.key.path[0] == spec.tags["layer"]
    assert spec.group_name == ("promotion" if spec.key.path[-1] == "champion" else spec.key.path[0])
    assert spec.owners
    assert spec.kinds
    assert spec.code_version


def test_a_table_tells_dagster_its_name_place_and_columns(trained: Workspace, specs: dict[str, dg.AssetSpec]) -> None:
    with trained.lake.reader() as con:
        for name in TABLE_ASSETS:
            entry = specs[name].metadata
            assert str(entry["dagster/table_name"]).endswith(f".{name}")
            assert str(entry["dagster/uri"]).startswith("ducklake:")
            stored = [row[:2] for row in con.execute(f"DESCRIBE {name}").fetchall()]
            columns = entry["dagster/column_schema"].columns
            assert [(column.name, column.type) for column in columns] == stored, name
            assert all(column.description for column in columns), name


@pytest.mark.parametrize("name", GROUPS["features"])
def test_every_feature_names_the_columns_that_it_is_made_from(
    specs: dict[str, dg.AssetSpec], instance: dg.DagsterInstance, name: str
) -> None:
    lineage = specs[name].metadata["dagster/column_lineage"].deps_by_column
    upstream = {dep.asset_key for dep in specs[name].deps}
    assert set(lineage) <= set(TABLES[name].column_names)
    for sources in lineage.values():
        for source in sources:
            assert source.column_name in TABLES[source.asset_key.path[-1]].column_names
            assert source.asset_key in upstream
    assert "dagster/column_lineage" in materialization(instance, name)


def test_a_model_says_what_it_was_trained_on_and_how_well(instance: dg.DagsterInstance) -> None:
    entry = materialization(instance, "tower_checkpoint")
    assert (entry["recipe"], entry["trained_popularity_weight"], entry["epochs"]) == ("best", 1.0, 3)
    assert entry["training_pairs"] > 300
    assert 0 < entry["validation_recall_at_20"] <= 1
    report = materialization(instance, "popularity_bias_report")
    assert report["recall_at_20"] > report["popular_recall_at_20"]


def test_a_job_says_for_which_days_it_succeeded(built: Built) -> None:
    assert "features_job succeeded for 2024-01-01 to 2024-01-06" in built.features
    assert "training_job succeeded for 2024-01-06: run " in built.training

"""A week of real exposures through the sources and features."""

from __future__ import annotations

from pathlib import Path

import pytest

from end_to_end.market import instance_of, rows, twotower, workspace_in
from twotower_assets.defs.naming import key_of
from twotower_assets.workspace import Workspace

pytestmark = pytest.mark.real_data
IMPRESSIONS = {24: 2405, 25: 14440, 26: 14093, 27: 13790, 28: 13368, 29: 16263, 30: 17446}


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The features of all seven days, made in one run; skips where the data are not at hand."""
    raw = Path(__file__).resolve().parents[3] / "shared" / "data" / "kuairand_pure_slice"
    if not any(raw.glob("log_standard_*.parquet")):
        pytest.skip(f"the KuaiRand slice is not at hand (looked in {raw})")
    home = tmp_path_factory.mktemp("kuairand")
    (home / "twotower.env").write_text(f"TWOTOWER_DATASET=kuairand\nTWOTOWER_SOURCE_PATH={raw}\n", encoding="utf-8")
    twotower(home, "materialize", "features_job")
    return workspace_in(home)


def test_a_week_of_kuairand_is_read_day_by_day(week: Workspace) -> None:
    with instance_of(week) as instance:
        by_day = {
            int(str(record.partition_key)[-2:]): record.asset_materialization.metadata
            for record in instance.fetch_materializations(key_of("impressions"), limit=50).records
            if record.asset_materialization
        }
    assert {day: entry["dagster/row_count"].value for day, entry in by_day.items()} == IMPRESSIONS
    assert sum(int(str(entry["rows_read"].value)) for entry in by_day.values()) == 94784
    assert sum(int(str(entry["rows_rejected"].value)) for entry in by_day.values()) == 2979
    counted = "SELECT (SELECT count(*) FROM impressions), (SELECT count(*) FROM impressions WHERE clicked), "
    assert rows(week, counted + "(SELECT count(*) FROM rejected_impressions)") == [(91805, 41096, 2979)]
    assert rows(week, "SELECT count(*) FROM training_pairs") == [(41096,)]


def test_no_pair_that_was_clicked_up_to_then_is_in_the_exposure_log(week: Workspace) -> None:
    query = """
    SELECT count(*) FROM exposure_log AS exposed
    SEMI JOIN impressions AS click
    ON click.user_id = exposed.user_id AND click.item_id = exposed.item_id
    AND click.clicked AND click.day <= exposed.day
    """
    assert rows(week, query) == [(0,)]
    assert rows(week, "SELECT count(*) > 10000 FROM exposure_log") == [(True,)]

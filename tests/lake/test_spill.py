"""A log larger than memory: statements spill, to a folder that no other connection writes to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from datetime import date
from pathlib import Path

import duckdb
import pytest

from twotower_assets.core.days import Days
from twotower_assets.experiments.stage_features import feature_parameters, stage_feature
from twotower_assets.lake.lake import CommitInfo, Lake, Replacement
from twotower_assets.lake.queries import bound, read_query, stage
from twotower_assets.lake.spill import LOCK, spill_folder
from twotower_assets.settings import Settings

SETTINGS = Settings(window_days=2)
DAYS = Days(date(2024, 1, 1), date(2024, 1, 2))
SMALL = "80MiB"
LOG = """
SELECT
    DATE '2024-01-01' + (place % 2)::INTEGER AS day,
    'user ' || hash(place) % 60_000 AS user_id,
    'item ' || hash(place, 1) % 3_000 AS item_id,
    day::TIMESTAMP + to_milliseconds(place) AS shown_at,
    hash(place, 2) % 4 = 0 AS clicked,
    'request ' || md5((place // 10)::VARCHAR) AS request_id,
    NULL::VARCHAR AS context,
    NULL::INTEGER AS position,
    NULL::DOUBLE AS weight
FROM (SELECT unnest(range(1_200_000)) AS place)
"""


@pytest.fixture(scope="module")
def log(lake_template: Path) -> Lake:
    """A lake with a log of 1.2 million rows; its features are staged, never committed."""
    lake = Lake(lake_template.with_name("spilling"), "tiny", threads=1)
    with lake.writer() as con:
        stage(con, "staged_impressions", LOG)
        lake.commit(con, [Replacement("impressions", "staged_impressions", DAYS)], CommitInfo("impressions"))
    return lake


def content(con: duckdb.DuckDBPyConnection, table: str) -> list[tuple[int, int]]:
    return con.execute(f"SELECT count(*), sum(hash(made::VARCHAR)::HUGEINT) FROM {table} AS made").fetchall()


@pytest.mark.parametrize("feature", ["item_frequency_daily", "exposure_log", "training_pairs"])
@pytest.mark.slow
def test_a_feature_larger_than_the_memory_limit_spills_and_has_the_same_rows(
    log: Lake, tmp_path: Path, feature: str
) -> None:
    with log.writer() as con:
        stage_feature(con, feature, SETTINGS, DAYS)
        expected = content(con, f"staged_{feature}")
    sql = read_query(f"features/{feature}.sql")
    with replace(log, memory_limit=SMALL).writer() as con:
        values = bound(con, sql, feature_parameters(SETTINGS, DAYS))
        con.execute(f"SET enable_profiling = 'json'; SET profiling_output = '{tmp_path / 'profile.json'}'")
        con.execute(f"CREATE TEMP TABLE made AS {sql}", values)
        con.execute("PRAGMA disable_profiling")
        assert json.loads((tmp_path / "profile.json").read_text())["system_peak_temp_dir_size"] > 1_000_000
        assert content(con, "made") == expected


def test_histories_of_a_user_with_thousands_of_clicks_take_no_more_than_they_hold(lake: Lake) -> None:
    with replace(lake, memory_limit="200MiB").writer() as con:
        stage(con, "clicks", LOG.replace("1_200_000", "8_000"))
        con.execute(
            "CREATE TEMP TABLE staged_impressions AS SELECT * REPLACE ('ann' AS user_id, true AS clicked) FROM clicks"
        )
        lake.commit(con, [Replacement("impressions", "staged_impressions", DAYS)], CommitInfo("impressions"))
        assert stage_feature(con, "training_pairs", SETTINGS, DAYS) == 8_000
        kept = con.execute("SELECT max(len(history)), sum(len(history)) FROM staged_training_pairs").fetchone()
        assert kept == (100, 8_000 * 100 - 100 * 101 // 2)


@pytest.mark.slow
def test_the_log_itself_is_committed_under_the_limit(log: Lake, lake: Lake) -> None:
    small = replace(lake, memory_limit=SMALL)
    with small.writer() as con:
        rows = stage(con, "staged_impressions", f"{LOG} ORDER BY ALL")
        small.commit(con, [Replacement("impressions", "staged_impressions", DAYS)], CommitInfo("impressions"))
        assert con.execute("SELECT count(*) FROM impressions").fetchone() == (rows,)


SPILL_AND_CHECK = """
import sys
from pathlib import Path
from twotower_assets.lake.lake import Lake

with Lake(Path(sys.argv[1]), "tiny", memory_limit="60MiB", threads=1).reader() as con:
    con.execute("CREATE TEMP TABLE wide AS SELECT i, repeat('x', 20) || i AS text FROM range(1_500_000) AS r(i)")
    for _ in range(3):
        print(con.execute("SELECT count(*) FROM wide WHERE text <> repeat('x', 20) || i").fetchone()[0])
"""


@pytest.mark.slow
def test_two_processes_that_spill_at_once_do_not_meet(log: Lake) -> None:
    work = [sys.executable, "-c", SPILL_AND_CHECK, str(log.folder)]
    both = [subprocess.Popen(work, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [(process.communicate()[0].split(), process.returncode) for process in both] == [(["0", "0", "0"], 0)] * 2


def test_every_connection_has_a_folder_of_its_own_which_goes_with_it(log: Lake) -> None:
    with log.reader() as one, log.reader() as other:
        setting = "SELECT current_setting('temp_directory')"
        ((first,), (second,)) = one.execute(setting).fetchall() + other.execute(setting).fetchall()
        assert first != second
        assert Path(first).parent == Path(second).parent == log.folder / "spill"
        assert Path(first).is_dir()
    assert not list((log.folder / "spill").iterdir())


def test_what_a_killed_process_left_is_removed_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    (left / LOCK).touch()
    (left / "duckdb_temp_storage-0.tmp").write_bytes(b"spilled")
    with spill_folder(tmp_path) as one, spill_folder(tmp_path) as other:
        assert not left.exists()
        assert one.is_dir()
        assert other.is_dir()


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_lake_that_may_not_be_written_to_is_read(lake: Lake) -> None:
    lake.folder.chmod(0o555)
    try:
        with spill_folder(lake.folder / "spill") as folder:
            assert not folder.exists()
    finally:
        lake.folder.chmod(0o755)


def test_without_a_limit_two_runs_share_what_duckdb_would_take_alone(lake: Lake) -> None:
    def limit(con: duckdb.DuckDBPyConnection) -> float:
        (text,) = con.execute("SELECT current_setting('memory_limit')").fetchone() or ("",)
        number, unit = text.split()
        return float(number) * 1024 ** ["bytes", "KiB", "MiB", "GiB", "TiB"].index(unit)

    with duckdb.connect() as alone, lake.writer() as con:
        assert limit(con) == pytest.approx(limit(alone) / 2, rel=0.03)

"""Files in another encoding, folders with odd names, homes that cannot be written: one sentence, or it just works."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from end_to_end.market import (
    FIRST,
    LAST,
    SETTINGS,
    Built,
    catalogue,
    market_log,
    materialize,
    twotower,
    workspace_in,
    write_raw,
    write_settings,
)
from twotower_assets.serving.recommendations import recommend

ODD_NAMES = ["with [brackets]#and *", "it's 50% & {ünïcode}"]


@pytest.mark.parametrize("name", ODD_NAMES)
def test_homes_and_sources_may_have_odd_names(built: Built, tmp_path: Path, name: str) -> None:
    home = Path(shutil.copytree(built.home, tmp_path / name / "home"))
    write_settings(home, source_path=write_raw(tmp_path / name / "raw", market_log()))
    workspace = workspace_in(home)
    materialize(workspace, "impressions", "items", day=LAST)
    assert recommend(workspace, "u1", 3)
    assert "u1" in twotower(home, "sql", "SELECT DISTINCT user_id FROM impressions WHERE user_id = 'u1'")
    assert twotower(home, "check-data", "--days", str(LAST)).startswith("parquet: ")


@pytest.mark.parametrize("name", ["what?", "a%20b"])
def test_a_home_in_which_dagster_cannot_store_is_refused(tmp_path: Path, name: str) -> None:
    home = tmp_path / name
    write_settings(home, source_path=write_raw(tmp_path / "raw", market_log()))
    output = twotower(home, "materialize", "features_job", exit_code=1)
    assert output.startswith(f"error: TWOTOWER_HOME is {home}: Dagster cannot keep its SQLite files")
    assert not (home / "dagster").exists()


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    write_settings(tmp_path / "home", source_path=write_raw(tmp_path / "raw", market_log()))
    (tmp_path / "home" / "dagster").write_text("a file where the folder should be")
    output = twotower(tmp_path / "home", "materialize", "features_job", exit_code=1)
    assert output.startswith(f"error: cannot write to {tmp_path / 'home' / 'dagster'}: ")
    assert "TWOTOWER_HOME must be a folder that can be written" in output


def test_a_full_disk_is_named(small_disk: Path, tmp_path: Path) -> None:
    write_settings(small_disk / "home", source_path=write_raw(tmp_path / "raw", market_log()))
    output = twotower(small_disk / "home", "materialize", "features_job", exit_code=1)
    assert f"error: Dagster cannot read or write its files in {small_disk / 'home' / 'dagster'}: " in output
    assert "Is the disk full" in output


def in_latin_1(folder: Path) -> Path:
    """The raw files of a market in CSV and Latin-1, with a letter that UTF-8 writes otherwise at the end of the log."""
    folder.mkdir()
    for name, frame in (("impressions", market_log()), ("items", catalogue())):
        text = frame.write_csv().replace("home", "Küche")
        (folder / f"{name}.csv").write_bytes(text.encode("latin-1"))
    return folder


def test_a_file_in_latin_1_is_named_with_the_way_out(tmp_path: Path) -> None:
    sql = tmp_path / "sql"
    sql.mkdir()
    for name in ("impressions", "items"):
        (sql / f"{name}.sql").write_text(f"FROM read_csv($path || '/{name}.csv', all_varchar = true)")
    raw = in_latin_1(tmp_path / "raw")
    write_settings(tmp_path / "home", source_path=raw, dataset="shop", sql_sources=sql)
    output = twotower(tmp_path / "home", "materialize", "features_job", "--days", str(FIRST), exit_code=1)
    assert f"{raw / 'impressions.csv'} is not in UTF-8" in output
    assert "read_csv(…, encoding = 'latin-1')" in output


def test_init_reads_files_in_latin_1_and_writes_any_path(tmp_path: Path) -> None:
    raw = in_latin_1(tmp_path / "raw #1 of Ann's")
    twotower(tmp_path / "home", "init", "--home", str(tmp_path / "home"), "--source", str(raw), "--yes")
    assert "encoding = 'latin-1'" in (tmp_path / "home" / "sql" / "impressions.sql").read_text()
    workspace = workspace_in(tmp_path / "home", last_day=SETTINGS["last_day"])
    materialize(workspace, "impressions", day=LAST)
    with workspace.lake.reader() as con:
        assert ("Küche",) in con.execute("SELECT DISTINCT context FROM impressions").fetchall()

"""Opening a lake: its tables, its identity, its extensions, and what readers see."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from importlib.resources import files
from pathlib import Path

import duckdb
import pytest
from filelock import FileLock

from twotower_assets.lake import lake as lake_module
from twotower_assets.lake.extensions import EXTENSIONS, load_extension
from twotower_assets.lake.lake import Lake, LakeError
from twotower_assets.lake.tables import TABLES

PutDay = Callable[..., int]
UsersByDay = Callable[..., dict[int, list[str]]]


def test_every_table_has_its_declared_columns_types_and_comments(lake: Lake) -> None:
    with lake.reader() as con:
        columns = con.execute(
            "SELECT table_name, column_name, data_type, is_nullable, comment FROM duckdb_columns() "
            "WHERE database_name = 'lake' AND table_name NOT IN (SELECT view_name FROM duckdb_views()) "
            "AND table_name != 'lake_identity' ORDER BY table_name, column_index"
        ).fetchall()
        comments = dict(
            con.execute("SELECT table_name, comment FROM duckdb_tables() WHERE database_name = 'lake'").fetchall()
        )
    assert columns == [
        (table.name, column.name, column.type, column.nullable, column.description)
        for table in sorted(TABLES.values(), key=lambda table: table.name)
        for column in table.columns
    ]
    assert {name: comments[name] for name in TABLES} == {table.name: table.description for table in TABLES.values()}


def test_a_table_that_was_declared_later_is_added_and_the_rows_stay(
    lake: Lake, put_day: PutDay, users_by_day: UsersByDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_day(date(2024, 1, 1), "ann", 1)
    monkeypatch.setitem(TABLES, "extra", replace(TABLES["users"], name="extra"))
    with lake.writer():
        pass
    with lake.reader() as con:
        assert con.execute("FROM extra").fetchall() == []
    assert users_by_day() == {1: ["ann"]}


@pytest.mark.parametrize("opened_for", ["reading", "writing"])
def test_a_column_that_was_declared_later_is_added_and_the_rows_stay(
    lake: Lake, put_day: PutDay, users_by_day: UsersByDay, opened_for: str
) -> None:
    put_day(date(2024, 1, 1), "ann", 1)
    with lake.writer() as con:
        con.execute("ALTER TABLE lake.impressions DROP COLUMN request_id")
        con.execute("DROP TABLE lake.category_map")
        con.execute("UPDATE lake.lake_identity SET definitions = 'of before'")
    with lake.reader() if opened_for == "reading" else lake.writer() as con:
        assert con.execute("SELECT request_id FROM impressions").fetchall() == [(None,)]
        assert con.execute("FROM category_map").fetchall() == []
    assert users_by_day() == {1: ["ann"]}


def test_a_snapshot_from_before_a_column_was_declared_is_read_as_it_was(lake: Lake, put_day: PutDay) -> None:
    with lake.writer() as con:
        con.execute("ALTER TABLE lake.users DROP COLUMN features")
        con.execute("UPDATE lake.lake_identity SET definitions = 'of before'")
    snapshot = put_day(date(2024, 1, 1), "ann", 1)
    with lake.reader() as con:
        assert "features" in [row[0] for row in con.execute("DESCRIBE users").fetchall()]
    with lake.reader(snapshot) as con:
        assert [row[0] for row in con.execute("DESCRIBE users").fetchall()] == ["user_id"]


def test_rows_are_in_parquet_files_that_any_tool_can_read(lake: Lake, put_day: PutDay) -> None:
    put_day(date(2024, 1, 2), "ann")
    (file,) = (lake.folder / "data").rglob("impressions/**/*.parquet")
    assert len(duckdb.read_parquet(str(file)).fetchall()) == 3


def test_a_reader_cannot_write(lake: Lake, put_day: PutDay, users_by_day: UsersByDay) -> None:
    put_day(date(2024, 1, 1), "ann", 1)
    with lake.reader() as con, pytest.raises(duckdb.Error, match="read-only"):
        con.execute("DELETE FROM impressions")
    assert users_by_day() == {1: ["ann"]}


def test_a_reader_sees_one_state_of_the_lake_for_as_long_as_it_is_open(lake: Lake, put_day: PutDay) -> None:
    put_day(date(2024, 1, 1), "ann", 1)
    with lake.reader() as con:
        before = con.execute("SELECT user_id FROM impressions").fetchall()
        put_day(date(2024, 1, 1), "bob", 1)
        assert con.execute("SELECT user_id FROM impressions").fetchall() == before == [("ann",)]


def test_reading_at_a_snapshot_gives_the_rows_of_then(put_day: PutDay, users_by_day: UsersByDay) -> None:
    first = put_day(date(2024, 1, 1), "ann", 2)
    put_day(date(2024, 1, 1), "bob", 1)
    assert users_by_day(first) == {1: ["ann", "ann"]}
    assert users_by_day() == {1: ["bob"]}


def test_the_newest_snapshot_is_the_one_of_the_last_commit(lake: Lake, put_day: PutDay) -> None:
    put_day(date(2024, 1, 1), "ann")
    newest = put_day(date(2024, 1, 2), "ann")
    with lake.reader() as con:
        assert lake.snapshot(con) == newest


def test_a_snapshot_that_never_was_is_a_clear_error(lake: Lake) -> None:
    with pytest.raises(LakeError, match="999"), lake.reader(999):
        pass


def test_a_lake_of_another_data_set_is_refused_for_reading_and_writing(lake: Lake) -> None:
    other = replace(lake, dataset="other")
    for opened in (other.reader, other.writer):
        with pytest.raises(LakeError, match="belongs to the data set 'tiny', not to 'other'"), opened():
            pass


def test_reading_before_there_is_a_lake_says_to_materialize_and_makes_none(tmp_path: Path) -> None:
    nowhere = Lake(tmp_path / "lake", "tiny")
    with pytest.raises(LakeError, match="no lake"), nowhere.reader():
        pass
    assert not nowhere.exists
    assert list(tmp_path.iterdir()) == []


def test_a_lake_that_was_moved_is_read_and_written_where_it_is(lake: Lake, put_day: PutDay, tmp_path: Path) -> None:
    put_day(date(2024, 1, 1), "ann", 1)
    shutil.copytree(lake.folder, tmp_path / "it's elsewhere")
    shutil.rmtree(lake.folder)
    moved = replace(lake, folder=tmp_path / "it's elsewhere")
    with moved.writer() as con:
        con.execute("INSERT INTO lake.users VALUES ('ann', NULL)")
    with moved.reader() as con:
        assert con.execute("SELECT user_id FROM impressions JOIN users USING (user_id)").fetchall() == [("ann",)]
    assert not lake.folder.exists()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(LakeError, match="cannot create the lake folder"),
        Lake(tmp_path / "file" / "lake", "tiny").writer(),
    ):
        pass


def test_a_damaged_catalogue_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_text("no database at all" * 100)
    with pytest.raises(LakeError, match="cannot open the lake"), Lake(tmp_path, "tiny").reader():
        pass


def test_memory_and_threads_are_limited_as_set(lake: Lake) -> None:
    with replace(lake, memory_limit="512MiB", threads=2).reader() as con:
        assert con.execute("SELECT current_setting('memory_limit'), current_setting('threads')").fetchone() == (
            "512.0 MiB",
            2,
        )


def test_a_commit_waits_for_the_lock_only_as_long_as_set(
    lake: Lake, put_day: PutDay, users_by_day: UsersByDay, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_day(date(2024, 1, 1), "ann", 1)
    monkeypatch.setattr(lake_module, "FileLock", lambda path, timeout: FileLock(path, timeout=0.05))
    with (
        FileLock(lake.folder / "commit.lock"),
        pytest.raises(LakeError, match="TWOTOWER_CATALOG_LOCK_SECONDS"),
    ):
        put_day(date(2024, 1, 1), "bob", 1)
    assert users_by_day() == {1: ["ann"]}


def without_network(con: duckdb.DuckDBPyConnection, folder: Path) -> None:
    con.execute(f"SET extension_directory = '{folder / 'installed'}'")
    con.execute(f"SET custom_extension_repository = '{folder / 'repository'}'")


def test_an_extension_that_cannot_be_had_is_an_error_with_the_command_that_installs_it(tmp_path: Path) -> None:
    with duckdb.connect() as con:
        without_network(con, tmp_path)
        with pytest.raises(LakeError, match=rf"pip install no-such-package=={duckdb.__version__}"):
            load_extension(con, "ducklake", "no_such_package")


def test_without_its_wheel_an_extension_is_installed_from_duckdbs_store(tmp_path: Path) -> None:
    with duckdb.connect() as con:
        without_network(con, tmp_path)
        (platform,) = con.execute("PRAGMA platform").fetchone() or ("",)
        store = tmp_path / "repository" / f"v{duckdb.__version__}" / platform
        store.mkdir(parents=True)
        name = "sqlite_scanner"
        wheel = files(EXTENSIONS[name]) / "extensions" / f"v{duckdb.__version__}"
        shutil.copy(str(wheel / f"{name}.duckdb_extension"), store)
        load_extension(con, name, "no_such_package")
        loaded = con.execute("SELECT loaded FROM duckdb_extensions() WHERE extension_name = $name", {"name": name})
        assert loaded.fetchone() == (True,)

"""`twotower init` on small folders of files: what it guesses, asks, writes and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from typer.testing import CliRunner

from twotower_assets.cli import app
from twotower_assets.settings import load_settings

LOG = "SELECT 'u' || i AS user_id, 'i' || i AS item_id, TIMESTAMP '2024-03-01 10:00' + INTERVAL (i) DAY AS shown_at"


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "My Shop's data"
    folder.mkdir()
    return folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home that is to be made; nothing is set in the environment."""
    monkeypatch.delenv("TWOTOWER_HOME", raising=False)
    return tmp_path / "home"


def write(file: Path, query: str, rows: int = 5) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    name = str(file).replace("'", "''")
    duckdb.sql(f"COPY ({query} FROM range({rows}) AS rows(i)) TO '{name}'")


def init(home: Path, raw: Path, *options: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["init", "--home", str(home), "--source", str(raw), "--yes", *options])
    assert result.exit_code == exit_code, result.output
    return result.stdout if exit_code == 0 else " ".join(result.stderr.split())


def found(home: Path, raw: Path, *options: str) -> dict[str, Any]:
    return dict(json.loads(init(home, raw, "--json", *options)))


def test_files_as_the_contract_has_them_are_read_as_they_are(home: Path, raw: Path) -> None:
    write(raw / "impressions-1.parquet", f"{LOG}, i % 2 = 0 AS clicked")
    write(raw / "items.parquet", "SELECT 'i' || i AS item_id, 'c' AS category, i AS price")
    write(raw / "users.parquet", "SELECT 'u' || i AS user_id, i AS age")
    result = found(home, raw, "--last-day", "2024-03-05")
    names = ("user_id", "item_id", "shown_at", "clicked")
    assert result["columns"]["impressions"] == dict(zip(names, names, strict=True))
    assert result["checked"] == {"day": "2024-03-05", "rows": 1, "rejected": 0, "reasons": {}, "items": 5}
    settings = load_settings(home=home)
    assert (settings.dataset, settings.source_path) == ("my_shop_s_data", raw)
    assert (str(settings.first_day), str(settings.last_day)) == ("2024-03-01", "2024-03-05")
    assert settings.hold_out == "by_day"
    assert "* EXCLUDE (user_id)" in (home / "sql" / "users.sql").read_text(encoding="utf-8")


def test_a_log_grows_unless_a_last_day_is_given(home: Path, raw: Path) -> None:
    write(raw / "impressions.parquet", f"{LOG}, true AS clicked", rows=2)
    found(home, raw)
    settings = load_settings(home=home)
    assert settings.last_day is None
    assert settings.hold_out == "per_user_last"


@pytest.mark.parametrize(
    ("columns", "clicked"),
    [
        ("i % 2 AS is_click", "is_click"),
        ("CASE i % 2 WHEN 0 THEN 'view' ELSE 'open' END AS event", "event IN ('open')"),
        ("i AS rating", "TRY_CAST(rating AS DOUBLE) >= 4"),
        ("i AS quality", "true"),
    ],
)
def test_clicks_are_guessed_from_a_column_an_event_or_a_rating_and_else_every_row_is_one(
    columns: str, clicked: str, home: Path, raw: Path
) -> None:
    write(raw / "log.csv", f"{LOG}, {columns}")
    assert found(home, raw)["columns"]["impressions"]["clicked"] == clicked
    if "event" in columns or "rating" in columns:
        assert "-- guessed" in (home / "sql" / "impressions.sql").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("time", "file"),
    [
        ("1709287200 + i * 86400", "events.parquet"),
        ("(1709287200 + i * 86400) * 1000", "events.csv"),
        ("(TIMESTAMP '2024-03-01 10:00' + INTERVAL (i) DAY) || '+00'", "events.parquet"),
        ("TIMESTAMPTZ '2024-03-01 10:00:00+00' + INTERVAL (i) DAY", "events.parquet"),
        ("DATE '2024-03-01' + i::INTEGER", "events.json"),
    ],
)
def test_times_may_be_text_timestamps_dates_seconds_or_milliseconds(
    time: str, file: str, home: Path, raw: Path
) -> None:
    write(raw / file, f'SELECT i AS "User Id", i AS product, {time} AS ts')
    result = found(home, raw)
    assert result["first_day"] == "2024-03-01"
    assert result["checked"] == {"day": "2024-03-05", "rows": 1, "rejected": 0, "reasons": {}, "items": 5}
    assert result["columns"]["impressions"]["user_id"] == '"User Id"'


def test_several_files_and_folders_are_one_table(home: Path, raw: Path) -> None:
    for day in (1, 2):
        write(raw / "events" / f"day={day}" / "part.parquet", f"{LOG}, true AS clicked", rows=2)
    write(raw / "products-2024.csv", "SELECT i AS sku, 'n' AS name")
    result = found(home, raw)
    assert result["columns"]["items"] == {"item_id": "sku", "title": "name"}
    assert "'/events/**/*.parquet'" in (home / "sql" / "impressions.sql").read_text(encoding="utf-8")
    assert result["checked"]["rows"] == 2


def test_a_column_that_is_not_guessed_is_asked_for_or_named(home: Path, raw: Path) -> None:
    write(raw / "log.parquet", LOG.replace("user_id", '"order"'))
    result = init(home, raw, exit_code=1)
    assert "which column of log*.parquet is user_id? Set --column user_id=…; it has: order, item_id, shown_at" in result
    assert not home.exists()
    assert "has no column 'buyer' (it has: order" in init(home, raw, "--column", "user_id=buyer", exit_code=1)
    assert found(home, raw, "--column", "user_id=order")["columns"]["impressions"]["user_id"] == '"order"'


def test_what_is_not_given_is_asked(home: Path, raw: Path) -> None:
    write(raw / "log.parquet", LOG.replace("user_id", "who"))
    answers = [str(home), str(raw), "nobody", "who", "2024-03-04", "y"]
    result = CliRunner().invoke(app, ["init"], input="\n".join(answers) + "\n")
    assert result.exit_code == 0, result.output
    assert "There is no column 'nobody'" in result.stderr
    assert str(load_settings(home=home).last_day) == "2024-03-04"
    assert "export TWOTOWER_HOME=" in result.stdout


def test_nothing_is_written_where_the_answer_is_no(home: Path, raw: Path) -> None:
    write(raw / "log.parquet", LOG)
    result = CliRunner().invoke(app, ["init", "--home", str(home), "--source", str(raw)], input="grows\nn\n")
    assert result.exit_code == 1
    assert not home.exists()


@pytest.mark.parametrize("there", ["twotower.env", "sql/items.sql", "lake/catalog.sqlite"])
def test_a_home_that_is_there_is_left_alone(there: str, home: Path, raw: Path) -> None:
    write(raw / "log.parquet", LOG)
    (home / there).parent.mkdir(parents=True)
    (home / there).write_text("mine", encoding="utf-8")
    assert "already exists" in init(home, raw, exit_code=1)
    assert [file.read_text(encoding="utf-8") for file in home.rglob("*") if file.is_file()] == ["mine"]


def test_a_folder_without_a_log_and_a_wrong_name_are_refused(home: Path, raw: Path) -> None:
    assert "no log of impressions was found" in init(home, raw, exit_code=1)
    write(raw / "a.parquet", "SELECT i")
    write(raw / "b.parquet", "SELECT i")
    assert "which holds a*.parquet, b*.parquet" in init(home, raw, exit_code=1)
    assert "is not a folder" in init(home, raw / "elsewhere", exit_code=1)
    write(raw / "log.parquet", LOG)
    assert "lower case letters" in init(home, raw, "--dataset", "My Shop", exit_code=1)
    assert "NAME=COLUMN" in init(home, raw, "--column", "user", exit_code=1)
    assert not home.exists()

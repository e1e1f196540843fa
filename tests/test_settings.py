from __future__ import annotations

import os
import re
from datetime import date
from pathlib import Path

import pytest

from twotower_assets.core.folders import CHECKOUT, DEFAULT_HOME, SQL_FOLDER, checkout_of
from twotower_assets.settings import ENV_PREFIX, Settings, SettingsError, load_settings


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TWOTOWER_HOME", str(tmp_path))
    return tmp_path


def test_the_environment_goes_before_the_file_and_the_file_before_the_defaults(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert load_settings().window_days == 30
    (home / "twotower.env").write_text("TWOTOWER_WINDOW_DAYS=7\nTWOTOWER_HISTORY_LENGTH=20\n")
    monkeypatch.setenv("TWOTOWER_HISTORY_LENGTH", "5")
    settings = load_settings()
    assert (settings.window_days, settings.history_length, settings.half_life_days) == (7, 5, 14.0)


def test_what_the_caller_passes_goes_before_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOTOWER_WINDOW_DAYS", "7")
    assert load_settings(window_days=3).window_days == 3


def test_the_file_of_the_home_that_was_passed_is_read(home: Path) -> None:
    other = home / "other"
    other.mkdir()
    (other / "twotower.env").write_text("TWOTOWER_WINDOW_DAYS=9\n")
    settings = load_settings(home=other)
    assert (settings.home, settings.window_days) == (other, 9)


def test_an_empty_variable_counts_as_not_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOTOWER_WINDOW_DAYS", "")
    assert load_settings().window_days == 30


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("WINDOW_DAYS", "0", "1"),
        ("WINDOW_DAYS", "4000", "3650"),
        ("WINDOW_DAYS", "a month", "integer"),
        ("HALF_LIFE_DAYS", "0", "greater than 0"),
        ("HALF_LIFE_DAYS", "nan", "3650"),
        ("HISTORY_LENGTH", "1001", "1000"),
        ("MAXIMUM_REJECTED_SHARE", "1.5", "1"),
        ("TEST_SHARE", "0", "greater than 0"),
        ("VALIDATION_SHARE", "-0.1", "0"),
        ("POPULARITY_WEIGHT", "2", "1"),
        ("MINIMUM_INDEX_RECALL", "95", "1"),
        ("SCHEDULE_HOUR", "24", "23"),
        ("THREADS", "0", "1"),
        ("CATALOG_LOCK_SECONDS", "0", "greater than 0"),
        ("HOLD_OUT", "by_week", "per_user_last"),
        ("FIRST_DAY", "yesterday", "date"),
        ("MEMORY_LIMIT", "4 gigs", "[KMGT]"),
        ("DATASET", "../elsewhere", "[a-z]"),
        ("TIME_ZONE", "Mars/Olympus", "Europe/Berlin"),
    ],
)
def test_a_wrong_setting_is_named_with_its_value_and_what_is_allowed(
    home: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(f"TWOTOWER_{name}", value)
    with pytest.raises(SettingsError) as error:
        load_settings()
    (line,) = str(error.value).splitlines()
    assert line.startswith(f"TWOTOWER_{name}: ")
    assert value in line.partition("found:")[2]
    assert allowed in line.partition("found:")[0]


def test_every_wrong_setting_is_named_at_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWOTOWER_WINDOW_DAYS", "0")
    monkeypatch.setenv("TWOTOWER_SCHEDULE_HOUR", "24")
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert {line.split(":")[0] for line in str(error.value).splitlines()} == {
        "TWOTOWER_WINDOW_DAYS",
        "TWOTOWER_SCHEDULE_HOUR",
    }


def test_shares_that_leave_nothing_to_train_on_are_refused(home: Path) -> None:
    with pytest.raises(SettingsError, match=r"test_share 0\.7 \+ validation_share 0\.3"):
        load_settings(test_share=0.7, validation_share=0.3)
    assert load_settings(test_share=0.6, validation_share=0.3).test_share == 0.6


def test_a_last_day_before_the_first_is_refused_and_the_same_day_is_not(home: Path) -> None:
    day = date(2024, 1, 2)
    with pytest.raises(SettingsError, match="2024-01-01 lies before first_day 2024-01-02"):
        load_settings(first_day=day, last_day=date(2024, 1, 1))
    assert load_settings(first_day=day, last_day=day).last_day == day


@pytest.mark.parametrize(("cores", "queries", "training"), [(1, 1, 1), (2, 2, 1), (9, 9, 4)])
def test_threads_follow_the_cores_that_the_process_may_use(
    home: Path, monkeypatch: pytest.MonkeyPatch, cores: int, queries: int, training: int
) -> None:
    monkeypatch.setattr("twotower_assets.settings.available_cores", lambda: cores)
    settings = load_settings(home=home)
    assert (settings.query_threads, settings.training_threads) == (queries, training)
    chosen = load_settings(home=home, threads=7)
    assert (chosen.query_threads, chosen.training_threads) == (7, 7)


def test_all_state_lies_in_the_home_folder(home: Path) -> None:
    settings = load_settings()
    folders = (
        settings.lake_folder,
        settings.artifacts_folder,
        settings.cache_folder,
        settings.dagster_home,
        settings.data_folder,
    )
    assert len(set(folders)) == 5
    assert all(folder.is_relative_to(home) for folder in folders)


def test_own_files_and_own_sql_take_the_place_of_the_data_sets(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings().source_sql_folder == SQL_FOLDER / "sources" / "movielens"
    monkeypatch.chdir(home)
    monkeypatch.setenv("TWOTOWER_SOURCE_PATH", "raw")
    monkeypatch.setenv("TWOTOWER_SQL_SOURCES", "my_sql")
    with pytest.raises(SettingsError, match="TWOTOWER_DATASET"):
        load_settings()
    monkeypatch.setenv("TWOTOWER_DATASET", "mine")
    settings = load_settings()
    assert (settings.data_folder, settings.source_sql_folder) == (home / "raw", home / "my_sql")


def test_a_tilde_is_the_users_own_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(home))
    (home / "state").mkdir()
    (home / "state" / "twotower.env").write_text("TWOTOWER_WINDOW_DAYS=4\n")
    monkeypatch.setenv("TWOTOWER_HOME", "~/state")
    settings = load_settings()
    assert (settings.home, settings.window_days) == (home / "state", 4)


@pytest.mark.parametrize("where", ["environment", "file"])
def test_a_name_that_is_no_setting_is_refused(where: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if where == "environment":
        monkeypatch.setenv("TWOTOWER_WINOW_DAYS", "7")
    else:
        (home / "twotower.env").write_text("TWOTOWER_WINOW_DAYS=7\n")
    with pytest.raises(SettingsError, match="TWOTOWER_WINDOW_DAYS"):
        load_settings()


def test_the_default_home_lies_in_a_checkout_of_this_project_and_else_in_the_users_own_folder(tmp_path: Path) -> None:
    package = tmp_path / "twotower_assets"
    package.mkdir()
    assert checkout_of(package) is None
    for name, checkout in (("another-project", None), ("twotower-assets", tmp_path)):
        (tmp_path / "pyproject.toml").write_text(f'[project]\nname = "{name}"\n', encoding="utf-8")
        assert checkout_of(package) == checkout
    (tmp_path / "pyproject.toml").write_text("no toml", encoding="utf-8")
    assert checkout_of(package) is None
    assert CHECKOUT is not None
    assert CHECKOUT / ".twotower" == DEFAULT_HOME


def test_the_page_of_settings_has_a_row_for_every_setting_with_its_default() -> None:
    assert CHECKOUT is not None
    page = (CHECKOUT / "docs" / "settings.md").read_text(encoding="utf-8")
    found = dict(re.findall(r"^\| `TWOTOWER_([A-Z_]+)` \| [^|]+ \| ([^|]+) \|", page, re.MULTILINE))
    assert set(found) == {name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        default = found[name.upper()].strip("` ")
        if isinstance(field.default, int | float):
            assert float(default) == float(field.default), name
        elif isinstance(field.default, str):
            assert default == field.default

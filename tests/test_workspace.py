"""Opening the lake for reading: from Python and in DuckDB's own command line; and finding reports."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import duckdb
import pytest
from shared_folder import HANGS_AFTER_SECONDS
from typer.testing import CliRunner

import twotower_assets
from twotower_assets.cli import app
from twotower_assets.lake.artifacts import FIELDS
from twotower_assets.lake.lake import CommitInfo, Lake, LakeError, Replacement
from twotower_assets.lake.queries import stage

DUCKDB = Path(sys.executable).with_name("duckdb")


@pytest.fixture
def home(lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the lake of the data set `tiny`, in which nothing is served."""
    folder = tmp_path / "it's home"
    shutil.copytree(lake.folder, folder / "lake")
    (folder / "twotower.env").write_text("TWOTOWER_DATASET=tiny\n", encoding="utf-8")
    monkeypatch.setenv("TWOTOWER_HOME", str(folder))
    return folder


def add_item(home: Path, item: str) -> int:
    """Make it the only item; give the snapshot."""
    lake = Lake(home / "lake", "tiny", threads=1)
    with lake.writer() as con:
        stage(
            con,
            "staged",
            "SELECT $item AS item_id, 'c' AS category, NULL AS categories, NULL AS title, "
            "NULL AS published_at, NULL AS features",
            {"item": item},
        )
        return lake.commit(con, [Replacement("items", "staged")], CommitInfo("items"))


def items(con: duckdb.DuckDBPyConnection) -> list[str]:
    return [item for (item,) in con.execute("SELECT item_id FROM items").fetchall()]


def test_every_statement_sees_the_newest_rows_and_a_transaction_one_snapshot(home: Path) -> None:
    add_item(home, "a")
    with twotower_assets.connect() as con:
        assert items(con) == ["a"]
        add_item(home, "b")
        assert items(con) == ["b"]
        con.execute("BEGIN")
        assert items(con) == ["b"]
        add_item(home, "c")
        assert items(con) == ["b"]
        con.execute("COMMIT")
        assert items(con) == ["c"]


def test_a_connection_at_a_snapshot_stays_there(home: Path) -> None:
    first = add_item(home, "a")
    add_item(home, "b")
    with twotower_assets.connect(home, snapshot=first) as con:
        add_item(home, "c")
        assert items(con) == ["a"]


def test_the_home_may_be_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TWOTOWER_HOME")
    add_item(home, "a")
    with twotower_assets.connect(str(home)) as con:
        assert items(con) == ["a"]


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM items",
        "CREATE TABLE mine (i INTEGER)",
        "CREATE OR REPLACE VIEW model_history AS SELECT 1",
        "DROP TABLE items",
        "CALL ducklake_expire_snapshots('lake', older_than => now())",
    ],
)
def test_writes_are_refused(home: Path, statement: str) -> None:
    add_item(home, "a")
    with twotower_assets.connect() as con:
        with pytest.raises(duckdb.Error, match="read-only"):
            con.execute(statement)
        assert items(con) == ["a"]


def test_an_analyst_may_keep_results_in_temporary_tables(home: Path) -> None:
    with twotower_assets.connect() as con:
        con.execute("CREATE TEMP TABLE mine AS SELECT name FROM macro_help")
        assert con.execute("SELECT count(*) > 5 FROM mine").fetchone() == (True,)


def test_without_a_lake_or_such_a_snapshot_the_error_says_so(home: Path, tmp_path: Path) -> None:
    with pytest.raises(LakeError, match="No snapshot found at version 99"):
        twotower_assets.connect(snapshot=99)
    with pytest.raises(LakeError, match=r"at snapshot 0 the lake .* had no tables yet"):
        twotower_assets.connect(snapshot=0)
    with pytest.raises(LakeError, match=r"there is no lake in .* yet"):
        twotower_assets.connect(tmp_path / "elsewhere")


def test_what_spills_goes_with_the_connection(home: Path) -> None:
    con = twotower_assets.connect()
    folder = Path(str(con.execute("SELECT current_setting('temp_directory')").fetchone()[0]))
    con.execute("SET memory_limit = '40MB'; SET threads = 1")
    con.execute("CREATE TEMP TABLE wide AS SELECT i, repeat(i::VARCHAR, 20) AS text FROM range(1_000_000) AS r(i)")
    assert list(folder.iterdir())
    with twotower_assets.connect() as other:
        assert other.execute("SELECT current_setting('temp_directory')").fetchone() != (str(folder),)
    con.close()
    assert not folder.exists()


def test_importing_the_package_opens_nothing_and_unknown_names_are_refused() -> None:
    program = "import sys, twotower_assets; print('duckdb' in sys.modules); twotower_assets.nothing"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "False\n"
    assert "module 'twotower_assets' has no attribute 'nothing'" in done.stderr


def in_duckdb(*statements: str) -> str:
    """What DuckDB's own command line prints after `twotower attach`."""
    assert DUCKDB.is_file(), f"{DUCKDB} is missing; install the project's dependencies (duckdb-cli)"
    attach = CliRunner().invoke(app, ["attach"])
    assert attach.exit_code == 0, attach.output
    said = [text for statement in statements for text in ("-c", statement)]
    done = subprocess.run(
        [str(DUCKDB), "-no-init", "-list", "-noheader", "-cmd", attach.stdout, *said],
        capture_output=True,
        text=True,
        check=False,
        timeout=HANGS_AFTER_SECONDS,
    )
    return done.stdout + done.stderr


def test_the_command_line_of_duckdb_is_of_the_version_of_the_package() -> None:
    done = subprocess.run([str(DUCKDB), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == f"v{duckdb.__version__}"


def test_the_command_line_of_duckdb_attaches_the_lake_as_everybody_does(home: Path) -> None:
    add_item(home, "a")
    said = in_duckdb(
        "SELECT current_database(), item_id FROM items", "SELECT name FROM macro_help WHERE name = 'recommend'"
    )
    assert said.split() == ["lake|a", "recommend"]


def test_the_command_line_of_duckdb_may_not_write(home: Path) -> None:
    add_item(home, "a")
    assert "attached in read-only mode" in in_duckdb("DELETE FROM items")
    with twotower_assets.connect() as con:
        assert items(con) == ["a"]


def test_attaching_at_a_snapshot_reads_that(home: Path) -> None:
    first = add_item(home, "a")
    add_item(home, "b")
    attach = CliRunner().invoke(app, ["attach", "--snapshot", str(first)]).stdout
    with duckdb.connect() as con:
        con.execute(attach)
        assert items(con) == ["a"]
    said = CliRunner().invoke(app, ["sql", "--snapshot", str(first), "--json", "SELECT item_id FROM items"]).stdout
    assert said == '[{"item_id": "a"}]\n'


def test_attaching_without_a_lake_fails_with_the_reason(home: Path) -> None:
    shutil.rmtree(home / "lake")
    result = CliRunner().invoke(app, ["attach"])
    assert result.exit_code == 1
    assert result.stdout == ""


@pytest.fixture
def reported(home: Path) -> Path:
    """Two reports, of two models."""
    with Lake(home / "lake", "tiny", threads=1).writer() as con:
        for day in (1, 2):
            folder = home / "artifacts" / "popularity_bias_report" / f"2024-01-0{day}-r{day}"
            manifest = dict.fromkeys(FIELDS) | {
                "asset": "popularity_bias_report",
                "version": folder.name,
                "model_day": f"2024-01-0{day}",
                "content_hash": f"r{day}",
            }
            folder.mkdir(parents=True)
            (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
            (folder / "report.html").write_text("<html>", encoding="utf-8")
            con.execute(
                "INSERT INTO artifacts VALUES ('popularity_bias_report', $version, $day, '', '', $at, 1, '', '', NULL, "
                "NULL, $upstream, NULL)",
                {
                    "version": folder.name,
                    "day": date(2024, 1, day),
                    "at": f"2024-02-0{day}",
                    "upstream": f'{{"artifacts": [{{"asset": "tower_checkpoint", "version": "m{day}"}}]}}',
                },
            )
    return home


@pytest.mark.parametrize(
    ("asked", "version"),
    [
        ([], "2024-01-02-r2"),
        (["--version", "2024-01-01-r1"], "2024-01-01-r1"),
        (["--version", "m1"], "2024-01-01-r1"),
        (["--day", "2024-01-01"], "2024-01-01-r1"),
    ],
)
def test_the_report_asked_for_is_found(reported: Path, asked: list[str], version: str) -> None:
    result = CliRunner().invoke(app, ["report", *asked])
    page = str(reported / "artifacts" / "popularity_bias_report" / version / "report.html")
    assert result.stdout.strip() == page
    assert json.loads(CliRunner().invoke(app, ["report", *asked, "--json"]).stdout) == {"page": page}


@pytest.mark.parametrize(
    "asked", [["--version", "r9"], ["--day", "2024-01-03"], ["--version", "2024-01-01-r1", "--day", "2024-01-02"]]
)
def test_a_report_that_is_not_there_is_an_error(reported: Path, asked: list[str]) -> None:
    result = CliRunner().invoke(app, ["report", *asked])
    assert result.exit_code == 1
    assert "there is no report" in result.stderr


def test_a_report_without_its_page_is_an_error(reported: Path) -> None:
    (reported / "artifacts" / "popularity_bias_report" / "2024-01-02-r2" / "report.html").unlink()
    result = CliRunner().invoke(app, ["report"])
    assert result.exit_code == 1
    assert "expected one page" in result.stderr


@pytest.mark.parametrize("there_is_one", [True, False])
def test_a_report_is_opened_in_the_browser(reported: Path, monkeypatch: pytest.MonkeyPatch, there_is_one: bool) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or there_is_one)
    result = CliRunner().invoke(app, ["report", "--open"])
    page = reported / "artifacts" / "popularity_bias_report" / "2024-01-02-r2" / "report.html"
    assert opened == [page.as_uri()]
    assert result.exit_code == (0 if there_is_one else 1)
    assert CliRunner().invoke(app, ["report"]).exit_code == 0
    assert len(opened) == 1

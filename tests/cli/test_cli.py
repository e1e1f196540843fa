"""The commands as people use them, on the trained market."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from end_to_end.market import LAST, copy_of, instance_of, rows, trained_home, twotower, workspace_in, write_settings

import twotower_assets
from twotower_assets.cli import app
from twotower_assets.cli import serving as serving_commands
from twotower_assets.cli.app import err, fail, note, out
from twotower_assets.cli.lineage_tree import as_tree
from twotower_assets.lake.lineage import Node

COMMANDS = [
    (command.name or command.callback.__name__).replace("_", "-")
    for command in app.registered_commands
    if command.callback
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_home(tmp_path_factory).home


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_has_an_example(home: Path, command: str) -> None:
    output = twotower(home, command, "--help")
    assert "Example" in output
    assert f"twotower {command}" in output


def test_sql_shows_the_rows_of_one_query(home: Path) -> None:
    assert "u1" in twotower(home, "sql", "SELECT DISTINCT user_id FROM impressions WHERE user_id = 'u1'")


def test_sql_gives_json_for_scripts(home: Path) -> None:
    output = twotower(home, "sql", "SELECT day, count(*) AS n FROM impressions GROUP BY day ORDER BY day", "--json")
    assert json.loads(output)[0]["day"] == "2024-01-01"
    assert len(json.loads(output)) == 5


@pytest.mark.parametrize("statement", ["DELETE FROM impressions", "CREATE TABLE lake.mine (a INTEGER)"])
def test_sql_refuses_to_write(home: Path, statement: str) -> None:
    before = rows(workspace_in(home), "SELECT count(*) FROM impressions")
    assert "read-only" in twotower(home, "sql", statement, exit_code=1)
    assert rows(workspace_in(home), "SELECT count(*) FROM impressions") == before


def test_a_wrong_query_is_one_error(home: Path) -> None:
    output = twotower(home, "sql", "SELECT nothing_like_it FROM impressions", exit_code=1)
    assert output.startswith("error: ")
    assert "nothing_like_it" in output


def test_the_prompt_answers_statements_and_survives_a_wrong_one(home: Path) -> None:
    output = twotower(home, "sql", stdin="SELECT nothing_like_it;\nSELECT\n  40 + 2 AS answer;\n.exit\nSELECT 1;\n")
    assert "nothing_like_it" in output
    assert "42" in output
    assert output.index("nothing_like_it") < output.index("42")


def test_recommend_gives_as_many_items_as_asked_for_and_none_that_was_clicked(home: Path) -> None:
    found = json.loads(twotower(home, "recommend", "--user", "u1", "-k", "4", "--json"))
    assert [row["rank"] for row in found] == [1, 2, 3, 4]
    assert sorted((row["score"] for row in found), reverse=True) == [row["score"] for row in found]
    clicked = {
        item for (item,) in rows(workspace_in(home), "SELECT item_id FROM impressions WHERE user_id = 'u1' AND clicked")
    }
    assert clicked.isdisjoint(row["item_id"] for row in found)


def test_the_popularity_weight_changes_the_scores(home: Path) -> None:
    lists = [
        json.loads(twotower(home, "recommend", "--user", "u1", "--popularity-weight", weight, "--json"))
        for weight in ("0", "1")
    ]
    assert [row["score"] for row in lists[0]] != [row["score"] for row in lists[1]]


def test_recommend_shows_titles_to_people(home: Path) -> None:
    assert "Item " in twotower(home, "recommend", "--user", "u1")


ODD = "[/end] [bold]x[/] :bomb: [link"


def test_no_text_of_a_user_is_markup() -> None:
    near = {"item_id": ODD, "title": None}
    item = SimpleNamespace(
        rank=1, item_id=ODD, title=ODD, category=ODD, bucket="head", score=1.0, because=[near, near], as_dict=dict
    )
    node = Node(ODD, ODD, {ODD: ODD, "written_by": [{"snapshot": 3, "run_id": ODD}]})
    for show in (
        lambda: serving_commands._show([item], ODD, as_json=False),
        lambda: serving_commands._show_explained({0.0: [item]}, ODD, as_json=False),
        lambda: out.print(as_tree(node)),
        lambda: out.print(ODD),
    ):
        with out.capture() as printed:
            show()
        assert "".join(ODD.split()) in "".join(printed.get().replace("│", "").split())
    with err.capture() as printed, contextlib.suppress(typer.Exit):
        note(ODD)
        fail(ODD)
    assert printed.get() == f"note: {ODD}\nerror: {ODD}\n"


def test_an_unknown_user_with_brackets_is_an_error_that_names_it(home: Path) -> None:
    output = twotower(home, "recommend", "--user", "[/end]", exit_code=1)
    assert output.startswith("error: the served model does not know the user '[/end]'")
    assert "Like item [/end]" not in twotower(home, "similar", "--item", "[/end]", exit_code=1)


def test_an_unknown_user_is_one_error_with_a_way_to_find_others(home: Path) -> None:
    output = twotower(home, "recommend", "--user", "nobody", exit_code=1)
    assert output.startswith("error: the served model does not know the user 'nobody'")
    assert "twotower sql" in output


@pytest.mark.parametrize("wrong", [["--popularity-weight", "1.5"], ["-k", "0"]])
def test_an_option_out_of_range_is_a_usage_error(home: Path, wrong: list[str]) -> None:
    assert f"Invalid value for '{wrong[0]}'" in twotower(home, "recommend", "--user", "u1", *wrong, exit_code=2)


def test_similar_gives_items_of_the_same_taste_and_not_the_item_itself(home: Path) -> None:
    found = json.loads(twotower(home, "similar", "--item", "i2", "-k", "3", "--json"))
    assert len(found) == 3
    assert "i2" not in {row["item_id"] for row in found}
    assert {row["category"] for row in found} == {"c2"}


def test_similar_to_an_unknown_item_is_one_error(home: Path) -> None:
    assert "does not know the item 'nothing'" in twotower(home, "similar", "--item", "nothing", exit_code=1)


def test_nothing_is_served_before_the_first_training(tmp_path: Path) -> None:
    write_settings(tmp_path)
    output = twotower(tmp_path, "recommend", "--user", "u1", exit_code=1)
    assert "there is no lake" in output
    assert not list(tmp_path.glob("lake"))


@pytest.mark.parametrize("by", ["asset", "version", "both"])
def test_lineage_reaches_the_raw_files_and_names_the_snapshots(home: Path, by: str) -> None:
    (version,) = rows(workspace_in(home), "SELECT index_version FROM champion")[0]
    name = {"asset": "ann_index", "version": version, "both": f"ann_index/{version}"}[by]
    chain = json.loads(twotower(home, "lineage", name, "--json"))
    assert chain["name"] == f"ann_index/{version}"
    nodes = list(walk(chain))
    assert {node["kind"] for node in nodes} == {"artifact", "table", "raw files"}
    tables = [node for node in nodes if node["kind"] == "table"]
    assert {"training_pairs", "impressions", "items", "item_embeddings"} <= {node["name"] for node in tables}
    assert all(node["snapshot_read"] and node["written_by"] for node in tables)
    assert any("raw" in node["name"] for node in nodes if node["kind"] == "raw files")


def walk(node: dict) -> list[dict]:
    return [node, *(below for row in node["made_from"] for below in walk(row))]


def test_lineage_is_drawn_as_a_tree(home: Path) -> None:
    output = twotower(home, "lineage", "tower_checkpoint")
    assert "training_pairs" in output
    assert "snapshot" in output
    assert "raw files" in output


def test_an_unknown_artifact_is_one_error_that_names_known_ones(home: Path) -> None:
    output = twotower(home, "lineage", "nothing", exit_code=1)
    assert "there is no artifact 'nothing'" in output
    assert "ann_index/" in output


def test_doctor_finds_a_trained_home_in_order(home: Path) -> None:
    findings = json.loads(twotower(home, "doctor", "--json"))
    assert all(finding["ok"] for finding in findings)
    assert {"lake", "champion", "data set parquet", "cores"} <= {finding["name"] for finding in findings}
    assert "WRONG" not in twotower(home, "doctor")


def test_doctor_says_which_cores_are_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twotower_assets.cli.doctor.available_cores", lambda: 3)
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    (said,) = [row["text"] for row in json.loads(twotower(home, "doctor", "--json")) if row["name"] == "cores"]
    assert said == "1 for DuckDB and FAISS, 1 for training; this process may use 3 of the machine's 64"


def test_doctor_says_what_is_wrong(home: Path, tmp_path: Path) -> None:
    copy = copy_of(home, tmp_path)
    (version,) = rows(workspace_in(copy), "SELECT index_version FROM champion")[0]
    folder = copy / "artifacts" / "ann_index" / version
    folder.rename(folder.with_name("moved"))
    write_settings(copy, source_path=tmp_path / "nowhere")
    output = twotower_stdout(copy, "doctor", "--json")
    wrong = {finding["name"]: finding["text"] for finding in json.loads(output) if not finding["ok"]}
    assert set(wrong) == {"champion", "data set parquet"}
    assert "does not exist" in wrong["data set parquet"]
    assert "is gone" in wrong["champion"]


def test_doctor_names_a_wrong_setting(tmp_path: Path) -> None:
    write_settings(tmp_path, half_life_days=0)
    assert "TWOTOWER_HALF_LIFE_DAYS" in twotower_stdout(tmp_path, "doctor")


def twotower_stdout(home: Path, *arguments: str) -> str:
    """What a command that exits with 1 prints to standard output."""
    return twotower(home, *arguments, exit_code=1, output="stdout")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["features_job", "--days", "yesterday"], "--days takes 2022-04-24 or"),
        (["features_job", "--days", "2024-01-03..2024-01-01"], "--days takes a day or first..last"),
        (["features_job", "--days", "2023-12-31"], "2023-12-31 is not a daily partition"),
        (["features_job", "--days", "2023-12-31..2024-01-02"], "2023-12-31 is not a daily partition"),
        (["no_job", "--days", str(LAST)], "unknown job 'no_job'. The jobs: features_job, training_job, "),
        (["traning_job"], "unknown job 'traning_job'; did you mean training_job?"),
        (["recipes_job"], "recipes_job trains one recipe per run; `twotower compare-recipes`"),
        (["champion_job", "--days", str(LAST)], "champion_job has no days; omit --days"),
        (["features_job", "--set", "epochs=1"], "features_job trains nothing"),
        (["training_job", "--days", str(LAST), "--set", "epochs"], "--set takes NAME=VALUE, not 'epochs'"),
        (
            ["training_job", "--set", "nothing=1"],
            "unknown training setting 'nothing'. The settings: recipe, dimensions",
        ),
        (["training_job", "--set", "recipe=bset"], "unknown recipe 'bset'; did you mean best? The recipes: in_batch, "),
        (["training_job", "--set", "correction=logp"], "correction cannot be 'logp'; did you mean logq?"),
        (["training_job", "--set", "masks=[same_reqest]"], "masks cannot be 'same_reqest'; did you mean same_request?"),
        (["training_job", "--set", "temperature=hot"], "temperature: Input should be a valid number"),
        (
            ["training_job", "--set", "temperature=50"],
            "temperature: Input should be less than or equal to 10 (found: 50)",
        ),
        (["training_job", "--set", "window_days=7"], "window_days is 7, but the platform's features look back 6 days"),
    ],
)
def test_materialize_says_what_it_cannot_do_and_starts_no_run(home: Path, arguments: list[str], message: str) -> None:
    before = runs_of(home)
    output = twotower(home, "materialize", *arguments, exit_code=1)
    assert output.startswith("error: ")
    assert message in output
    assert runs_of(home) == before


def runs_of(home: Path) -> int:
    with instance_of(workspace_in(home)) as instance:
        return instance.get_runs_count()


@pytest.mark.parametrize("command", [["materialize", "training_job"], ["compare-recipes", "logq"]])
def test_a_misspelt_training_setting_is_answered_with_the_one_that_was_meant(home: Path, command: list[str]) -> None:
    printed = twotower(home, *command, "--set", "temprature=0.5", exit_code=1)
    assert printed == "error: unknown training setting 'temprature'; did you mean temperature?\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "nothing"], "error: there is no version 'nothing' of the model"),
        (["promote", "champion"], "is already served"),
        (["roll-back"], "no decision records what was served before"),
        (["roll-back", "--to", "champion"], "is already served"),
    ],
)
def test_an_impossible_promotion_or_roll_back_starts_no_run(home: Path, arguments: list[str], message: str) -> None:
    before = runs_of(home)
    assert message in twotower(home, *arguments, exit_code=1)
    assert runs_of(home) == before


def test_materialize_says_what_was_read_how_good_the_model_is_and_what_is_served(
    home: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    built, workspace = trained_home(tmp_path_factory), workspace_in(home)
    kept, rejected, recall, popular, version = rows(
        workspace,
        "SELECT (SELECT count(*) FROM impressions), (SELECT count(*) FROM rejected_impressions), "
        "recall_at_20, popular_recall_at_20, model_version FROM model_history",
    )[0]
    assert rejected > 0
    assert f"log:      {kept + rejected:,} rows read, {rejected} rejected (" in built.features
    interval = r" \[\d\.\d{3}, \d\.\d{3}\]"
    recalls = (
        rf"recall:   at 20 items towers {recall:.3f}{interval}, EASE \d\.\d+{interval}, most popular {popular:.3f}"
    )
    assert re.search(recalls, built.training)
    assert f"served:   {version}, from now on (before: nothing)" in built.training
    assert f"report:   {workspace.settings.artifacts_folder}" in built.training


def test_materialize_tells_the_same_as_json(home: Path, tmp_path: Path) -> None:
    copy = copy_of(home, tmp_path)
    days = f"{LAST}..{LAST}"
    (summary,) = json.loads(twotower(copy, "materialize", "features_job", "--days", days, "--json"))
    (kept,) = rows(workspace_in(copy), f"SELECT count(*) FROM impressions WHERE day = '{LAST}'")[0]
    assert (summary["first_day"], summary["last_day"], summary["rows"]["read"]) == (str(LAST), str(LAST), kept)
    assert summary["rows"]["rows"]["items"] == 40
    with instance_of(workspace_in(copy)) as instance:
        assert instance.get_run_by_id(summary["run_id"]) is not None


def test_versions_lists_every_model_and_says_which_is_served(home: Path) -> None:
    (found,) = json.loads(twotower(home, "versions", "--json"))
    (version,) = rows(workspace_in(home), "SELECT model_version FROM champion")[0]
    assert (found["model_version"], found["model_day"], found["served"]) == (version, str(LAST), True)
    assert found["recall_at_20"] > 0
    assert found["decision"] == "promoted"
    output = twotower(home, "versions")
    assert version in output
    assert "yes" in output


def test_an_unpartitioned_job_is_run_without_days(home: Path, tmp_path: Path) -> None:
    copy = copy_of(home, tmp_path)
    (version,) = rows(workspace_in(copy), "SELECT model_version FROM champion")[0]
    (summary,) = json.loads(twotower(copy, "materialize", "champion_job", "--json"))
    assert (summary["job"], summary["served"], summary["served_before"]) == ("champion_job", version, version)
    assert f"served:   {version}, as before" in twotower(copy, "materialize", "champion_job")
    output = twotower(copy, "materialize", "comparison_job", exit_code=1)
    assert output.startswith("error: comparison_job")
    assert "the baseline recipe 'logq' was not trained" in output


def test_doctor_says_how_a_home_of_ones_own_gets_its_lake(tmp_path: Path) -> None:
    write_settings(tmp_path, source_path=tmp_path)
    lake = next(row for row in json.loads(twotower(tmp_path, "doctor", "--json")) if row["name"] == "lake")
    assert "demo" not in lake["text"]
    assert "`twotower materialize features_job`" in lake["text"]


def test_the_version_is_that_of_the_package(home: Path) -> None:
    assert twotower(home, "--version") == f"twotower-assets {twotower_assets.__version__}\n"


@pytest.mark.parametrize(("typed", "completed"), [("twotower rec", "recommend"), ("twotower doctor --j", "--json")])
def test_a_shell_completes_commands_and_options(typed: str, completed: str) -> None:
    words = {"COMP_WORDS": typed, "COMP_CWORD": str(len(typed.split()) - 1), "_TWOTOWER_COMPLETE": "complete_bash"}
    program = "import sys; from twotower_assets.cli import app; app(prog_name='twotower')"
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **words}, capture_output=True, text=True, check=False
    )
    assert completed in done.stdout.split(), done.stderr

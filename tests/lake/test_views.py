"""The analysts' views and macros: defined with the lake, brought up to date, explained, and refusing what they must."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import duckdb
import pytest

from twotower_assets.lake import views
from twotower_assets.lake.lake import CommitInfo, Lake, Replacement
from twotower_assets.lake.queries import QueryError
from twotower_assets.lake.tables import TABLES

FOLDER = views.FOLDER
VECTORS = {"a": [1.0, 0.0], "b": [0.8, 0.6], "c": [0.0, 1.0], "d": [-1.0, 0.0]}
LOG_Q = {"a": -1.0, "b": -3.0, "c": -0.5, "d": -2.0}
PutDay = Callable[..., int]


@pytest.fixture(scope="module")
def served_template(lake_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """A lake that serves four items to two users, not to be changed: γ₀ = 1, 1/τ = 2; ann has clicked a."""
    folder = tmp_path_factory.mktemp("served") / "lake"
    shutil.copytree(lake_template, folder)
    lake = Lake(folder, "tiny", threads=1)
    served = "'v1' AS model_version, 2.0 AS inverse_temperature, 1.0 AS trained_popularity_weight, true AS known"
    with lake.writer() as con:
        con.execute("BEGIN")
        for item, vector in VECTORS.items():
            con.execute(
                f"INSERT INTO served_item_embeddings SELECT $item, $vector, 0.0, $log_q, {served}",
                {"item": item, "vector": vector, "log_q": LOG_Q[item]},
            )
            con.execute("INSERT INTO items (item_id, category, title) VALUES ($i, 'c', 'Item ' || $i)", {"i": item})
        for user, vector in {"ann": [1.0, 0.0], "bob": [0.0, 1.0]}.items():
            con.execute(
                f"INSERT INTO served_user_embeddings SELECT $user, $vector, {served}", {"user": user, "vector": vector}
            )
        con.execute("INSERT INTO champion VALUES ('2024-01-01', 'v1', 'x1', 'r1', now()::TIMESTAMP, 'best')")
        con.execute(
            "INSERT INTO impressions (day, user_id, item_id, shown_at, clicked) VALUES "
            "('2024-01-01', 'ann', 'a', '2024-01-01', true), ('2024-01-01', 'ann', 'b', '2024-01-01', false)"
        )
        con.execute("COMMIT")
    return lake


@pytest.fixture
def serving(served_template: Lake, tmp_path: Path) -> Lake:
    """A copy of it, for one test."""
    shutil.copytree(served_template.folder, tmp_path / "served")
    return Lake(tmp_path / "served", "tiny", threads=1)


@pytest.fixture(scope="module")
def ask(served_template: Lake) -> Iterator[Callable[[str], list[tuple[object, ...]]]]:
    """Ask the lake that is not to be changed."""
    with served_template.reader(transaction=False) as con:
        yield lambda sql: con.execute(sql).fetchall()


@pytest.fixture
def own_views(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of `sql/analysts/`, to change, which is used instead of it."""
    folder = tmp_path / "sql" / "analysts"
    shutil.copytree(FOLDER, folder)
    monkeypatch.setattr(views, "FOLDER", folder)
    return folder


def names_in(lake: Lake, kind: str) -> set[str]:
    sql = {
        "view": "SELECT view_name FROM duckdb_views() WHERE database_name = 'lake'",
        "macro": "SELECT function_name FROM duckdb_functions() WHERE database_name = 'lake'",
    }
    with lake.reader() as con:
        return {name for (name,) in con.execute(sql[kind]).fetchall()}


@pytest.mark.parametrize("kind", ["view", "macro"])
def test_every_file_is_a_view_or_macro_of_the_lake_with_help_in_it(lake: Lake, kind: str) -> None:
    wanted = {one.name for one in views.macro_help() if one.kind == kind}
    assert names_in(lake, kind) == wanted
    with lake.reader() as con:
        helped = con.execute("SELECT * FROM macro_help WHERE kind = $kind ORDER BY name", {"kind": kind}).fetchall()
        comments = con.execute("SELECT view_name, comment FROM duckdb_views() WHERE database_name = 'lake'").fetchall()
    assert [row[0] for row in helped] == sorted(wanted)
    for name, comment in comments:
        (description,) = [one.description for one in views.macro_help() if one.name == name]
        assert comment.startswith(description)


def test_definitions_read_the_lake_by_the_name_that_everybody_attaches_it_as(lake: Lake) -> None:
    read = re.compile(r"(?<!DISTINCT )\b(?:FROM|JOIN)\s+(?!\()([\w.]+)")
    for file in views.analyst_files():
        sql = "\n".join(line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("--"))
        steps = set(re.findall(r"^(\w+) AS (?:MATERIALIZED )?\(", sql, re.MULTILINE))
        for source in read.findall(sql):
            assert source in steps or source.startswith(("lake.main.", "ducklake_snapshots")), f"{file.name}: {source}"
    with lake.reader() as con:
        assert con.execute("SELECT current_database()").fetchone() == ("lake",)


def test_column_lineage_is_in_the_lake_as_declared(lake: Lake) -> None:
    with lake.reader() as con:
        rows = con.execute("FROM column_lineage").fetchall()
    assert ("item_frequency", "q", "item_frequency_daily", "clicks") in rows
    assert len(rows) == sum(len(column.derived_from) for table in TABLES.values() for column in table.columns)


@pytest.mark.parametrize("opened_for", ["reading", "writing"])
def test_a_lake_from_before_gets_the_views_and_keeps_its_rows(lake: Lake, put_day: PutDay, opened_for: str) -> None:
    put_day(date(2024, 1, 1), "ann", 2)
    with lake.writer() as con:
        con.execute("DROP VIEW lake.main.item_popularity")
        con.execute("DROP MACRO TABLE lake.main.recommend")
        con.execute("DROP TABLE lake.main.macro_help")
        con.execute("ALTER TABLE lake.main.lake_identity DROP COLUMN definitions")
    with lake.reader() if opened_for == "reading" else lake.writer() as con:
        assert con.execute("SELECT count(*) FROM macro_help WHERE name = 'recommend'").fetchone() == (1,)
        assert con.execute("SELECT count(*) FROM impressions").fetchone() == (2,)
    assert "item_popularity" in names_in(lake, "view")
    assert "recommend" in names_in(lake, "macro")


def test_a_definition_that_changed_is_defined_again_once(lake: Lake, own_views: Path) -> None:
    file = own_views / "similar_items.sql"
    file.write_text(file.read_text("utf-8").replace("-- The items whose", "-- Those whose"), encoding="utf-8")
    with lake.reader() as con:
        before = lake.snapshot(con)
    assert before == 2
    with lake.reader() as con:
        (text,) = con.execute("SELECT description FROM macro_help WHERE name = 'similar_items'").fetchone() or ("",)
        assert text.startswith("Those whose")
        assert lake.snapshot(con) == before


def test_opening_a_lake_that_is_up_to_date_writes_nothing(lake: Lake) -> None:
    with lake.reader() as con:
        before = lake.snapshot(con)
    with lake.writer(), lake.reader() as con:
        assert lake.snapshot(con) == before


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("-- errors: ", "-- and ", "errors"),
        ("-- gives: ", "-- gives:: ", "gives"),
        ("lake.main.similar_items(item, k)", "lake.main.alike(item, k)", "similar_items"),
    ],
)
def test_a_file_without_its_help_is_refused(own_views: Path, old: str, new: str, message: str) -> None:
    file = own_views / "similar_items.sql"
    file.write_text(file.read_text("utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(QueryError, match=message):
        views.read_help(file)


def test_recommend_leaves_out_what_was_clicked_and_weighs_popularity(ask: Callable[..., list[tuple]]) -> None:
    scores = {"b": 2 * 0.8, "c": 0.0, "d": -2.0}
    for gamma in (0, 0.5, 1):
        expected = {item: score + (gamma - 1) * LOG_Q[item] for item, score in scores.items()}
        found = ask(f"SELECT item_id, score FROM recommend('ann', 10, {gamma})")
        assert [item for item, _ in found] == sorted(expected, key=expected.__getitem__, reverse=True)
        assert dict(found) == pytest.approx(expected, abs=1e-6)


def test_recommend_for_a_vector_leaves_nothing_out(ask: Callable[..., list[tuple]]) -> None:
    assert [row[:3] for row in ask("FROM recommend_for_vector([1, 0], 2, 1)")] == [
        (1, "a", "Item a"),
        (2, "b", "Item b"),
    ]


def test_similar_items_are_nearest_by_cosine_without_the_item(ask: Callable[..., list[tuple]]) -> None:
    found = ask("SELECT rank, item_id, cosine FROM similar_items('a', 2)")
    assert [row[:2] for row in found] == [(1, "b"), (2, "c")]
    assert [row[2] for row in found] == pytest.approx([0.8, 0.0], abs=1e-6)


def test_macros_take_columns_of_other_tables_as_arguments(ask: Callable[..., list[tuple]]) -> None:
    by_user = ask(
        "SELECT known.user_id, given.item_id FROM current_user_embeddings AS known, "
        "recommend(known.user_id, 1, 1) AS given ORDER BY ALL"
    )
    assert by_user == [("ann", "b"), ("bob", "c")]
    by_length = ask(
        "SELECT length, count(*) FROM range(1, 4) AS asked(length), similar_items('a', length) GROUP BY ALL"
    )
    assert sorted(by_length) == [(1, 1), (2, 2), (3, 3)]
    everybody = ask(
        "SELECT user_id, item_id FROM (SELECT user_id FROM current_user_embeddings), recommend(user_id, 1, 1) "
        "ORDER BY ALL"
    )
    assert everybody == by_user


def test_an_unknown_id_is_refused_where_it_comes_from_a_column_too(ask: Callable[..., list[tuple]]) -> None:
    with pytest.raises(duckdb.Error, match="does not know the item 'zz'"):
        ask("SELECT * FROM (VALUES ('zz')) AS known(item_id), similar_items(item_id, 1)")


REFUSED = {
    "FROM recommend('nobody', 3, 1)": "does not know the user 'nobody'",
    "FROM recommend(NULL, 3, 1)": "found null",
    "FROM recommend('ann', 0, 1)": "k must be a whole number of at least 1, found 0",
    "FROM recommend('ann', NULL, 1)": "k must be a whole number of at least 1, found null",
    "FROM recommend('ann', 1.5, 1)": "k must be a whole number of at least 1, found 1.5",
    "FROM recommend('ann', 3, 1.1)": "popularity_weight must be between 0 and 1, found 1.1",
    "FROM recommend('ann', 3, NULL)": "popularity_weight must be between 0 and 1, found null",
    "FROM similar_items('nothing', 3)": "does not know the item 'nothing'",
    "FROM similar_items(NULL, 3)": "found null",
    "FROM similar_items('a', -1)": "k must be a whole number of at least 1, found -1",
    "FROM recommend_for_vector([1, 0, 0], 3, 1)": "have 2 numbers, found 3",
    "FROM recommend_for_vector(NULL, 3, 1)": "found null",
    "FROM recommend_for_vector([1, NULL], 3, 1)": "null, NaN or infinity",
    "FROM recommend_for_vector([1, 'inf'::FLOAT], 3, 1)": "null, NaN or infinity",
    "FROM recommend_for_vector([1, 0], 0, 1)": "k must be a whole number of at least 1, found 0",
    "FROM recommend_for_vector([1, 0], 3, -0.1)": "popularity_weight must be between 0 and 1, found -0.1",
    "FROM exposure_by_bucket(DATE '2024-01-01')": "no report for 2024-01-01; days with a report: none yet",
    "FROM exposure_by_bucket(NULL)": "found null",
    "FROM coverage_of('v0')": "no report on version 'v0'; versions with a report: none yet",
    "FROM coverage_of(NULL)": "found null",
    "FROM embedding_drift('v0', 'v1')": "v0 and v1 were not compared",
    "FROM embedding_drift('v0', NULL)": "found null",
    "FROM lineage_of('nothing')": "there is no artifact 'nothing'",
    "FROM lineage_of(NULL)": "found null",
}


@pytest.mark.parametrize("sql", REFUSED)
@pytest.mark.parametrize("columns", ["", "SELECT count(*) "], ids=["rows", "counted"])
def test_wrong_arguments_are_refused(ask: Callable[..., list[tuple]], sql: str, columns: str) -> None:
    with pytest.raises(duckdb.Error, match=re.escape(REFUSED[sql])):
        ask(columns + sql)


@pytest.mark.parametrize("sql", ["recommend('ann', 1, 1)", "similar_items('a', 1)", "recommend_for_vector([1], 1, 1)"])
def test_while_nothing_is_served_macros_say_so_and_views_are_empty(lake: Lake, sql: str) -> None:
    with lake.reader(transaction=False) as con:
        with pytest.raises(duckdb.Error, match="nothing is served yet"):
            con.execute(f"FROM {sql}").fetchall()
        for view in ("current_item_embeddings", "current_user_embeddings", "item_popularity", "model_history"):
            assert con.execute(f"FROM {view}").fetchall() == []


def test_current_views_get_the_length_of_the_vectors_with_the_commit_that_serves_them(serving: Lake) -> None:
    with serving.writer() as con:
        con.execute("CREATE TEMP TABLE staged AS FROM served_item_embeddings")
        replacement = Replacement("served_item_embeddings", "staged")
        serving.commit(con, [replacement], CommitInfo("champion"), views.current_views(2))
    with serving.reader() as con:
        types = {row[0]: row[1] for row in con.execute("DESCRIBE current_item_embeddings").fetchall()}
        comment = con.execute(
            "SELECT comment FROM duckdb_views() WHERE view_name = 'current_item_embeddings'"
        ).fetchone()
    assert types["embedding"] == "FLOAT[2]"
    assert comment is not None
    (description,) = [entry.description for entry in views.macro_help() if entry.name == "current_item_embeddings"]
    assert comment[0].startswith(description)


def test_the_drift_of_a_pair_is_read_in_either_order_and_once(lake: Lake) -> None:
    with lake.writer() as con:
        con.execute(
            "INSERT INTO embedding_drift VALUES ('2024-01-02', 'v2', 'v1', 'a', 0.5, 0.4), "
            "('2024-01-01', 'v1', 'v2', 'a', 0.5, 0.4), ('2024-01-02', 'v2', 'v0', 'a', 0.9, 0.9)"
        )
    with lake.reader() as con:
        for pair in ("'v1', 'v2'", "'v2', 'v1'"):
            assert con.execute(f"SELECT item_id, cosine FROM embedding_drift({pair})").fetchall() == [("a", 0.5)]

"""What analysts read in SQL is what the platform serves and knows: lists, likeness, lineage, drift, history."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from end_to_end.market import LAST, copy_of, materialize, rows, twotower, workspace_in
from twotower_assets.core.popularity import KEY_WEIGHTS as GAMMAS
from twotower_assets.core.ragged import Ragged
from twotower_assets.evaluation.ranking import top_k
from twotower_assets.evaluation.scores import inner_products, served_scores
from twotower_assets.lake.lineage import Node
from twotower_assets.retrieval.storage import load_index
from twotower_assets.serving.recommendations import recommend, serving
from twotower_assets.workspace import Workspace, lineage


@pytest.fixture(scope="module")
def retrained(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A copy of the trained home with another model of the last day, which was compared with the champion."""
    workspace = workspace_in(copy_of(built.home, tmp_path_factory.mktemp("retrained")))
    materialize(workspace, "tower_checkpoint", "item_embeddings", "embedding_drift", seed=1)
    return workspace


def same_but_for_ties(found: list[tuple[str, float]], exact: list[tuple[str, float]]) -> None:
    """Two lists by descending score are alike; items whose scores are equal to rounding may be swapped."""
    assert [score for _, score in found] == pytest.approx([score for _, score in exact], abs=2e-4)
    by_item = dict(exact)
    for item, score in found:
        assert by_item.get(item, exact[-1][1]) == pytest.approx(score, abs=2e-4), item


@pytest.mark.parametrize("gamma", GAMMAS)
def test_recommend_in_sql_is_what_the_index_recommends(trained: Workspace, gamma: float) -> None:
    for user in ("u3", "u60"):
        listed = recommend(trained, user, 10, gamma)
        in_sql = rows(trained, f"FROM recommend('{user}', 10, {gamma})")
        assert len(listed) == 10
        same_but_for_ties([(row[1], row[5]) for row in in_sql], [(item.item_id, item.score) for item in listed])
        described = {item.item_id: (item.title, item.category, item.bucket) for item in listed}
        for _, item, *facts, _ in in_sql:
            assert described.get(item, tuple(facts)) == tuple(facts)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_recommend_for_a_vector_is_what_the_index_finds(trained: Workspace, gamma: float) -> None:
    ((version,),) = rows(trained, "SELECT index_version FROM champion")
    index = load_index(trained.artifacts.open("ann_index", version).folder)
    vector = np.random.default_rng(4).normal(size=index.dimension).astype(np.float32)
    scores, positions = index.search(vector[None], 12, gamma)
    exact = [(index.item_ids[position], float(score)) for position, score in zip(positions[0], scores[0], strict=True)]
    in_sql = rows(trained, f"FROM recommend_for_vector({vector.tolist()}, 12, {gamma})")
    same_but_for_ties([(row[1], row[5]) for row in in_sql], exact)


@pytest.mark.parametrize("gamma", GAMMAS)
def test_the_evaluation_scores_lists_as_the_index_recommends(trained: Workspace, gamma: float) -> None:
    columns = "item_id, embedding, bias, log_q, inverse_temperature, trained_popularity_weight"
    items = rows(trained, f"SELECT {columns} FROM served_item_embeddings ORDER BY item_id")
    ids, vectors, bias, popularity, scale, trained_weight = (list(column) for column in zip(*items, strict=True))
    for user in ("u3", "u60"):
        ((vector,),) = rows(trained, f"SELECT embedding FROM served_user_embeddings WHERE user_id = '{user}'")
        clicked = rows(trained, f"SELECT DISTINCT item_id FROM impressions WHERE clicked AND user_id = '{user}'")
        seen = Ragged.from_lists([[ids.index(item) for (item,) in clicked if item in ids]])
        scores = served_scores(
            inner_products(np.float32([vector]), np.float32(vectors), scale[0], np.asarray(bias)),
            np.asarray(popularity),
            gamma,
            trained_weight[0],
        )
        (positions,), (exact,) = top_k(scores, 1, seen, 10), scores(np.zeros(1, np.int64))
        found = [(ids[position], float(exact[position])) for position in positions]
        same_but_for_ties(found, [(item.item_id, item.score) for item in recommend(trained, user, 10, gamma)])


@pytest.mark.parametrize("wrong", [-0.5, 1.5, float("nan"), "0.5"])
def test_an_invalid_popularity_weight_is_refused_wherever_lists_are_requested(trained: Workspace, wrong: Any) -> None:
    with serving(trained) as served:
        for request in (lambda: served.recommend("u3", 5, wrong), lambda: served.popularity_warning(wrong)):
            with pytest.raises(ValueError, match="popularity_weight is γ"):
                request()
    with pytest.raises(ValueError, match="popularity_weight is γ"):
        recommend(trained, "u3", 5, wrong)
    in_sql = f"'{wrong}'::DOUBLE" if isinstance(wrong, float) else "'half'"
    vector = "(SELECT embedding FROM current_user_embeddings LIMIT 1)"
    for macro, whom in (("recommend", "'u3'"), ("recommend_for_vector", vector)):
        with pytest.raises(duckdb.Error, match=r"popularity_weight must be between 0 and 1|Cannot mix values"):
            rows(trained, f"FROM {macro}({whom}, 5, {in_sql})")


def test_similar_items_in_sql_are_those_of_the_index(trained: Workspace) -> None:
    with serving(trained) as served:
        listed = served.similar("i7", 10)
    in_sql = rows(trained, "FROM similar_items('i7', 10)")
    same_but_for_ties([(row[1], row[5]) for row in in_sql], [(item.item_id, item.score) for item in listed])


def test_the_example_of_every_view_and_macro_runs(retrained: Workspace) -> None:
    examples = rows(retrained, "SELECT name, example FROM macro_help")
    assert len(examples) > 10
    for name, example in examples:
        assert name in example
        assert rows(retrained, example), example


def test_every_view_and_macro_gives_the_columns_that_its_help_names(retrained: Workspace) -> None:
    with retrained.lake.reader(transaction=False) as con:
        for name, example, gives in con.execute("SELECT name, example, gives FROM macro_help").fetchall():
            source = re.sub(r"^SELECT .*? FROM (?=\w)", "FROM ", example) if name != "embedding_drift" else example
            for column in [described[0] for described in con.sql(re.sub(r" LIMIT \d+$", "", source)).description]:
                assert re.search(rf"\b{column}\b", gives), f"{name}: {column}"


def table_commits(node: Node) -> set[tuple[str, int, int, str]]:
    """Table, snapshot read, snapshot of a commit and its run, for every table in a chain."""
    found = {
        (node.name, node.details["snapshot_read"], item["snapshot"], item["run_id"])
        for item in node.details.get("written_by", [])
        if node.kind == "table"
    }
    return found.union(*(table_commits(below) for below in node.made_from))


@pytest.mark.parametrize("artifact", ["ann_index", "popularity_bias_report", "tower_checkpoint"])
def test_lineage_in_sql_is_that_of_the_manifests(trained: Workspace, artifact: str) -> None:
    ((version,),) = rows(trained, f"SELECT version FROM artifacts WHERE asset = '{artifact}'")
    chain = lineage(trained, artifact)
    in_sql = rows(
        trained,
        f"SELECT name, snapshot_read, written_at_snapshot, run_id FROM lineage_of('{artifact}') WHERE kind = 'table'",
    )
    assert table_commits(chain) <= set(in_sql)
    assert {name for name, *_ in in_sql} >= {"impressions", "items", "training_pairs"}
    for named in (version, f"{artifact}/{version}"):
        assert rows(trained, f"SELECT count(*) FROM lineage_of('{named}') WHERE kind = 'table'") == [(len(in_sql),)]


def test_lineage_in_sql_is_the_same_under_any_number_of_threads(trained: Workspace) -> None:
    found = set()
    with trained.lake.reader(transaction=False) as con:
        for threads in (1, *[4] * 30):
            con.execute(f"SET threads = {threads}")
            found.add(tuple(con.execute("FROM lineage_of('tower_checkpoint')").fetchall()))
    assert len(found) == 1


def test_lineage_in_sql_of_a_day_that_was_rewritten_names_both_commits(changeable: Workspace) -> None:
    before = rows(changeable, "SELECT * FROM lineage_of('tower_checkpoint')")
    materialize(changeable, "training_pairs", day=LAST)
    assert rows(changeable, "SELECT * FROM lineage_of('tower_checkpoint')") == before
    materialize(changeable, "tower_checkpoint", seed=1)
    commits = rows(
        changeable,
        "SELECT first_day, last_day, partitions FROM lineage_of('tower_checkpoint') WHERE name = 'training_pairs'",
    )
    assert sum(partitions for *_, partitions in commits) == 6
    assert (LAST, LAST, 1) in commits


def test_drift_is_read_for_the_pair_that_was_compared(retrained: Workspace) -> None:
    ((fresh,), (champion,)) = rows(
        retrained,
        f"SELECT DISTINCT model_version FROM item_embeddings WHERE day = '{LAST}' "
        "UNION ALL SELECT model_version FROM champion",
    )
    assert fresh != champion
    drift = rows(retrained, f"FROM embedding_drift('{fresh}', '{champion}')")
    assert len(drift) == rows(retrained, "SELECT count(*) FROM current_item_embeddings")[0][0]
    cosines = [row[4] for row in drift]
    assert cosines == sorted(cosines)
    assert cosines[0] < cosines[-1] <= 1
    assert rows(retrained, f"FROM embedding_drift('{champion}', '{fresh}')") == drift


def test_a_first_model_has_nothing_to_be_compared_with(changeable: Workspace) -> None:
    materialize(changeable, "embedding_drift")
    assert rows(changeable, "FROM embedding_drift") == []


def test_drift_is_compared_with_the_newest_earlier_day_too(changeable: Workspace) -> None:
    with changeable.lake.writer() as con:
        con.execute(
            "INSERT INTO item_embeddings SELECT * REPLACE (day - 1 AS day, 'of the day before' AS model_version, "
            "list_reverse(embedding) AS embedding) FROM item_embeddings"
        )
    materialize(changeable, "embedding_drift")
    found = rows(
        changeable,
        "SELECT other_version, min(cosine) > 0.999, min(neighbours_kept) FROM embedding_drift GROUP BY ALL",
    )
    assert found == [("of the day before", True, 1.0)]


def test_drift_without_vectors_of_the_day_fails_and_names_what_to_run(changeable: Workspace) -> None:
    result = materialize(changeable, "embedding_drift", day=LAST.replace(day=1), succeeds=False)
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    assert "materialize serving/item_embeddings" in str(failure.step_failure_data.error_display_string)


def test_history_has_every_version_with_what_it_was_made_from_and_what_was_measured(retrained: Workspace) -> None:
    history = rows(
        retrained,
        "SELECT model_version, recipe, seed, lake_snapshot, recall_at_20, served, report_version FROM model_history",
    )
    ((served,), (recall,)) = rows(
        retrained,
        "SELECT model_version FROM champion UNION ALL SELECT value::VARCHAR FROM model_metrics "
        "WHERE model = 'two_tower' AND metric = 'recall' AND k = 20 AND bucket = 'all' AND popularity_weight = 1",
    )
    newest, first = history
    assert newest[2] == 1
    assert newest[4:] == (None, False, None)
    manifest = retrained.artifacts.open("tower_checkpoint", served).manifest
    assert first[:4] == (served, manifest["recipe"], manifest["seed"], manifest["lake_snapshot"])
    assert first[4] == pytest.approx(float(recall))
    assert first[5] is True
    assert first[6] is not None


def test_a_checkpoint_can_be_read_with_its_training_pairs_as_it_saw_them(changeable: Workspace) -> None:
    count = "SELECT count(*) FROM training_pairs"
    before = rows(changeable, count)
    with changeable.lake.writer() as con:
        con.execute(f"DELETE FROM training_pairs WHERE day = '{LAST}'")
    assert rows(changeable, count) != before
    ((snapshot,),) = rows(changeable, "SELECT lake_snapshot FROM model_history")
    output = twotower(changeable.settings.home, "sql", "--json", "--snapshot", str(snapshot), count)
    assert json.loads(output) == [{"count_star()": before[0][0]}]


def test_the_prompt_answers_with_macros(trained: Workspace) -> None:
    output = twotower(trained.settings.home, "sql", stdin="SELECT rank, item_id\nFROM recommend('u3', 2, 1);\n.exit\n")
    assert "item_id" in output
    assert recommend(trained, "u3", 1, 1.0)[0].item_id in output


def test_the_page_of_the_report_is_found(trained: Workspace) -> None:
    page = Path(twotower(trained.settings.home, "report").strip())
    assert "<html" in page.read_text(encoding="utf-8")[:500]

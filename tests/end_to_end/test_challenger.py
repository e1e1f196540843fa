"""Champion and challenger: a worse model is refused, a person may promote and roll back, any version can be asked."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from end_to_end.market import LAST, copy_of, materialize, rows, twotower, workspace_in
from twotower_assets.experiments.compare_versions import ComparisonError, compare_versions
from twotower_assets.workspace import Workspace

SERVED = "SELECT model_version, index_version, report_version FROM champion"
HISTORY = "SELECT model_version, decision, champion_before FROM champion_decisions ORDER BY decided_at"
VECTORS = ("served_item_embeddings", "served_user_embeddings")
USERS = ("u1", "u60")
CHAIN = ("tower_checkpoint", "item_embeddings", "user_embeddings", "ann_index", "popularity_bias_report", "champion")
WORSE = {"epochs": 1, "temperature": 5.0}


@pytest.fixture(scope="module")
def home_of_two(built: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained home, where a deliberately worse model was trained of the same day; not to be changed."""
    home = copy_of(built.home, tmp_path_factory.mktemp("two"))
    materialize(workspace_in(home), *CHAIN, **WORSE)
    return home


@pytest.fixture(scope="module")
def of_two(home_of_two: Path) -> Workspace:
    return workspace_in(home_of_two)


@pytest.fixture
def changeable_two(home_of_two: Path, tmp_path: Path) -> Workspace:
    return workspace_in(copy_of(home_of_two, tmp_path))


def champion_and_worse(workspace: Workspace) -> tuple[str, str]:
    ((champion, *_),) = rows(workspace, SERVED)
    ((worse,),) = rows(workspace, "SELECT DISTINCT model_version FROM item_embeddings")
    assert champion != worse
    return champion, worse


def served_lists(workspace: Workspace, *options: str) -> list[str]:
    """What the command line prints, byte for byte, for some users and γs, and for an item."""
    home = workspace.settings.home
    return [
        *(
            twotower(home, "recommend", "--user", user, "--popularity-weight", gamma, "--json", *options)
            for user in USERS
            for gamma in ("0", "1")
        ),
        twotower(home, "similar", "--item", "i2", "--json", *options),
    ]


def test_a_deliberately_worse_model_is_refused_and_the_decision_says_why(of_two: Workspace) -> None:
    champion, worse = champion_and_worse(of_two)
    ((decision, reasons, before),) = rows(
        of_two,
        f"SELECT decision, reasons, champion_before FROM champion_decisions WHERE model_version = '{worse}'",
    )
    assert (decision, before) == ("refused", champion)
    assert reasons.startswith("failed: recall is not worse (recall@20 of 0.")
    assert "held: item embeddings are sound" in reasons
    assert "model beats most popular" in reasons.partition("held: ")[2]
    ((value, other, difference, low, high, users),) = rows(
        of_two,
        "SELECT value, other_value, difference, low, high, users FROM version_comparisons "
        f"WHERE model_version = '{worse}' AND other_version = '{champion}' "
        "AND metric = 'recall' AND k = 20 AND bucket = 'all'",
    )
    assert difference == pytest.approx(value - other)
    assert low <= difference <= high < 0
    assert users > 1


def test_judging_again_writes_the_same_rows(changeable_two: Workspace) -> None:
    before = [rows(changeable_two, f"FROM {table} ORDER BY ALL") for table in ("champion", "champion_decisions")]
    materialize(changeable_two, "champion")
    assert [
        rows(changeable_two, f"FROM {table} ORDER BY ALL") for table in ("champion", "champion_decisions")
    ] == before


def test_a_margin_that_allows_the_loss_lets_the_model_pass(changeable_two: Workspace) -> None:
    _, worse = champion_and_worse(changeable_two)
    generous = workspace_in(changeable_two.settings.home, maximum_recall_loss=1, minimum_kept_of_champion=0)
    materialize(generous, "champion")
    assert rows(generous, SERVED)[0][0] == worse
    assert [decision for _, decision, _ in rows(generous, HISTORY)] == ["promoted", "refused", "promoted"]


def test_a_roll_back_restores_what_was_served_byte_for_byte(changeable_two: Workspace) -> None:
    champion, worse = champion_and_worse(changeable_two)
    home = changeable_two.settings.home
    before, listed = rows(changeable_two, SERVED), served_lists(changeable_two)
    vectors = [rows(changeable_two, f"FROM {table} ORDER BY ALL") for table in VECTORS]
    assert f"Served: {worse}\nBefore: {champion}" in twotower(home, "promote", worse, "--reason", "to try it")
    assert served_lists(changeable_two) != listed
    assert f"Served: {champion}\nBefore: {worse}" in twotower(home, "roll-back", "--reason", "lists are odd")
    assert rows(changeable_two, SERVED) == before
    assert served_lists(changeable_two) == listed
    assert [rows(changeable_two, f"FROM {table} ORDER BY ALL") for table in VECTORS] == vectors
    assert rows(changeable_two, HISTORY)[-2:] == [
        (worse, "promoted by hand", champion),
        (worse, "rolled back", worse),
    ]
    assert rows(changeable_two, "SELECT reasons FROM champion_decisions WHERE decision = 'rolled back'") == [
        (f"lists are odd; {champion} is served again",)
    ]


def test_what_was_rolled_back_is_not_promoted_again_by_itself(changeable_two: Workspace) -> None:
    champion, worse = champion_and_worse(changeable_two)
    result = json.loads(twotower(changeable_two.settings.home, "promote", worse, "--json"))
    assert result["served"] == worse
    again = json.loads(twotower(changeable_two.settings.home, "roll-back", "--json"))
    assert again == {"served": result["before"], "before": worse}
    materialize(
        workspace_in(changeable_two.settings.home, maximum_recall_loss=1, minimum_kept_of_champion=0), "champion"
    )
    assert rows(changeable_two, SERVED)[0][0] == champion


def test_any_version_can_be_asked_whatever_is_served(of_two: Workspace) -> None:
    champion, worse = champion_and_worse(of_two)
    assert served_lists(of_two, "--version", champion) == served_lists(of_two)
    others = served_lists(of_two, "--version", worse)
    assert others != served_lists(of_two)
    assert served_lists(of_two, "--version", str(LAST)) == others


def test_a_version_that_was_promoted_gives_the_lists_it_gave_when_it_was_asked(changeable_two: Workspace) -> None:
    _, worse = champion_and_worse(changeable_two)
    asked = served_lists(changeable_two, "--version", worse)
    twotower(changeable_two.settings.home, "promote", worse)
    assert served_lists(changeable_two) == asked


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["promote", "nothing"], "there is no version 'nothing' of the model"),
        (["promote", "champion"], "is already served"),
        (["promote", "2024"], "'2024' may be any of 2024-01-06-"),
        (["roll-back"], "no decision records what was served before"),
        (["roll-back", "--to", str(LAST)], "was never served"),
        (["compare", "champion"], "cannot be compared with itself"),
        (["recommend", "--user", "u1", "--version", "nothing"], "there is no version 'nothing' of the model"),
        (["recommend", "--user", "u1", "--explain", "--popularity-weight", "1"], "omit --popularity-weight"),
    ],
)
def test_what_cannot_be_done_is_one_error(of_two: Workspace, arguments: list[str], message: str) -> None:
    before = rows(of_two, SERVED)
    assert message in twotower(of_two.settings.home, *arguments, exit_code=1)
    assert rows(of_two, SERVED) == before


def test_a_version_whose_vectors_were_changed_is_not_served(changeable_two: Workspace) -> None:
    _, worse = champion_and_worse(changeable_two)
    ((index,),) = rows(changeable_two, "SELECT DISTINCT index_version FROM ann_index_quality")
    file = changeable_two.artifacts.folder / "ann_index" / index / "user_vectors.parquet"
    file.write_bytes(file.read_bytes()[:-9] + b"?" + file.read_bytes()[-8:])
    assert "are not those that were published" in twotower(changeable_two.settings.home, "promote", worse, exit_code=1)
    file.unlink()
    assert "has no user_vectors.parquet" in twotower(changeable_two.settings.home, "promote", worse, exit_code=1)


def test_a_champion_that_cannot_be_compared_stays_while_it_can_be_served(changeable_two: Workspace) -> None:
    champion, worse = champion_and_worse(changeable_two)
    checkpoints = changeable_two.artifacts.folder / "tower_checkpoint"
    (checkpoints / champion).rename(checkpoints / "moved")
    materialize(changeable_two, "champion")
    assert rows(changeable_two, SERVED)[0][0] == champion
    reasons = f"SELECT reasons FROM champion_decisions WHERE model_version = '{worse}' ORDER BY decided_at DESC LIMIT 1"
    assert (
        f"the champion {champion} cannot be compared: tower_checkpoint {champion} is gone"
        in (rows(changeable_two, reasons)[0][0])
    )
    indexes = changeable_two.artifacts.folder / "ann_index"
    (indexes / rows(changeable_two, SERVED)[0][1]).rename(indexes / "moved")
    materialize(changeable_two, "champion")
    assert rows(changeable_two, SERVED)[0][0] == worse
    assert "and it cannot be served" in rows(changeable_two, reasons)[0][0]


def test_a_version_that_has_seen_the_held_out_clicks_is_refused(changeable: Workspace) -> None:
    ((version,),) = rows(changeable, "SELECT model_version FROM champion")
    day = LAST - timedelta(days=1)
    materialize(changeable, "tower_checkpoint", day=day, epochs=1)
    ((earlier,),) = rows(changeable, f"SELECT DISTINCT model_version FROM training_curves WHERE day = '{day}'")
    with pytest.raises(ComparisonError, match=f"{version} was trained on .* `twotower compare {version} {earlier}`"):
        compare_versions(changeable, earlier, version)
    assert compare_versions(changeable, version, earlier).rows.height > 0


def test_history_keeps_what_was_measured_of_a_version_whose_day_has_a_later_model(of_two: Workspace) -> None:
    champion, worse = champion_and_worse(of_two)
    measured = dict(rows(of_two, "SELECT model_version, recall_at_20 FROM model_history"))
    recall = compare_versions(of_two, worse, champion).rows.filter(metric="recall", k=20, bucket="all")
    assert measured[worse] == pytest.approx(recall["value"].item())
    assert measured[champion] == pytest.approx(recall["other_value"].item())
    assert rows(of_two, "SELECT count(DISTINCT model_version) FROM model_metrics") == [(1,)]
    assert rows(of_two, "SELECT count(*) FROM model_history WHERE delta IS NULL OR coverage_at_20 IS NULL") == [(0,)]


def test_compare_shows_metrics_buckets_categories_and_movers(of_two: Workspace) -> None:
    champion, worse = champion_and_worse(of_two)
    found = json.loads(twotower(of_two.settings.home, "compare", worse, "--json"))
    assert (found["version"], found["other_version"]) == (worse, champion)
    metrics = {(row["metric"], row["k"], row["bucket"]): row for row in found["metrics"]}
    assert {("recall", 20, "all"), ("ndcg", 20, "all"), ("recall", 100, "all"), ("coverage", 20, "all")} <= set(metrics)
    assert {("recall", 20, bucket) for bucket in ("head", "mid", "tail", "cold", "beyond_head")} <= set(metrics)
    assert metrics["recall", 20, "all"]["users"] == found["users"]
    assert all(move["change"] == move["lists"] - move["other_lists"] != 0 for move in found["movers"])
    assert [move["change"] for move in found["movers"]] == sorted(
        (move["change"] for move in found["movers"]), reverse=True
    )
    output = twotower(of_two.settings.home, "compare", worse)
    assert worse in output
    assert "recall@20, beyond head" in output
    assert f"Item {found['movers'][0]['item_id'].removeprefix('i')}" in output


def test_the_other_way_round_the_differences_change_their_sign(of_two: Workspace) -> None:
    champion, worse = champion_and_worse(of_two)
    one, other = compare_versions(of_two, worse, champion).rows, compare_versions(of_two, champion, worse).rows
    both = one.join(other, on=["metric", "k", "bucket"], suffix="_back")
    assert both.height == one.height
    for row in both.drop_nulls("difference").iter_rows(named=True):
        assert row["difference"] == pytest.approx(-row["difference_back"])
        if row["low"] is not None:
            assert row["low"] == pytest.approx(-row["high_back"], abs=1e-9)


def test_reasons_are_clicked_items_and_lists_are_those_without_reasons(of_two: Workspace) -> None:
    home = of_two.settings.home
    found = json.loads(twotower(home, "recommend", "--user", "u1", "-k", "4", "--explain", "--json"))
    assert [lists["popularity_weight"] for lists in found] == [0, 0.5, 1]
    clicked = {item for (item,) in rows(of_two, "SELECT item_id FROM impressions WHERE user_id = 'u1' AND clicked")}
    for lists in found:
        gamma = str(lists["popularity_weight"])
        plain = json.loads(
            twotower(home, "recommend", "--user", "u1", "-k", "4", "--popularity-weight", gamma, "--json")
        )
        assert [{**item, "because": None} for item in lists["items"]] == [{**item, "because": None} for item in plain]
        for item in lists["items"]:
            assert len(item["because"]) == 2
            assert {near["item_id"] for near in item["because"]} <= clicked
    output = twotower(home, "recommend", "--user", "u1", "-k", "4", "--explain")
    assert "like Item " in output
    assert "γ = 0.5" in output

"""Recipes trained again: only their own rows change, killed trainings go on, and like is compared with like."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable
from typing import Any

import pytest

from end_to_end.market import COMPARED, compare, metadata, rows, run_recipe, why, workspace_in
from twotower_assets.experiments import train_seeds as negative_sampling
from twotower_assets.experiments.evaluate_recipes import RUN_TABLES
from twotower_assets.lake.tables import TABLES
from twotower_assets.two_tower.training import loop as training_module
from twotower_assets.two_tower.training.tensor_file import read_tensors
from twotower_assets.workspace import Workspace

MEASURED = ("seconds", "pairs_per_second", "run_id", "lake_snapshot", "code_version")
COMPARISON = "negative_sampling_comparison"


def contents(workspace: Workspace, where: str, without: Iterable[str] = ()) -> dict[str, str]:
    """A digest of some rows of each table of runs."""
    digests = {}
    for name in RUN_TABLES:
        columns = ", ".join(column for column in TABLES[name].column_names if column not in without)
        text = str(rows(workspace, f"SELECT {columns} FROM {name} WHERE {where} ORDER BY ALL"))
        digests[name] = hashlib.sha256(text.encode()).hexdigest()
    return digests


def test_a_recipe_trained_again_replaces_its_own_rows_by_the_same_numbers(
    changeable_comparison: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, others = "recipe = 'deep'", "recipe <> 'deep'"
    before, of_others = contents(changeable_comparison, own, MEASURED), contents(changeable_comparison, others)
    runs = f"SELECT run_id FROM negative_sampling_runs WHERE {own}"
    first_runs = rows(changeable_comparison, runs)
    trainings = []
    train = training_module.train

    def spy(*data: Any, **how: Any) -> Any:
        trainings.append(train(*data, **how))
        return trainings[-1]

    monkeypatch.setattr(training_module, "train", spy)
    run_recipe(changeable_comparison, "deep")
    assert contents(changeable_comparison, others) == of_others
    assert contents(changeable_comparison, own, MEASURED) == before
    assert set(rows(changeable_comparison, runs)).isdisjoint(first_runs)
    assert len(trainings) == 4
    seconds = rows(changeable_comparison, f"SELECT sum(seconds) FROM negative_sampling_runs WHERE {own}")
    taken = sum(report.seconds for training in trainings for report in training.reports)
    assert seconds == [(pytest.approx(taken),)]  # that of what was mined among it


def test_a_recipe_that_is_no_longer_applicable_leaves_none_of_its_old_rows(changeable_comparison: Workspace) -> None:
    others = contents(changeable_comparison, "recipe <> 'hard_category'")
    too_deep = {"negatives": [{"source": "in_batch"}, {"source": "mined", "per_positive": 1, "recipe": "logq"}]}
    run_recipe(changeable_comparison, "hard_category", training={**COMPARED, **too_deep})
    own = "FROM {} WHERE recipe = 'hard_category'"
    ((status,),) = rows(changeable_comparison, f"SELECT status {own.format('negative_sampling_runs')}")
    assert status == "not applicable"
    for name in RUN_TABLES[1:]:
        assert rows(changeable_comparison, own.format(name)) == []
    assert contents(changeable_comparison, "recipe <> 'hard_category'") == others


def test_a_run_stopped_between_seeds_leaves_the_old_rows_and_the_next_one_goes_on(
    changeable_comparison: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = changeable_comparison
    everything, own = contents(workspace, "true"), contents(workspace, "recipe = 'in_batch'", MEASURED)
    epochs = itertools.count(1)

    def stop_after_an_epoch_of_the_second_seed(_: Any) -> None:
        if next(epochs) == 3:
            raise RuntimeError("stopped")

    with monkeypatch.context() as patch:
        patch.setattr(negative_sampling, "epoch_logger", lambda *_: stop_after_an_epoch_of_the_second_seed)
        assert "stopped" in why(run_recipe(workspace, "in_batch", succeeds=False))
    assert contents(workspace, "true") == everything
    states = sorted(workspace.artifacts.scratch("negative_sampling_runs", "").rglob("training_state.safetensors"))
    done = [report["seconds"] for state in states for report in read_tensors(state)[1]["reports"]]
    assert (len(states), len(done)) == (2, 3)

    trained: list[int] = []
    with monkeypatch.context() as patch:
        patch.setattr(negative_sampling, "epoch_logger", lambda *_: lambda report: trained.append(report.epoch))
        run_recipe(workspace, "in_batch")
    assert trained == [2]
    assert contents(workspace, "recipe = 'in_batch'", MEASURED) == own
    assert not any(state.exists() for state in states)


def test_a_recipe_trained_differently_from_the_baseline_is_excluded_with_the_reason(
    changeable_comparison: Workspace,
) -> None:
    workspace = changeable_comparison
    run_recipe(workspace, "in_batch", seeds=[0])
    run_recipe(workspace, "hard_category", window_days=5)
    (event,) = compare(workspace).asset_materializations_for_node(COMPARISON)
    found = metadata(event)
    assert found["left_out"] == [
        "in_batch: trained with seeds [0], the baseline with [0, 1]",
        "hard_category: trained on other data than the baseline; materialize it again",
    ]
    compared = {recipe for (recipe,) in rows(workspace, f"SELECT DISTINCT recipe FROM {COMPARISON}")}
    assert compared == {"logq", "hard_exposure_1", "deep"}
    assert "Compared: 3 recipes, 2 seeds each." in found["recommendation"]
    assert "in_batch" not in found["comparison"]


@pytest.mark.parametrize(
    ("baseline", "changes", "words"),
    [
        ("mixed", {}, "the baseline recipe 'mixed' was not trained; materialize recipes/negative_sampling_runs"),
        ("hard_mined", {}, "the baseline recipe 'hard_mined' was not trained"),
        ("logq", {"popularity_weight": 0.5}, "was evaluated at γ = 1 of clicks, but γ = 0.5 of clicks is served"),
        ("logq", {"popularity_from": "impressions"}, "but γ = 1 of impressions is served"),
    ],
)
def test_a_baseline_that_cannot_be_compared_with_is_an_error_and_leaves_the_comparison(
    changeable_comparison: Workspace, baseline: str, changes: dict[str, Any], words: str
) -> None:
    before = rows(changeable_comparison, f"FROM {COMPARISON} ORDER BY ALL")
    workspace = workspace_in(changeable_comparison.settings.home, **changes)
    assert words in why(compare(workspace, baseline, succeeds=False))
    assert rows(changeable_comparison, f"FROM {COMPARISON} ORDER BY ALL") == before

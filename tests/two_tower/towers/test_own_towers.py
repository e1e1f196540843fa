"""Towers of a user's own, trained by the loss of the platform, saved, and loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from two_tower.loss.test_every_loss import BATCH, Run, assert_gradients_are_of_the_loss
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.recipes import RecipeError, load_recipes
from twotower_assets.two_tower.checkpoint import (
    FORMAT_VERSION,
    RENAMED,
    CheckpointError,
    _content_hash,
    _file_digest,
    load_checkpoint,
    save_checkpoint,
)
from twotower_assets.two_tower.towers.model import build_towers
from twotower_assets.two_tower.towers.tower import History, TowerError
from twotower_assets.two_tower.training.loop import train
from twotower_assets.two_tower.training.tensor_file import write_tensors

ATTENTION, CATEGORIES = "two_tower.own_towers:Attention", "two_tower.own_towers:Categories"
OWN = {"user_tower": ATTENTION, "item_tower": CATEGORIES, "history_length": 6}


def weights(towers: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in towers.state_dict().items()}


@pytest.mark.parametrize("names", [("in_batch",), ("in_batch", "uniform", "category"), ("in_batch", "cross_batch")])
@pytest.mark.parametrize(
    "own", [{"user_tower": ATTENTION}, {"item_tower": CATEGORIES}, OWN], ids=["user", "item", "both"]
)
def test_gradients_of_own_towers_are_how_the_loss_changes(logged_market, names: tuple[str, ...], own: Any) -> None:
    options = {"products": "float32", "positive_aware_share": None, "history_length": 6, "learn_temperature": True}
    run = Run(logged_market, names, "logq", **options | own)
    for name, parameter in run.towers.named_parameters():
        if "linear" in name or "layer" in name or "in_proj" in name:
            with torch.no_grad():
                parameter.mul_(3)  # else some gradients are too small to be seen among roundings
    assert_gradients_are_of_the_loss(run)


def test_a_table_of_an_own_tower_has_gradients_for_the_rows_of_the_batch_alone(logged_market) -> None:
    run = Run(logged_market, ("in_batch",), "logq", **OWN)
    run.loss(BATCH).backward()
    table: Any = run.towers.user_tower.get_submodule("ids")
    assert table.weight.grad is None
    rows, vectors = table.gradient
    assert set(rows.tolist()) == set(run.data.user_inputs.ids[run.data.user[BATCH]].tolist())
    assert np.abs(vectors).max() > 0


@pytest.fixture
def trained(rich_market) -> Any:
    market = rich_market.configured(**OWN, epochs=2, user_tower_parameters={"heads": 4, "dropout": 0.3})
    return market, train(market.training_set(), market.config)


def test_training_lowers_the_loss_and_follows_from_the_seed(trained) -> None:
    market, result = trained
    again = train(market.training_set(), market.config)
    assert result.reports[1].loss < result.reports[0].loss
    first, second = weights(result.towers), weights(again.towers)
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = market.configured(seed=1)
    third = weights(train(other.training_set(), other.config).towers)
    assert not torch.equal(first["user_tower.position"], third["user_tower.position"])


def test_an_interrupted_training_goes_on_with_the_same_dropout(trained, tmp_path: Path) -> None:
    market, result = trained

    def interrupt(_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(market.training_set(), market.config, on_epoch=interrupt, resume_dir=tmp_path)
    torch.rand(5)
    resumed = train(market.training_set(), market.config, resume_dir=tmp_path)
    expected = weights(result.towers)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(resumed.towers).items())


@pytest.fixture
def saved(trained, tmp_path: Path) -> Path:
    market, result = trained
    save_checkpoint(tmp_path / "model", result.towers, market.training_set(), market.config)
    return tmp_path / "model"


def test_a_checkpoint_has_the_towers_names_and_parameters(trained, saved: Path) -> None:
    market, result = trained
    checkpoint = load_checkpoint(saved)
    assert checkpoint.config.user_tower_parameters == {"heads": 4, "dropout": 0.3}
    expected = weights(result.towers)
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(checkpoint.towers).items())
    assert np.linalg.norm(checkpoint.embed_items(market.items), axis=1) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda module: delattr(module, "Attention"), "has no class Attention"),
        (lambda module: setattr(module, "Attention", module.Categories), "takes other parameters than those given"),
        (lambda module: setattr(module, "Attention", module.NoTower), "is no tower"),
    ],
)
def test_a_checkpoint_whose_tower_is_gone_or_changed_says_so(saved: Path, monkeypatch, change: Any, said: str) -> None:
    import two_tower.own_towers as module

    for name in ("Attention", "Categories", "NoTower"):
        monkeypatch.setattr(module, name, getattr(module, name))
    change(module)
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(saved)


def test_a_checkpoint_whose_towers_weights_changed_says_so(saved: Path, monkeypatch) -> None:
    import two_tower.own_towers as module

    class Wider(module.Attention):
        def __init__(self, shape: Any, heads: int = 2, dropout: float = 0.0) -> None:
            super().__init__(shape, heads, dropout)
            self.more = torch.nn.Linear(2, 2)

    monkeypatch.setattr(module, "Attention", Wider)
    with pytest.raises(CheckpointError, match="does not fit the towers"):
        load_checkpoint(saved)


@pytest.mark.parametrize("item_bias", [False, True])
def test_a_checkpoint_from_before_towers_had_names_is_read(rich_market, tmp_path: Path, *, item_bias: bool) -> None:
    market = rich_market.configured(hidden_sizes=[7], item_bias=item_bias)
    towers = build_towers(market.training_set().encoder, market.config)
    save_checkpoint(tmp_path, towers, market.training_set(), market.config)
    now = {new: old for old, new in RENAMED.items()}
    named = {}
    for name, tensor in towers.state_dict().items():
        new = next((new for new in now if name.startswith(new)), "")
        named[now.get(new, "") + name.removeprefix(new)] = tensor
    write_tensors(tmp_path / "weights.safetensors", named, {})
    manifest = json.loads((tmp_path / "checkpoint.json").read_text())
    assert manifest["format_version"] == FORMAT_VERSION
    digests = manifest["sha256"] | {"weights.safetensors": _file_digest(tmp_path / "weights.safetensors")}
    old = {"format_version": 2, "sha256": digests, "content_hash": _content_hash(digests, 2)}
    (tmp_path / "checkpoint.json").write_text(json.dumps(old))

    loaded = weights(load_checkpoint(tmp_path).towers)
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in towers.state_dict().items())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"user_tower": "no_such_module:Tower"}, "cannot be imported"),
        ({"user_tower": "two_tower.own_towers:Nothing"}, "has no class Nothing"),
        ({"item_tower": "two_tower.own_towers:NoTower"}, "is no tower: it lacks encode, vjp"),
        ({"user_tower": ATTENTION, "user_tower_parameters": {"haeds": 4}}, "unexpected keyword argument 'haeds'"),
        ({"user_tower_parameters": {"heads": 4}}, "no user_tower that takes them"),
        ({"user_tower": "two_tower.own_towers.Attention"}, "should match pattern"),
    ],
)
def test_a_recipe_with_a_wrong_tower_is_refused_when_it_is_loaded(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainingConfig.model_validate(settings)
    (tmp_path / "recipes.yaml").write_text(json.dumps({"mine": {"description": "Mine.", "training": settings}}))
    with pytest.raises(RecipeError, match=f"recipe 'mine': .*{said}"):
        load_recipes(tmp_path / "recipes.yaml")


def test_a_tower_that_cannot_be_made_or_gives_other_shapes_says_so(market) -> None:
    encoder = market.training_set().encoder
    with pytest.raises(TowerError, match=r"own_towers:Refusing cannot be made: no licence"):
        build_towers(encoder, market.configured(user_tower="two_tower.own_towers:Refusing").config)
    with pytest.raises(TowerError, match=r"has dimensions 9; it must be a module with dimensions 8"):
        build_towers(encoder, market.configured(user_tower="two_tower.own_towers:Wide").config)
    wide = market.configured(item_tower="two_tower.own_towers:TooWide", epochs=1)
    with pytest.raises(TowerError, match=r"TooWide.forward must give a vector per row, float32 \[\d+, 8\]; it gave"):
        train(wide.training_set(), wide.config)


def test_a_padded_history_has_the_last_items_from_the_left() -> None:
    history = History(torch.tensor([0, 3, 3, 4]), torch.tensor([5, 6, 7, 8]))
    assert history.padded(2).tolist() == [[6, 7], [0, 0], [8, 0]]
    assert history.padded(4).tolist() == [[5, 6, 7, 0], [0, 0, 0, 0], [8, 0, 0, 0]]
    assert History(torch.tensor([0, 0]), torch.tensor([], dtype=torch.int64)).padded(2).tolist() == [[0, 0]]
    assert history.padded(0).shape == (3, 0)

"""What trains on another device trains as compiled loops do; here the processor is treated as such a device."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from two_tower.every_source import negatives
from twotower_assets.recipes.recipes import load_recipes
from twotower_assets.testing.example_market import example_market, mined_lists
from twotower_assets.testing.suite import BATCH, FIRST_BATCHES, small_config
from twotower_assets.two_tower.kernels import processor
from twotower_assets.two_tower.optim.torch_adam import TorchAdam, TorchAverage
from twotower_assets.two_tower.towers.embedding import Embedder
from twotower_assets.two_tower.training import trainer as trainer_module
from twotower_assets.two_tower.training.device import DeviceError, training_device
from twotower_assets.two_tower.training.loop import train
from twotower_assets.two_tower.training.trainer import Trainer

RECIPES = load_recipes()
TOWERS = {
    "compiled": {},
    "own user tower": {"user_tower": "two_tower.own_towers:Attention"},
    "own item tower": {"item_tower": "two_tower.own_towers:Categories"},
}
RICH = {
    "hidden_sizes": [12],
    "item_categorical_features": ["brand"],
    "item_numeric_features": ["price"],
    "user_categorical_features": ["country"],
    "user_numeric_features": ["age"],
    "weight_decay": 0.1,
    "average_half_life": 0.7,
    "item_bias": True,
    "learn_temperature": True,
    "history_second_half_life": 2.0,
}


@pytest.fixture
def as_on_a_device(monkeypatch: pytest.MonkeyPatch):
    """Makes a trainer that treats the processor as any other device, and trains with it."""

    def make(data, config, mined) -> Trainer:
        for module in (processor, trainer_module):
            monkeypatch.setattr(module, "runs_compiled_loops", lambda device: False)
        made = Trainer(data, config, mined)
        assert isinstance(made.optimizer, TorchAdam)
        assert made.average is None or isinstance(made.average, TorchAverage)
        return made

    return make


def steps(made: Trainer) -> tuple[list[float], dict[str, np.ndarray], dict[str, object]]:
    """The losses of three steps, the weights after them, and what was masked."""
    generator = np.random.default_rng(3)
    torch.manual_seed(0)
    losses = [float(made.step(made.objective.sampler.draw(rows, generator))) for rows in (*FIRST_BATCHES, BATCH)]
    made.end_epoch()
    weights = {name: tensor.numpy().copy() for name, tensor in made.evaluation_towers.state_dict().items()}
    return losses, weights, vars(made.objective.pop_counts())


@pytest.mark.parametrize("name", [*RECIPES, "rich"])
@pytest.mark.parametrize("towers", TOWERS)
def test_a_device_trains_every_recipe_as_compiled_loops_do(as_on_a_device, name: str, towers: str) -> None:
    settings = RICH if name == "rich" else RECIPES[name].training
    config = small_config({**settings, **TOWERS[towers]})
    data = example_market(config).training_set()
    losses, weights, counts = steps(Trainer(data, config, mined_lists(data)))
    other_losses, other_weights, other_counts = steps(as_on_a_device(data, config, mined_lists(data)))
    assert other_losses == pytest.approx(losses, rel=1e-5)
    assert other_counts == counts
    for key, weight in weights.items():
        if key.endswith("self_attn.in_proj_bias"):
            continue  # attention does not depend on the bias of keys: its gradient is noise, whose sign Adam follows
        apart = np.abs(other_weights[key] - weight) > 1e-4 * max(1e-3, np.abs(weight).max())
        assert apart.mean() < 0.01, key


def test_a_training_is_continued_by_the_other_kind_of_device(as_on_a_device, tmp_path, monkeypatch) -> None:
    config = small_config({**RICH, "negatives": negatives("in_batch", "cross_batch"), "epochs": 3})
    data = example_market(config).training_set()
    whole = train(data, config)

    class StoppedError(Exception):
        pass

    def stop(report) -> None:
        if report.epoch == 2:
            raise StoppedError

    with monkeypatch.context() as patch:
        for module in (processor, trainer_module):
            patch.setattr(module, "runs_compiled_loops", lambda device: False)
        with pytest.raises(StoppedError):
            train(data, config, on_epoch=stop, resume_dir=tmp_path)
    continued = train(data, config, resume_dir=tmp_path)
    assert [report.loss for report in continued.reports] == pytest.approx(
        [report.loss for report in whole.reports], rel=1e-3
    )
    items = example_market().items
    ours, theirs = (Embedder(result.towers, data.encoder).embed_items(items) for result in (continued, whole))
    assert (ours * theirs).sum(axis=1).min() > 0.99


def test_a_loss_of_a_device_that_is_not_finite_stops_training_at_the_end_of_the_epoch(monkeypatch) -> None:
    config = small_config({})
    monkeypatch.setattr(Trainer, "step", lambda self, problem: torch.tensor(torch.nan))
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train(example_market(config).training_set(), config)


def test_bfloat16_on_a_device_is_near_float32(as_on_a_device) -> None:
    losses = []
    for products in ("float32", "bfloat16"):
        config = small_config(RECIPES["logq"].training, products=products)
        data = example_market(config).training_set()
        losses.append(steps(as_on_a_device(data, config, None))[0])
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


@pytest.mark.parametrize("towers", TOWERS)
def test_bfloat16_of_the_engine_torch_on_the_processor_is_near_float32(towers: str) -> None:
    losses = []
    for products in ("float32", "bfloat16"):
        config = small_config({**RECIPES["logq"].training, **TOWERS[towers]}, products=products)
        data = example_market(config).training_set()
        losses.append(steps(Trainer(data, config, engine="torch"))[0])
    assert losses[1] != losses[0]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_device_that_is_not_there_is_refused_with_what_to_do(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert training_device("auto").type == "cpu"
    with pytest.raises(DeviceError, match="TWOTOWER_DEVICE"):
        training_device("cuda")
    with pytest.raises(DeviceError, match="no device 'gpu'"):
        training_device("gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert training_device("auto").type == "cuda"

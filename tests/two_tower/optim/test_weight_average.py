from __future__ import annotations

import numpy as np
import pytest
import torch

from twotower_assets.two_tower.sampling.batches import epoch_generator, spread_batches
from twotower_assets.two_tower.training.trainer import Trainer

HALF_LIFE = 0.7


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_average_is_the_one_computed_step_by_step(rich_market, epochs: int) -> None:
    market = rich_market.configured(average_half_life=HALF_LIFE, item_bias=True)
    data = market.training_set()
    trainer = Trainer(data, market.config)
    seen: list[dict[str, torch.Tensor]] = []
    for epoch in range(1, epochs + 1):
        generator = epoch_generator(0, epoch)
        batches = spread_batches(data.user, data.item, 64, generator)
        for rows in batches:
            trainer.step(trainer.objective.sampler.draw(rows, generator))
            seen.append({name: tensor.detach().clone() for name, tensor in trainer.towers.named_parameters()})
        trainer.end_epoch()
    steps_per_epoch = -(-len(data) // market.config.batch_size)
    age = np.arange(len(seen))[::-1]
    weights = 0.5 ** (age / steps_per_epoch / HALF_LIFE)
    weights /= weights.sum()
    for name, average in trainer.evaluation_towers.named_parameters():
        expected = sum(weight * one[name].double() for weight, one in zip(weights, seen, strict=True))
        assert (average.detach() - expected).abs().max() < 1e-5, name
        assert name.startswith("log_") or not torch.equal(average.detach(), seen[-1][name]), name


def test_without_an_average_the_last_weights_are_evaluated(market) -> None:
    market = market.configured(average_half_life=None)
    trainer = Trainer(market.training_set(), market.config)
    assert trainer.evaluation_towers is trainer.towers

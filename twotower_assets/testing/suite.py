"""What must hold for every recipe, whichever towers, sources of negatives and correction it has.

Here: the checks, each a function of a recipe's settings and an engine. Not here: the market that they run on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import CrossBatchNegatives
from twotower_assets.testing.example_market import example_market, mined_lists
from twotower_assets.two_tower.loss.objective import EngineName, Objective
from twotower_assets.two_tower.loss.torch_softmax import SoftmaxTensors
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem
from twotower_assets.two_tower.towers.model import Towers, build_towers
from twotower_assets.two_tower.towers.tower import History, TowerInputs
from twotower_assets.two_tower.training.trainer import Trainer

Settings = Mapping[str, Any]
Check = Callable[..., None]
BATCH = np.r_[0:40, 300]
FIRST_BATCHES = (np.arange(100, 130), np.arange(200, 240))
EVALUATED = {"products": "float32", "dimensions": 8, "batch_size": 32, "initial_scale": 1.0, "history_length": 4}
"""Small towers with vectors that are far from each other, and float32 throughout, so that numbers can be compared."""


def small_config(settings: Settings, **changes: Any) -> TrainingConfig:
    """The configuration of a recipe for the example market, whose queue has no warm-up."""
    config = TrainingConfig.model_validate({**settings, **EVALUATED, **changes})
    negatives = [
        {**one.model_dump(), "warm_up_epochs": 0.0} if isinstance(one, CrossBatchNegatives) else one.model_dump()
        for one in config.negatives
    ]
    return TrainingConfig.model_validate({**config.model_dump(), "negatives": negatives})


class Run:
    """A recipe on the example market: towers of random weights, and an engine whose queue two batches have filled."""

    def __init__(self, settings: Settings, engine: str = "cpu", **changes: Any) -> None:
        config = small_config(settings, **changes)
        engine = "torch" if config.loss else engine
        self.config, self.data = config, example_market(config).training_set()
        self.objective = Objective(
            self.data, config, mined_lists(self.data), engine=cast(EngineName, engine), device="cpu"
        )
        self.towers: Towers = build_towers(self.data.encoder, config).eval()
        for rows in FIRST_BATCHES:
            self.objective.loss(self.towers, rows, np.random.default_rng(7))
        self.objective.pop_counts()

    def problem(self, rows: np.ndarray = BATCH, seed: int = 0) -> BatchProblem:
        """What is drawn for some pairs."""
        return self.objective.sampler.draw(rows, np.random.default_rng(seed))

    def loss(self, rows: np.ndarray = BATCH, seed: int = 0) -> float:
        """The loss, without its gradients."""
        return float(self.objective.problem_loss(self.towers, self.problem(rows, seed)).value)

    def gradients(self, rows: np.ndarray = BATCH, seed: int = 0) -> dict[str, Tensor]:
        """The gradient of every trained parameter, whole, by name."""
        for table in self.towers.tables():
            table.zero_grad()
        for parameter in self.towers.parameters():
            parameter.grad = None
        self.objective.problem_loss(self.towers, self.problem(rows, seed)).backward()
        return gradients_of(self.towers)

    def inputs(self, rows: np.ndarray = BATCH) -> tuple[TowerInputs, TowerInputs]:
        """Of the users and of the items of some pairs."""
        data = self.data
        users = TowerInputs.of(data.user_inputs.take(data.user[rows]), data.history.take(rows))
        return users, TowerInputs.of(data.item_inputs.take(data.item[rows]))


def gradients_of(towers: Towers) -> dict[str, Tensor]:
    """The gradient of every parameter that has one, whole, by name."""
    tables = {id(table.weight): table for table in towers.tables()}
    gradients = {}
    for name, parameter in towers.named_parameters():
        table = tables.get(id(parameter))
        if table is not None and table.gradient is not None:
            rows, values = table.gradient
            gradients[name] = torch.zeros_like(parameter).index_add(0, torch.from_numpy(rows), torch.from_numpy(values))
        elif parameter.grad is not None:
            gradients[name] = parameter.grad
    return gradients


def check_vectors(settings: Settings, engine: str = "cpu") -> None:
    """A vector of length 1 per row, which depends on no other row; also of no rows, and of users without a history."""
    run = Run(settings, engine)
    for name, encode, inputs in zip(
        ("user tower", "item tower"), (run.towers.encode_users, run.towers.encode_items), run.inputs(), strict=True
    ):
        vectors = encode(inputs)
        expected = (len(BATCH), run.config.dimensions)
        assert tuple(vectors.shape) == expected, f"the {name} gives {list(vectors.shape)}, not {list(expected)}"
        assert vectors.dtype == torch.float32, f"the vectors of the {name} are {vectors.dtype}, not float32"
        lengths = vectors.norm(dim=1)
        assert torch.allclose(lengths, torch.ones(len(BATCH)), atol=1e-4), f"the {name} gives lengths other than 1"
        assert not vectors.requires_grad, f"`encode` of the {name} keeps gradients"
    order = np.random.default_rng(1).permutation(len(BATCH))
    for rows, what in ((BATCH[order], "in another order"), (BATCH[:1], "alone")):
        place = order if len(rows) > 1 else np.zeros(1, np.int64)
        for name, encode, inputs, all_inputs in zip(
            ("user tower", "item tower"),
            (run.towers.encode_users, run.towers.encode_items),
            run.inputs(rows),
            run.inputs(),
            strict=True,
        ):
            same = torch.allclose(encode(inputs), encode(all_inputs)[torch.from_numpy(place)], atol=1e-5)
            assert same, f"the {name} gives a row another vector {what}"
    users, items = run.inputs(BATCH[:0])
    for vectors in (run.towers.encode_users(users), run.towers.encode_items(items)):
        assert tuple(vectors.shape) == (0, run.config.dimensions), "no rows do not give no vectors"
    some = run.inputs(BATCH[:3])[0]
    blank = TowerInputs(
        some.ids, some.categorical, some.numeric, History(torch.zeros(4, dtype=torch.long), some.ids[:0])
    )
    assert run.towers.encode_users(blank).isfinite().all(), "users without a history get no finite vector"


def check_seeds(settings: Settings, engine: str = "cpu") -> None:
    """The same seed gives the same weights and the same loss, another one other weights."""
    first, again, other = (Run(settings, engine, seed=seed) for seed in (1, 1, 2))
    weights = [run.towers.state_dict() for run in (first, again, other)]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), f"{name} differs between two towers of the same seed"
    assert first.loss() == again.loss(), "the loss differs between two runs of the same seed"
    assert any(not torch.equal(weight, weights[2][name]) for name, weight in weights[0].items()), "no weight is random"


def check_gradients(settings: Settings, engine: str = "cpu") -> None:
    """Everything that is trained has a finite gradient, and the loss changes along it as it says.

    A queue scales the gradients of items, and masks by scores switch on and off; there, only the directions are left
    out.
    """
    run = Run(settings, engine, positive_aware_share=None)
    state = run.objective.state_dict()
    gradients = run.gradients()
    for name, parameter in run.towers.named_parameters():
        if parameter.requires_grad:
            assert name in gradients, f"{name} has no gradient"
            assert gradients[name].isfinite().all(), f"the gradient of {name} is not finite"
    largest = max(gradient.norm().item() for gradient in gradients.values())
    assert largest > 0, "all gradients are 0"
    for name, gradient in gradients.items():
        if run.objective.sampler.sources.queue is not None and name.startswith("item_tower"):
            continue
        parameter, direction = run.towers.get_parameter(name), gradient / gradient.norm().clamp_min(1e-12)
        losses = []
        for step in (0.01, -0.01):
            with torch.no_grad():
                parameter.add_(step * direction)
            run.objective.load_state_dict(state)
            losses.append(run.loss())
            with torch.no_grad():
                parameter.sub_(step * direction)
        change, said = (losses[0] - losses[1]) / 0.02, (gradient * direction).sum().item()
        assert math.isclose(change, said, rel_tol=0.03, abs_tol=2e-3 * largest), (
            f"along the gradient of {name} the loss changes by {change:.5f}, the gradient says {said:.5f}"
        )


def check_masks(settings: Settings, engine: str = "cpu") -> None:
    """Masked candidates have no gradient, all others push away; what is masked is what is counted."""
    run = Run(settings, engine)
    problem = run.problem()
    queue = run.objective.engine.state_dict()["queue"]
    queries = run.towers.queries_vjp(TowerInputs.of(problem.users, problem.history))[0]
    vectors = run.towers.items_vjp(TowerInputs.of(problem.items))[0]
    shared = torch.cat([vectors[: len(problem.candidates) - problem.queued], queue])
    logits = SoftmaxTensors.of(problem.softmax).logits(queries.clone().requires_grad_(), vectors, shared)
    logits.negatives.retain_grad()
    logits.loss(torch.from_numpy(problem.softmax.weights)).backward()  # type: ignore[no-untyped-call]
    gradient = logits.negatives.grad
    assert gradient is not None
    assert (gradient[logits.masked] == 0).all(), "a masked candidate has a gradient"
    assert (gradient >= 0).all(), "a candidate is pulled towards the user"
    own = problem.candidates.item[None, :] == problem.batch.item[:, None]
    columns = logits.masked[:, : own.shape[1]].numpy()
    assert columns[own].all(), "the positive's item is a negative of its own row"
    run.objective.problem_loss(run.towers, problem)
    counts = run.objective.pop_counts()
    count = np.r_[problem.softmax.column_count, np.ones(problem.row_negatives.shape[1], np.int64)]
    remaining = int(((~logits.masked).numpy() @ count).sum())
    assert counts.unmasked == remaining, f"{counts.unmasked} candidates are said to remain, but {remaining} do"


def check_order(settings: Settings, engine: str = "cpu") -> None:
    """The order of the pairs in a batch changes neither loss nor gradients, where each row draws nothing of its own."""
    order = np.random.default_rng(4).permutation(len(BATCH))
    first, second = (Run(settings, engine, unknown_id_share=0.0) for _ in range(2))
    if first.objective.sampler.sources.per_row:
        return
    one, other = first.gradients(BATCH), second.gradients(BATCH[order])
    for name, gradient in one.items():
        scale = max(1e-6, gradient.abs().max().item())
        assert (other[name] - gradient).abs().max().item() < 2e-3 * scale, f"the order of pairs changes {name}"


def check_small_batches(settings: Settings, engine: str = "cpu") -> None:
    """A batch of one pair, of two, of the same pair twice, and of pairs that sources have little for."""
    run = Run(settings, engine)
    for rows in ([7], [7, 8], [7, 7], [300], [0, 7, 14]):
        gradients = run.gradients(np.array(rows))
        loss = run.loss(np.array(rows))
        assert math.isfinite(loss), f"the loss of the pairs {rows} is {loss}"
        assert loss >= 0, f"the loss of the pairs {rows} is {loss}, below 0"
        for name, gradient in gradients.items():
            assert gradient.isfinite().all(), f"the gradient of {name} for the pairs {rows} is not finite"


def check_engines(settings: Settings, engine: str = "cpu") -> None:
    """The other engine gives the same loss, gradients and counts; a loss of one's own runs through one alone."""
    if small_config(settings).loss is not None:
        return
    one, other = Run(settings, engine), Run(settings, "torch" if engine == "cpu" else "cpu")
    for rows in (np.arange(50, 90), BATCH):
        first, second = one.gradients(rows), other.gradients(rows)
        assert first.keys() == second.keys()
        largest = max(gradient.abs().max().item() for gradient in first.values())
        for name, gradient in first.items():
            apart = (second[name] - gradient).abs().max().item()
            assert apart < 1e-5 * largest, f"the engines' gradients of {name} are {apart / largest:.1e} apart"
        losses = [run.loss(rows) for run in (one, other)]
        assert math.isclose(*losses, rel_tol=1e-5), f"the engines' losses are {losses[0]} and {losses[1]}"
        counts = [vars(run.objective.pop_counts()) for run in (one, other)]
        assert counts[0] == counts[1], f"the engines mask other candidates: {counts[0]} and {counts[1]}"


def check_training(settings: Settings, engine: str = "cpu") -> None:
    """Some steps on the same pairs lower the loss, and a run of the same seed ends with the same weights."""
    ends, before, after = [], 0.0, 0.0
    for _ in range(2):
        config = small_config(settings, learning_rate=0.02)
        data = example_market(config).training_set()
        trainer = Trainer(data, config, mined_lists(data), engine=None if config.loss else cast(EngineName, engine))
        torch.manual_seed(0)
        losses = [
            float(trainer.step(trainer.objective.sampler.draw(BATCH, np.random.default_rng(1)))) for _ in range(30)
        ]
        trainer.end_epoch()
        before, after = float(np.mean(losses[:3])), float(np.mean(losses[-3:]))
        ends.append(trainer.evaluation_towers.state_dict())
    assert after < before, f"thirty steps on the same pairs take the loss from {before:.4f} to {after:.4f}"
    for name, weight in ends[0].items():
        assert torch.equal(weight, ends[1][name]), f"{name} differs between two trainings of the same seed"


def check_device(settings: Settings, engine: str = "torch") -> None:  # noqa: ARG001
    """A step on a device without memory, which fails where a tensor is on the processor or its value is asked for."""
    config = small_config(settings)
    data = example_market(config).training_set()
    trainer = Trainer(data, config, mined_lists(data), device="meta")
    for rows in (*FIRST_BATCHES, BATCH):
        loss = trainer.step(trainer.objective.sampler.draw(rows, np.random.default_rng(1)))
        assert isinstance(loss, Tensor), "the loss left its device"
        assert loss.device.type == "meta", "the loss left its device"


CHECKS: tuple[Check, ...] = (
    check_vectors,
    check_seeds,
    check_gradients,
    check_masks,
    check_order,
    check_small_batches,
    check_engines,
    check_training,
    check_device,
)
"""All checks. Each takes the settings of a recipe and, where it matters, the name of an engine: `cpu` or `torch`."""

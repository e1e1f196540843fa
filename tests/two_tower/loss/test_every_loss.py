"""What the loss of every recipe must do, whichever correction, sources and learned scalars it has."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from two_tower.every_source import ALL_TOGETHER, CASES, CORRECTIONS, SHARED, SOURCES, goes_with, negatives
from two_tower.plain_softmax import gradient_of, plain_softmax
from twotower_assets.testing.example_market import mined_lists
from twotower_assets.testing.suite import gradients_of
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.loss import compiled_engine as engine_module
from twotower_assets.two_tower.loss.engine import Loss
from twotower_assets.two_tower.loss.objective import Objective
from twotower_assets.two_tower.loss.torch_softmax import Logits, SoftmaxTensors
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem, SoftmaxProblem, SparseRows
from twotower_assets.two_tower.sampling.negative_sampler import starting_bias
from twotower_assets.two_tower.sampling.negatives import Batch
from twotower_assets.two_tower.towers.model import Towers, build_towers
from twotower_assets.two_tower.towers.tower import TowerInputs

Int64s = npt.NDArray[np.int64]
RECIPES = [*CASES, *ALL_TOGETHER]
LEARNED = [(), ("item_bias",), ("learn_temperature",), ("item_bias", "learn_temperature")]
RECIPES_BY_LEARNED = [(*recipe, learned) for recipe, learned in itertools.product(RECIPES, LEARNED)]
BATCH = np.r_[0:40, 300]


class Run:
    """An objective with towers of random weights, after two batches that filled the queue."""

    def __init__(self, market, names: tuple[str, ...], correction: str, **changes: Any) -> None:
        defaults = {"masks": ["clicked", "same_request"], "unknown_id_share": 0.0, "initial_scale": 1.0}
        changes = {"products": "float32", **defaults, **changes}
        market = market.configured(negatives=negatives(*names), correction=correction, **changes)
        self.names, self.config, self.data = names, market.config, market.training_set()
        self.objective = Objective(self.data, self.config, mined_lists(self.data))
        self.towers = build_towers(self.data.encoder, self.config)
        with torch.no_grad():
            if self.towers.item_bias is not None:
                self.towers.item_bias.weight.normal_(generator=torch.Generator().manual_seed(3))
            for rows in (np.arange(100, 130), np.arange(200, 240)):
                self.objective.loss(self.towers, rows, np.random.default_rng(7))
        self.objective.pop_counts()

    def problem(self, rows: Int64s = BATCH, seed: int = 0) -> BatchProblem:
        return self.objective.sampler.draw(rows, np.random.default_rng(seed))

    def loss(self, rows: Int64s = BATCH, seed: int = 0) -> Loss:
        return self.objective.problem_loss(self.towers, self.problem(rows, seed))

    def queue(self) -> Tensor:
        return self.objective.engine.state_dict()["queue"]

    def logits(self, problem: BatchProblem) -> Logits:
        """The logits by plain operations, without learned biases, with gradients; call it before the loss."""
        queries = self.towers.queries_vjp(TowerInputs.of(problem.users, problem.history))[0]
        vectors = self.towers.items_vjp(TowerInputs.of(problem.items))[0]
        shared = torch.cat([vectors[: len(problem.candidates) - problem.queued], self.queue()])
        inputs = [tensor.clone().requires_grad_() for tensor in (queries, vectors, shared)]
        logits = SoftmaxTensors.of(problem.softmax).logits(*inputs)
        logits.positive.retain_grad()
        logits.negatives.retain_grad()
        logits.loss(torch.from_numpy(problem.softmax.weights)).backward()  # type: ignore[no-untyped-call]
        return logits


@pytest.mark.every_pair(("names", "correction", "learned"), RECIPES_BY_LEARNED)
def test_the_loss_is_a_finite_scalar_and_everything_learned_has_a_gradient(
    logged_market, names: tuple[str, ...], correction: str, learned: tuple[str, ...]
) -> None:
    run = Run(logged_market, names, correction, **dict.fromkeys(learned, True))
    loss = run.loss(BATCH)
    loss.backward()
    assert math.isfinite(loss.value)
    assert loss.value > 0
    gradients = gradients_of(run.towers)
    for name, parameter in run.towers.named_parameters():
        if parameter.requires_grad:
            gradient = gradients[name]
            assert gradient.isfinite().all(), name
            assert gradient.abs().sum() > 0 or name.startswith("item_tower.side.categorical"), name


@pytest.mark.parametrize(("names", "correction"), RECIPES)
def test_the_loss_follows_from_the_seed(logged_market, names: tuple[str, ...], correction: str) -> None:
    first, again, other = (Run(logged_market, names, correction).loss(BATCH, seed) for seed in (1, 1, 2))
    assert first.value == again.value
    if set(names) - {"in_batch", "cross_batch"}:
        assert first.value != other.value


@pytest.mark.parametrize(("names", "correction"), RECIPES)
def test_a_masked_candidate_has_no_gradient_and_every_other_one_has(
    logged_market, names: tuple[str, ...], correction: str
) -> None:
    run = Run(logged_market, names, correction)
    problem = run.problem()
    logits = run.logits(problem)
    gradient = gradient_of_tensor(logits.negatives)
    assert logits.masked.any()
    assert (gradient[logits.masked] == 0).all()
    assert (gradient[~logits.masked] > 0).all()
    run.objective.problem_loss(run.towers, problem)
    counts = run.objective.pop_counts()
    assert counts.rows == len(BATCH)
    count = np.r_[problem.softmax.column_count, np.ones(problem.row_negatives.shape[1], np.int64)]
    assert counts.unmasked == int(((~logits.masked).numpy() @ count).sum())


@pytest.mark.parametrize("names", [names for names, correction in RECIPES if correction == "logq_positive_excluded"])
def test_a_positive_excluded_recipe_has_the_gradient_of_the_papers_weighted_form(
    logged_market, names: tuple[str, ...]
) -> None:
    run = Run(logged_market, names, "logq_positive_excluded")
    found = run.logits(run.problem())
    logits = found.negatives.detach().masked_fill(found.masked, -math.inf).double()
    positive, log_z = found.positive.detach().double(), torch.logsumexp(logits, dim=1)
    weights = torch.from_numpy(run.data.weights[BATCH]).double()
    share = weights / weights.sum() * torch.sigmoid(log_z - positive)  # Khrylchenko et al.: w = Z / (e^s_p + Z)
    negatives = share[:, None] * torch.softmax(logits, dim=1).nan_to_num()
    assert (gradient_of_tensor(found.positive) + share).abs().max() < 1e-6
    assert (gradient_of_tensor(found.negatives) - negatives).abs().max() < 1e-6
    assert share.max() > 1e-3


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("names", [(name,) for name in SHARED if name != "cross_batch"] + [tuple(SHARED)])
def test_the_order_of_the_pairs_in_a_batch_changes_nothing(
    logged_market, names: tuple[str, ...], correction: str
) -> None:
    order = np.random.default_rng(4).permutation(len(BATCH))
    losses, rows, weights = [], [], []
    for batch in (BATCH, BATCH[order]):
        run = Run(logged_market, names, correction)
        problem = run.problem(batch)
        rows.append(gradient_of_tensor(run.logits(problem).positive).numpy())
        loss = run.objective.problem_loss(run.towers, problem)
        loss.backward()
        losses.append(loss.value)
        weights.append([one.numpy() for one in gradients_of(run.towers).values()])
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert rows[1] == pytest.approx(rows[0][order], rel=1e-4, abs=1e-7)
    for one, other in zip(*weights, strict=True):
        assert other == pytest.approx(one, rel=1e-3, abs=1e-6)


@pytest.mark.every_pair(
    ("names", "correction", "learned", "products"),
    [(*case, products) for case, products in itertools.product(RECIPES_BY_LEARNED, ["float32", "bfloat16"])],
)
def test_tiles_give_the_gradients_of_the_plain_form(
    logged_market, names: tuple[str, ...], correction: str, learned: tuple[str, ...], products: str, monkeypatch
) -> None:
    tolerance = 1e-5 if products == "float32" else 0.03
    monkeypatch.setattr("twotower_assets.two_tower.loss.compiled_softmax.TILE", 32 * len(BATCH))  # two tiles
    gradients = []
    for plain in (False, True):
        options = {"products": products, "positive_aware_share": None, **dict.fromkeys(learned, True)}
        run = Run(logged_market, names, correction, **options)
        if plain:
            monkeypatch.setattr(engine_module, "sampled_softmax", plain_softmax)
        run.loss(BATCH).backward()
        gradients.append(gradients_of(run.towers))
    ours, expected = gradients
    assert ours.keys() == expected.keys()
    largest = max(one.abs().max().item() for one in expected.values())
    for name, gradient in expected.items():
        assert (ours[name] - gradient).abs().max().item() < tolerance * largest, name


def gradient_of_tensor(tensor: Tensor) -> Tensor:
    assert tensor.grad is not None
    return tensor.grad


def assert_gradients_are_of_the_loss(run: Run, rows: Int64s = BATCH) -> None:
    """Along each gradient, and along any other direction, the loss changes as the gradient says.

    The queue's scale of the items' gradients is not a gradient of the loss; these are skipped.
    """
    state = run.objective.state_dict()
    run.loss(rows).backward()
    gradients = gradients_of(run.towers)
    item_parameters = ("item_tower",) if run.objective.sampler.sources.queue is not None else ()
    largest = max(one.norm().item() for one in gradients.values())
    for name, gradient in gradients.items():
        if name.startswith(item_parameters) and item_parameters:
            continue
        parameter = run.towers.get_parameter(name)
        towards = gradient / gradient.norm().clamp_min(1e-12)
        anywhere = torch.randn(gradient.shape, generator=torch.Generator().manual_seed(5))
        for direction in (towards, anywhere / anywhere.norm()):
            losses = []
            for step in (0.01, -0.01):
                with torch.no_grad():
                    parameter += step * direction
                run.objective.load_state_dict(state)
                losses.append(run.loss(rows).value)
                with torch.no_grad():
                    parameter -= step * direction
            change = (losses[0] - losses[1]) / 0.02
            assert change == pytest.approx((gradient * direction).sum().item(), rel=0.02, abs=1e-3 * largest), name


@pytest.mark.every_pair(("names", "correction", "learned"), RECIPES_BY_LEARNED)
@pytest.mark.slow
def test_gradients_are_how_the_loss_changes_with_each_parameter(
    logged_market, names: tuple[str, ...], correction: str, learned: tuple[str, ...]
) -> None:
    options = {"products": "float32", "positive_aware_share": None, **dict.fromkeys(learned, True)}
    assert_gradients_are_of_the_loss(Run(logged_market, names, correction, **options))


@pytest.mark.parametrize("learned", LEARNED, ids="+".join)
@pytest.mark.parametrize("hidden_sizes", [[], [12], [9, 7]])
@pytest.mark.slow
def test_gradients_of_every_feature_and_of_mlps_are_how_the_loss_changes(
    rich_market, learned: tuple[str, ...], hidden_sizes
) -> None:
    options = {"products": "float32", "hidden_sizes": hidden_sizes, **dict.fromkeys(learned, True)}
    run = Run(rich_market, ("in_batch", "uniform"), "logq", **options)
    named = dict(run.towers.named_parameters())
    assert {f"{tower}_tower.side.numeric.weight" for tower in ("user", "item")} | {
        "item_tower.side.categorical.1.weight"
    } <= named.keys()
    assert_gradients_are_of_the_loss(run, np.arange(41))
    gradients = gradients_of(run.towers)
    assert all(gradients[name].norm() > 1e-3 for name in named if "numeric" in name or "mlp" in name)


def reference_count(run: Run, row: int, item: int) -> float:
    """How often the row at this position is expected to draw the item, by the definition of each source."""
    data, expected = run.data, 0.0
    counts = data.item_counts
    share = counts[item] / counts.sum()
    if "in_batch" in run.names:
        expected += (len(BATCH) - 1) * share
    if "uniform" in run.names:
        expected += 24 / (len(counts) - 1)
    if "popularity" in run.names:
        expected += 24 * math.sqrt(counts[item]) / np.sqrt(counts).sum()
    if "cross_batch" in run.names:
        expected += 60 * share  # 70 vectors were pushed, 60 fit
    if "category" in run.names:
        pool = data.pools.categories.members[[data.pools.category_of_item[data.item[row]]]].toarray()[0]
        expected += 3 * pool[item] / max(1, pool.sum())
    if "context" in run.names and data.context[row] >= 0:
        pool = data.pools.contexts.members[[data.context[row]]].toarray()[0]
        expected += 2 * pool[item] / pool.sum()
    if "own" in run.names:
        expected += 2 * counts[item] ** 2 / (counts**2).sum()
    return expected


def reference_mask(run: Run, row: int, item: int, request: int, clicked: set[int]) -> bool:
    """Whether a candidate, of the request of its own pair, is masked in this row."""
    data = run.data
    if item in (0, data.item[row]) or item in clicked:
        return True
    return data.request[row] >= 0 and data.request[row] == request


def share_who_did_not_click(data: TrainingSet, item: int) -> float:
    """Of the pairs, those of users who did not click the item: how often the mask lets it be a negative."""
    clickers = set(data.user[data.item == item].tolist())
    return max(sum(user not in clickers for user in data.user.tolist()) / len(data), 1 / len(data))


def reference_loss(run: Run, problem: BatchProblem) -> float:
    """The loss, one candidate after the other; call it before the loss."""
    shared = problem.candidates
    columns = np.repeat(np.arange(len(shared)), shared.count)
    vector_of_queue = dict(
        zip(range(len(shared) - problem.queued, len(shared)), run.queue().double().numpy(), strict=True)
    )
    data, towers, total = run.data, run.towers, 0.0
    with torch.no_grad():
        items = towers.encode_items(TowerInputs.of(data.item_inputs)).double().numpy()
        bias = towers.biases(torch.from_numpy(data.item_inputs.ids)).double().numpy()
        inputs = TowerInputs.of(data.user_inputs.take(data.user[BATCH]), data.history.take(BATCH))
        users = towers.encode_users(inputs).double().numpy()
        scale = towers.inverse_temperature().item()
    log_weight = {name: math.log(SOURCES[name].get("weight", 1.0)) for name in run.names}
    row_log_weight = [log_weight[name] for name in run.names for _ in range(SOURCES[name].get("per_positive", 0))]
    unseen = 0.5 / len(data) * (len(BATCH) - 1)
    for index, row in enumerate(BATCH.tolist()):
        positive = scale * users[index] @ items[data.item[row]] + bias[data.item[row]]
        clicked = set(data.item[data.user == data.user[row]].tolist())
        logits, n_shared = [], 0
        per_row = problem.row_negatives[index]
        for place, item in enumerate([*shared.item[columns].tolist(), *per_row.tolist()]):
            column = columns[place] if place < len(columns) else -1
            if reference_mask(run, row, item, shared.request[column] if column >= 0 else -1, clicked):
                continue
            score = scale * users[index] @ vector_of_queue.get(column, items[item]) + bias[item]
            if "clicked" in run.config.masks:
                score -= math.log(share_who_did_not_click(data, item))
            if column < 0:
                score += row_log_weight[place - len(columns)]
            n_shared += column >= 0
            if run.config.correction != "none":
                score -= math.log(reference_count(run, row, item) or unseen)
            logits.append(score)
        if run.config.correction == "logq":
            positive -= math.log(reference_count(run, row, data.item[row]) or unseen)
        if run.config.correction == "logq_positive_excluded":
            known = [reference_count(run, row, item) for item in range(1, len(items)) if item not in clicked]
            logits = [logit - math.log(max(1, n_shared) / sum(known)) for logit in logits]
        total += data.weights[row] * (np.logaddexp.reduce([positive, *logits]) - positive)
    loss = total / data.weights[BATCH].sum()
    if run.config.item_bias:
        start = starting_bias(data, run.config).astype(np.float64)[data.item_inputs.ids]
        loss += run.config.item_bias_penalty * np.mean((bias - start)[data.item[BATCH]] ** 2)
    return float(loss)


@pytest.mark.every_pair(("names", "correction", "learned"), RECIPES_BY_LEARNED)
def test_the_loss_is_the_one_computed_candidate_by_candidate(
    logged_market, names: tuple[str, ...], correction: str, learned: tuple[str, ...]
) -> None:
    run = Run(logged_market, names, correction, **dict.fromkeys(learned, True))
    problem = run.problem()
    expected = reference_loss(run, problem)
    assert run.objective.problem_loss(run.towers, problem).value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("names", "correction"), RECIPES)
def test_the_shared_candidates_are_those_that_the_sources_draw(
    logged_market, names: tuple[str, ...], correction: str
) -> None:
    run = Run(logged_market, names, correction)
    sources, batch = run.objective.sampler.sources, Batch(run.data, BATCH)
    queued = sources.queue.items.tolist() if sources.queue is not None else []
    problem, generator = run.problem(), np.random.default_rng(0)
    generator.random(2 * len(BATCH))  # whose ids are hidden
    drawn = [item for source in sources.weighted for item in source.draw(batch, generator).tolist()]
    in_batch = batch.item.tolist() if sources.in_batch is not None else []
    shared = problem.candidates
    assert Counter(np.repeat(shared.item, shared.count).tolist()) == Counter([*in_batch, *drawn, *queued])
    assert shared.item[len(shared) - problem.queued :].tolist() == queued
    assert shared.positive_count.sum() == len(in_batch)


PERTURBED = {
    "pair_index": lambda array: np.roll(array, 1, axis=0),
    "pair_offsets": lambda array: array + np.linspace(0, 1, array.size, dtype=np.float32).reshape(array.shape),
    "column_offsets": lambda array: array + np.linspace(0, 1, array.size, dtype=np.float32),
    "masked": lambda rows: SparseRows.none(len(rows.offsets) - 1),
    "row_corrections": lambda rows: SparseRows.none(len(rows.offsets) - 1),
    "weights": lambda array: np.ones_like(array),
    "unmasked": lambda array: array + 5,
    "expected_unmasked": lambda array: array * 2,
}
NOT_OF_THE_LOSS = {"column_count": "only counts what a threshold masks", "positive_aware_share": "off in these recipes"}


@pytest.mark.parametrize("name", PERTURBED)
def test_a_mistake_in_an_array_of_the_problem_would_be_seen(logged_market, name: str) -> None:
    excluded = name in ("unmasked", "expected_unmasked")
    names, correction = (("in_batch", "uniform"), "logq_positive_excluded") if excluded else ALL_TOGETHER[1]
    run = Run(logged_market, names, correction)
    problem = run.problem()
    expected = reference_loss(run, problem)
    changed = replace(problem.softmax, **{name: PERTURBED[name](getattr(problem.softmax, name))})
    state = run.objective.engine.state_dict()
    for softmax, seen in ((problem.softmax, False), (changed, True)):
        run.objective.engine.load_state_dict(state)
        loss = run.objective.problem_loss(run.towers, replace(problem, softmax=softmax)).value
        assert (loss != pytest.approx(expected, rel=1e-4)) is seen


def test_every_array_of_the_problem_has_a_mistake_that_would_be_seen() -> None:
    assert {one.name for one in fields(SoftmaxProblem)} == PERTURBED.keys() | NOT_OF_THE_LOSS.keys()


def test_uncorrected_the_learned_bias_is_part_of_every_score(logged_market) -> None:
    run = Run(logged_market, ("in_batch", "uniform"), "none", item_bias=True)
    problem = run.problem()
    assert run.towers.item_bias is not None
    ids = torch.from_numpy(run.data.item_inputs.ids)
    with torch.no_grad():
        bias = run.towers.biases(ids).numpy()
    softmax = problem.softmax
    softmax.pair_offsets[:] += bias[problem.item[softmax.pair_index]]
    softmax.column_offsets[:] += bias[problem.candidates.item]
    start = run.objective.config.item_bias_penalty * np.mean((bias[problem.batch.item] - problem.biases.start) ** 2)
    expected = run.objective.engine.loss(run.towers, replace(problem, biases=None)).value + start
    assert run.loss().value == pytest.approx(expected, rel=1e-5)


def gradient_rows(towers: Towers) -> set[int]:
    return set(gradient_of(towers.item_tower.side.ids).abs().sum(dim=1).nonzero().flatten().tolist())


def test_vectors_in_the_queue_have_no_gradient_and_drawn_items_have_one(logged_market) -> None:
    rows = np.array([0, 1, 2])
    run = Run(logged_market, ("in_batch", "cross_batch"), "logq", masks=[])
    run.loss(rows).backward()
    ids = run.data.item_inputs.ids
    assert gradient_rows(run.towers) == set(ids[run.data.item[rows]].tolist())
    run = Run(logged_market, ("in_batch", "cross_batch"), "logq", masks=[], item_bias=True)
    queued = run.objective.sampler.sources.queue.items  # type: ignore[union-attr]
    run.loss(rows).backward()
    assert run.towers.item_bias is not None
    bias = gradient_of(run.towers.item_bias).flatten()
    assert (bias[ids[queued]] != 0).all(), "biases are looked up again, and get gradients from the queue too"
    run = Run(logged_market, ("in_batch", "uniform"), "logq", masks=[])
    problem = run.problem(rows)
    run.objective.problem_loss(run.towers, problem).backward()
    assert len(problem.candidates) > len(rows)
    assert gradient_rows(run.towers) == set(ids[problem.candidates.item].tolist())


def test_the_number_of_negatives_per_positive_is_counted(logged_market) -> None:
    run = Run(logged_market, ("in_batch", "uniform", "cross_batch", "category"), "logq", masks=[])
    run.loss(BATCH)
    counts = run.objective.pop_counts()
    masked = sum(counts.masked_per_positive.values())
    missing = 3 * np.mean(run.data.pools.categories.sizes[run.data.pools.category_of_item[run.data.item[BATCH]]] == 0)
    assert counts.negatives_per_positive == pytest.approx(len(BATCH) - 1 + 24 + 60 + 3 - missing - masked)
    assert run.objective.pop_counts().rows == 0


def test_every_recipe_of_the_suite_is_one_that_the_configuration_takes() -> None:
    assert {name for names, _ in RECIPES for name in names} == set(SOURCES)
    assert {correction for _, correction in RECIPES} == set(CORRECTIONS)
    assert all(goes_with(correction, *names) for names, correction in RECIPES)

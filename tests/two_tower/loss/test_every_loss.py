"""What the loss of every recipe must do, whichever correction, sources and learned scalars it has."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from two_tower.every_source import ALL_TOGETHER, CASES, CORRECTIONS, SHARED, SOURCES, goes_with, negatives
from two_tower.plain_softmax import gradient_of, gradients_of, plain_softmax
from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.loss import objective as objective_module
from twotower_assets.two_tower.loss.objective import Loss, Objective, starting_bias
from twotower_assets.two_tower.sampling.negative_sampler import NegativeSampler
from twotower_assets.two_tower.sampling.negatives import WeightedSource
from twotower_assets.two_tower.towers.model import Towers, build_towers
from twotower_assets.two_tower.towers.tower import TowerInputs

Int64s = npt.NDArray[np.int64]
RECIPES = [*CASES, *ALL_TOGETHER]
LEARNED = [(), ("item_bias",), ("learn_temperature",), ("item_bias", "learn_temperature")]
RECIPES_BY_LEARNED = [(*recipe, learned) for recipe, learned in itertools.product(RECIPES, LEARNED)]
BATCH = np.r_[0:40, 300]


@dataclass
class Seen:
    """The candidates of a batch one by one, and the scores of the plain softmax.

    `shared` int64 are the candidates of all rows: of the batch, drawn, queued; `per_row` int64 [B, K]. The softmax has
    one column for equal shared candidates, which stands for `count` of them.
    """

    shared: Int64s | None = None
    per_row: Int64s | None = None
    count: Int64s | None = None
    positive: Tensor | None = None
    scores: Tensor | None = None
    mask: Tensor | None = None


@pytest.fixture
def seen(monkeypatch) -> Seen:
    record = Seen()
    draw, shared, draw_weighted = NegativeSampler.draw, Objective._shared, WeightedSource.draw
    weighted: list[Int64s] = []

    def spy_weighted(self, batch, generator):
        weighted.append(draw_weighted(self, batch, generator))
        return weighted[-1]

    def spy_draw(self, rows, generator):
        weighted.clear()
        sampled = draw(self, rows, generator)
        in_batch = sampled.batch.item if self.in_batch is not None else sampled.batch.item[:0]
        queued = self.queue.items if self.queue is not None else sampled.batch.item[:0]
        record.shared, record.per_row = np.concatenate([in_batch, *weighted, queued]), sampled.row_negatives
        return sampled

    def spy_shared(self, *arguments):
        candidates, vectors = shared(self, *arguments)
        record.count = candidates.count
        return candidates, vectors

    def spy_softmax(*arguments, **options):
        plain = plain_softmax(*arguments, **options)
        record.positive, record.scores, record.mask = plain.positive, plain.scores, plain.mask
        return plain

    monkeypatch.setattr(WeightedSource, "draw", spy_weighted)
    monkeypatch.setattr(NegativeSampler, "draw", spy_draw)
    monkeypatch.setattr(Objective, "_shared", spy_shared)
    monkeypatch.setattr(objective_module, "sampled_softmax", spy_softmax)
    return record


def mined_lists(data: TrainingSet) -> ItemSets:
    users = np.repeat(np.arange(2, len(data.user_inputs.ids)), 3)
    items = 1 + (users * 5 + np.tile([0, 1, 2], len(users) // 3)) % (len(data.item_counts) - 1)
    return ItemSets.from_members(users, items, len(data.user_inputs.ids), len(data.item_counts))


class Run:
    """An objective with towers of random weights, after two batches that filled the queue."""

    def __init__(self, market, names: tuple[str, ...], correction: str, **changes: Any) -> None:
        changes = {"unknown_id_share": 0.0, "masks": ["clicked", "same_request"], "initial_scale": 1.0, **changes}
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

    def loss(self, rows: Int64s, seed: int = 0) -> Loss:
        return self.objective.loss(self.towers, rows, np.random.default_rng(seed))


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
    logged_market, seen: Seen, names: tuple[str, ...], correction: str
) -> None:
    run = Run(logged_market, names, correction)
    run.loss(BATCH).backward()
    assert seen.scores is not None
    assert seen.mask is not None
    assert seen.mask.any()
    assert (seen.scores.grad[seen.mask] == 0).all()  # type: ignore[index]
    assert (seen.scores.grad[~seen.mask] > 0).all()  # type: ignore[index]
    counts = run.objective.pop_counts()
    assert counts.rows == len(BATCH)
    assert seen.count is not None
    assert counts.unmasked == int(
        ((~seen.mask).numpy() @ np.r_[seen.count, np.ones(seen.per_row.shape[1], np.int64)]).sum()
    )


@pytest.mark.parametrize("names", [names for names, correction in RECIPES if correction == "logq_positive_excluded"])
def test_a_positive_excluded_recipe_has_the_gradient_of_the_papers_weighted_form(
    logged_market, seen: Seen, names: tuple[str, ...]
) -> None:
    run = Run(logged_market, names, "logq_positive_excluded")
    run.loss(BATCH).backward()
    assert seen.positive is not None
    logits = seen.scores.detach().masked_fill(seen.mask, -math.inf).double()  # type: ignore[union-attr, arg-type]
    positive, log_z = seen.positive.detach().double(), torch.logsumexp(logits, dim=1)
    weights = torch.from_numpy(run.data.weights[BATCH]).double()
    share = weights / weights.sum() * torch.sigmoid(log_z - positive)  # Khrylchenko et al.: w = Z / (e^s_p + Z)
    negatives = share[:, None] * torch.softmax(logits, dim=1).nan_to_num()
    assert (seen.positive.grad + share).abs().max() < 1e-6  # type: ignore[operator]
    assert (seen.scores.grad - negatives).abs().max() < 1e-6  # type: ignore[union-attr, operator]
    assert share.max() > 1e-3


@pytest.mark.parametrize("correction", CORRECTIONS)
@pytest.mark.parametrize("names", [(name,) for name in SHARED if name != "cross_batch"] + [tuple(SHARED)])
def test_the_order_of_the_pairs_in_a_batch_changes_nothing(
    logged_market, seen: Seen, names: tuple[str, ...], correction: str
) -> None:
    order = np.random.default_rng(4).permutation(len(BATCH))
    losses, rows, weights = [], [], []
    for batch in (BATCH, BATCH[order]):
        run = Run(logged_market, names, correction)
        loss = run.loss(batch)
        loss.backward()
        losses.append(loss.value)
        assert seen.positive is not None
        rows.append(seen.positive.grad.numpy())  # type: ignore[union-attr]
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
            monkeypatch.setattr(objective_module, "sampled_softmax", plain_softmax)
        run.loss(BATCH).backward()
        gradients.append(gradients_of(run.towers))
    ours, expected = gradients
    assert ours.keys() == expected.keys()
    largest = max(one.abs().max().item() for one in expected.values())
    for name, gradient in expected.items():
        assert (ours[name] - gradient).abs().max().item() < tolerance * largest, name


def assert_gradients_are_of_the_loss(run: Run, rows: Int64s = BATCH) -> None:
    """Along each gradient, and along any other direction, the loss changes as the gradient says.

    The queue's scale of the items' gradients is not a gradient of the loss; these are skipped.
    """
    state = run.objective.state_dict()
    run.loss(rows).backward()
    gradients = gradients_of(run.towers)
    item_parameters = ("item_tower",) if run.objective.sampler.queue is not None else ()
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
    return expected


def reference_mask(run: Run, index: int, item: int, column: int, clicked: set[int]) -> bool:
    """Whether the candidate in this column is masked in row `index` of the batch."""
    data, row = run.data, BATCH[index]
    if item == 0 or item in clicked:
        return True
    if "in_batch" not in run.names or column >= len(BATCH):
        return False
    return column == index or (data.request[row] >= 0 and data.request[row] == data.request[BATCH[column]])


def share_who_did_not_click(data: TrainingSet, item: int) -> float:
    """Of the pairs, those of users who did not click the item: how often the mask lets it be a negative."""
    clickers = set(data.user[data.item == item].tolist())
    return max(sum(user not in clickers for user in data.user.tolist()) / len(data), 1 / len(data))


def reference_loss(run: Run, shared: Int64s, per_row: Int64s, queue: npt.NDArray[np.float32]) -> float:
    """The loss, one candidate after the other."""
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
        for column, item in enumerate([*shared.tolist(), *per_row[index].tolist()]):
            if reference_mask(run, index, item, column, clicked):
                continue
            queued = column - (len(shared) - len(queue))
            vector = queue[queued] if len(queue) and 0 <= queued < len(queue) else items[item]
            score = scale * users[index] @ vector + bias[item]
            if "clicked" in run.config.masks:
                score -= math.log(share_who_did_not_click(data, item))
            if column >= len(shared):
                score += row_log_weight[column - len(shared)]
            n_shared += column < len(shared)
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
        start = starting_bias(data, run.config).double().numpy()[data.item_inputs.ids]
        loss += run.config.item_bias_penalty * np.mean((bias - start)[data.item[BATCH]] ** 2)
    return float(loss)


@pytest.mark.every_pair(("names", "correction", "learned"), RECIPES_BY_LEARNED)
def test_the_loss_is_the_one_computed_candidate_by_candidate(
    logged_market, seen: Seen, names: tuple[str, ...], correction: str, learned: tuple[str, ...]
) -> None:
    run = Run(logged_market, names, correction, **dict.fromkeys(learned, True))
    queue = (
        run.objective.sampler.queue.vectors.clone().numpy()
        if run.objective.sampler.queue is not None
        else np.zeros((0, 8))
    )
    loss = run.loss(BATCH).value
    assert loss == pytest.approx(reference_loss(run, seen.shared, seen.per_row, queue), rel=1e-4)
    assert seen.count.sum() == len(seen.shared)


def test_uncorrected_the_learned_bias_is_part_of_every_score(logged_market, seen: Seen) -> None:
    run = Run(logged_market, ("in_batch", "uniform"), "none", item_bias=True)
    run.loss(BATCH)
    assert seen.positive is not None
    with_bias = seen.positive.detach()
    assert run.towers.item_bias is not None
    with torch.no_grad():
        bias = run.towers.biases(torch.from_numpy(run.data.item_inputs.ids[run.data.item[BATCH]]))
        run.towers.item_bias.weight.zero_()
    run.loss(BATCH)
    assert seen.positive.detach() + bias == pytest.approx(with_bias, abs=1e-5)


def gradient_rows(towers: Towers) -> set[int]:
    return set(gradient_of(towers.item_tower.side.ids).abs().sum(dim=1).nonzero().flatten().tolist())


def test_vectors_in_the_queue_have_no_gradient_and_drawn_items_have_one(logged_market, seen: Seen) -> None:
    rows = np.array([0, 1, 2])
    run = Run(logged_market, ("in_batch", "cross_batch"), "logq", masks=[])
    run.loss(rows).backward()
    ids = run.data.item_inputs.ids
    assert gradient_rows(run.towers) == set(ids[run.data.item[rows]].tolist())
    run = Run(logged_market, ("in_batch", "cross_batch"), "logq", masks=[], item_bias=True)
    queued = run.objective.sampler.queue.items  # type: ignore[union-attr]
    run.loss(rows).backward()
    assert run.towers.item_bias is not None
    bias = gradient_of(run.towers.item_bias).flatten()
    assert (bias[ids[queued]] != 0).all(), "biases are looked up again, and get gradients from the queue too"
    run = Run(logged_market, ("in_batch", "uniform"), "logq", masks=[])
    run.loss(rows).backward()
    assert gradient_rows(run.towers) == set(ids[seen.shared].tolist())


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

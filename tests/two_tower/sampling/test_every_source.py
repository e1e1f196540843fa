"""What every source of negatives must do, whichever it is."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from two_tower.every_source import ALL_TOGETHER, CASES, DECLARED, KNOWN, PER_ROW, SHARED, SOURCES, negatives
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.recipes.negative_settings import CrossBatchNegatives
from twotower_assets.testing.example_market import Market, mined_lists
from twotower_assets.testing.suite import gradients_of
from twotower_assets.two_tower.data.encoders import TrainingDataError
from twotower_assets.two_tower.data.training_set import build_training_set
from twotower_assets.two_tower.loss.objective import Objective
from twotower_assets.two_tower.sampling.item_queue import ItemQueue
from twotower_assets.two_tower.sampling.negatives import Batch, build_source
from twotower_assets.two_tower.sampling.proposals import build_proposal
from twotower_assets.two_tower.towers.model import build_towers

Int64s = npt.NDArray[np.int64]
REPEATS = 1500


class Source:
    """A source over a training set: as `build_source` gives it, or the queue filled from batches."""

    def __init__(self, name: str, market) -> None:
        self.market = market.configured(
            negatives=negatives(name) if name == "in_batch" else negatives("in_batch", name), masks=[]
        )
        self.data, config = self.market.training_set(), self.market.config
        self.settings, proposal = config.negatives[-1], build_proposal(self.data, config)
        if isinstance(self.settings, CrossBatchNegatives):
            self.made = ItemQueue(self.settings, proposal, 0)
        else:
            self.made = build_source(self.settings, self.data, proposal, mined_lists(self.data))

    def draw(self, rows: Int64s, seed: int) -> Int64s:
        batch, generator = Batch(self.data, rows), np.random.default_rng(seed)
        if not isinstance(self.made, ItemQueue):
            return self.made.draw(batch, generator)
        others = self.data.item[generator.integers(0, len(self.data), len(rows))]
        self.made.push(others)
        return self.made.items

    def expected(self, rows: Int64s, items: Int64s) -> npt.NDArray[np.float64] | None:
        return self.made.expected_count(Batch(self.data, rows), items)


@pytest.fixture(params=list(SOURCES))
def name(request) -> str:
    return request.param


@pytest.fixture
def source(name: str, logged_market) -> Source:
    return Source(name, logged_market)


def test_there_is_a_case_of_every_declared_source() -> None:
    assert set(SOURCES) == DECLARED


def test_items_of_the_catalogue_are_drawn_in_the_right_shape(name: str, source: Source) -> None:
    rows = np.arange(32)
    drawn = source.draw(rows, 0)
    assert drawn.dtype == np.int64
    sizes = {"in_batch": 32, "uniform": 24, "popularity": 24, "cross_batch": 32}
    assert drawn.shape == (sizes[name],) if name in SHARED else (32, SOURCES[name]["per_positive"])
    assert drawn.min() >= (0 if name in PER_ROW else 1)
    assert drawn.max() < len(source.data.item_counts)
    assert (drawn > 0).any()


def test_the_same_seed_gives_the_same_draws_and_another_others(name: str, logged_market) -> None:
    rows = np.arange(64)
    first, again, other = (Source(name, logged_market).draw(rows, seed) for seed in (1, 1, 2))
    assert (first == again).all()
    if name != "in_batch":  # draws nothing
        assert (first != other).any()


@pytest.mark.parametrize("rows", [[], [5], [5, 300]])
def test_small_batches_are_served_too(name: str, source: Source, rows: list[int]) -> None:
    drawn = source.draw(np.array(rows, np.int64), 0)
    if name in PER_ROW:
        assert len(drawn) == len(rows)
    expected = source.expected(np.array(rows, np.int64), drawn)
    assert expected is None or np.isfinite(expected).all()


def test_sources_of_unknown_proposal_have_no_expected_count_and_the_others_have_one_for_every_row(
    name: str, source: Source
) -> None:
    rows, catalogue = np.arange(16), np.arange(len(source.data.item_counts))
    source.draw(rows, 0)
    expected = source.expected(rows, catalogue)
    assert (expected is None) is (name not in KNOWN)
    assert source.settings.uncorrected is (name not in KNOWN)
    if expected is not None:
        assert expected.shape in [(len(catalogue),), (16, len(catalogue))]
        assert (np.atleast_2d(expected)[:, 0] == 0).all(), "nothing is never drawn"


def row_draws(source: Source, row: int, size: int, seed: int) -> tuple[Int64s, npt.NDArray[np.float64]]:
    """What a row finds as candidates beside its own pair, and what it had to expect of each item of the catalogue."""
    generator = np.random.default_rng([seed, 1])
    rows = np.r_[row, generator.integers(0, len(source.data), size - 1)]
    drawn = source.draw(rows, seed)
    expected = source.expected(rows, np.arange(len(source.data.item_counts)))
    assert expected is not None
    if drawn.ndim == 1:
        mine = drawn[1:] if drawn.shape == rows.shape and (drawn == source.data.item[rows]).all() else drawn
    else:
        mine = drawn[0]
    return mine, expected if expected.ndim == 1 else expected[0]


@pytest.mark.parametrize("name", KNOWN, indirect=False)
@pytest.mark.parametrize("row", [3, 4, 300])
def test_items_are_drawn_as_often_as_the_source_expects(name: str, row: int, logged_market) -> None:
    source = Source(name, logged_market)
    drawn = np.zeros(len(source.data.item_counts))
    expected = np.zeros(len(drawn))
    for seed in range(REPEATS):
        mine, count = row_draws(source, row, 16, seed)
        drawn += np.bincount(mine, minlength=len(drawn))
        expected += count
    nothing, drawn[0] = drawn[0], 0
    assert (drawn[expected == 0] == 0).all()
    frequent = expected > 5
    if name in PER_ROW and not expected.any():
        assert nothing == REPEATS * SOURCES[name]["per_positive"], "the last pair has no context, its category no items"
        return
    # Pairs come with replacement, so that counts are Poisson or nearly: about 1 per degree of freedom. A vector
    # stays in the queue for up to three batches, which makes its counts three times as variable.
    limit = 6.0 if name == "cross_batch" else 2.0
    chi_square = ((drawn - expected)[frequent] ** 2 / expected[frequent]).sum() / frequent.sum()
    assert chi_square < limit
    wrong = expected * np.where(np.arange(len(drawn)) % 2, 1.15, 0.85)
    seen = ((drawn - wrong)[frequent] ** 2 / wrong[frequent]).sum() / frequent.sum()
    if frequent.sum() > 1:
        assert seen > limit, "counts that are 15 % off would be noticed"


@pytest.mark.parametrize("name", ["category", "context"])
def test_the_uncorrected_treatment_draws_the_same_items_and_has_no_expected_counts(name: str, logged_market) -> None:
    settings = negatives(name)[0]
    rows, draws = np.arange(16), []
    for treatment in ("corrected", "uncorrected"):
        market = logged_market.configured(negatives=[settings | {"treatment": treatment}], correction="none")
        data = market.training_set()
        source = build_source(market.config.negatives[0], data, build_proposal(data, market.config), None)
        draws.append(source.draw(Batch(data, rows), np.random.default_rng(0)))
        expected = source.expected_count(Batch(data, rows), np.arange(5))
        assert (expected is None) is (treatment == "uncorrected")
    assert (draws[0] == draws[1]).all()


def one_step(market, rows: list[int], **changes) -> float:
    """The loss of one batch after a first one, with gradients in every parameter that can have them."""
    market = market.configured(unknown_id_share=0.0, **changes)
    data = market.training_set()
    objective = Objective(data, market.config, mined_lists(data))
    towers = build_towers(data.encoder, market.config)
    generator = np.random.default_rng(0)
    objective.loss(towers, np.arange(min(len(data), 4)), generator)
    loss = objective.loss(towers, np.array(rows, np.int64), generator)
    loss.backward()
    assert all(gradient.isfinite().all() for gradient in gradients_of(towers).values())
    return loss.value


@pytest.mark.parametrize(("names", "correction"), CASES)
def test_frequencies_that_change_go_with_every_source(logged_market, names: tuple[str, ...], correction: str) -> None:
    loss = one_step(
        logged_market, list(range(40)), negatives=negatives(*names), correction=correction, proposal="streaming"
    )
    assert math.isfinite(loss)
    assert loss > 0


def test_sources_with_equally_many_sets_are_not_equal(logged_market) -> None:
    data = logged_market.configured(negatives=negatives("in_batch", "category", "context")).training_set()
    config = logged_market.configured(negatives=negatives("in_batch", "category", "context")).config
    one, other = Objective(data, config).sampler.sources.row_dependent
    assert one != other
    same = replace(one)
    assert same not in [one, other]


EDGES = {
    "a batch of one": [7],
    "a batch of two": [7, 8],
    "the same pair twice": [7, 7],
    "a category of one item, no request, no context, no mined list": [300],
    "a pair without a context": [0, 7, 14],
}


@pytest.mark.every_pair(
    ("names", "correction", "edge"),
    [(*recipe, edge) for recipe, edge in itertools.product([*CASES, *ALL_TOGETHER], EDGES)],
)
def test_rows_that_a_source_has_little_for_have_a_finite_loss(
    logged_market, names: tuple[str, ...], correction: str, edge: str
) -> None:
    loss = one_step(
        logged_market,
        EDGES[edge],
        negatives=negatives(*names),
        correction=correction,
        masks=["clicked", "same_request"],
    )
    assert math.isfinite(loss)
    assert loss >= 0


def test_a_user_who_was_shown_nothing_and_an_item_without_a_category_get_no_such_negatives(logged_market) -> None:
    exposed, category = Source("exposed", logged_market), Source("category", logged_market)
    ids = exposed.data.encoder.users.ids.ids.to_pylist()
    shown = np.array([int(ids[user - 1][1:]) < 12 for user in exposed.data.user.tolist()])
    drawn = exposed.draw(np.arange(len(exposed.data)), 0)
    assert (drawn[~shown] == 0).all()
    assert (drawn[shown] > 0).any(axis=1).all()
    items = category.data.encoder.items.ids.ids.to_pylist()
    placed = np.array([not items[item - 1].endswith("9") for item in category.data.item.tolist()])
    drawn = category.draw(np.arange(len(category.data)), 0)
    assert (drawn[~placed] == 0).all()
    assert (drawn[placed] > 0).all()


@pytest.mark.parametrize(("names", "correction"), CASES)
def test_a_catalogue_of_two_items_is_trained_on_or_refused(names: tuple[str, ...], correction: str) -> None:
    pairs = {
        "user_id": ["u", "v", "w"],
        "item_id": ["a", "b", "a"],
        "context": ["x", "x", "y"],
        "history": pa.array([[]] * 3, pa.list_(pa.string())),
    }
    tables = pa.table(pairs), pa.table({"item_id": ["a", "b"], "category": ["c", "d"]}), pa.table({"user_id": ["u"]})
    exposures = pa.table({"user_id": ["u"], "item_id": ["b"]})
    market = Market(*tables, TrainingConfig(dimensions=2, batch_size=2), exposures)
    if "category" in names:
        with pytest.raises(TrainingDataError, match="no categories"):
            build_training_set(*tables, market.configured(negatives=negatives(*names), correction=correction).config)
        return
    loss = one_step(market, [0, 1], negatives=negatives(*names), correction=correction)
    assert math.isfinite(loss)


def test_mined_negatives_need_their_lists(logged_market) -> None:
    market = logged_market.configured(negatives=negatives("in_batch", "mined"))
    with pytest.raises(TrainingDataError, match="recipe 'other'"):
        Objective(market.training_set(), market.config)


@pytest.mark.parametrize("name", ["category", "context", "exposed"])
def test_a_training_set_built_for_other_negatives_is_refused(name: str, logged_market) -> None:
    data = logged_market.training_set()
    config = logged_market.configured(negatives=negatives("in_batch", name)).config
    with pytest.raises(TrainingDataError, match="built for other negatives"):
        Objective(data, config)

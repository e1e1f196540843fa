from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from twotower_assets.two_tower.sampling.streaming_frequency import StreamingFrequency

Int64s = npt.NDArray[np.int64]
Float64s = npt.NDArray[np.float64]

ARGUMENTS = {"n_items": 60, "buckets": 32, "hashes": 3, "rate": 0.1, "seed": 4}


def estimator(**changes) -> StreamingFrequency:
    return StreamingFrequency(**(ARGUMENTS | changes))


def buckets_of(n_items: int, **arguments) -> Int64s:
    """[n_items, hashes], the bucket that each item touches, found by showing it to a fresh estimator."""
    bucket_of_item = []
    for item in range(n_items):
        fresh = estimator(n_items=n_items, **arguments)
        fresh.update(np.array([item]))
        bucket_of_item.append(fresh.state_dict()["last_seen"].argmax(axis=1))
    return np.stack(bucket_of_item)


class Sequential:
    """The algorithm as the paper writes it, one pair after the other."""

    def __init__(self, bucket_of_item: Int64s, rate: float, initial_gap: float) -> None:
        self.bucket_of_item, self.rate, self.initial_gap, self.step = bucket_of_item, rate, initial_gap, 0
        self.last_seen: dict[tuple[int, int], int] = {}
        self.mean_gap: dict[tuple[int, int], float] = {}

    def update(self, items: Int64s) -> None:
        for item in items:
            self.step += 1
            for key in enumerate(self.bucket_of_item[item]):
                if key in self.last_seen:
                    old = self.mean_gap.get(key, self.initial_gap)
                    self.mean_gap[key] = (1 - self.rate) * old + self.rate * (self.step - self.last_seen[key])
                self.last_seen[key] = self.step

    def probability(self, items: Int64s) -> Float64s:
        gaps = [[self.mean_gap.get(key, self.initial_gap) for key in enumerate(self.bucket_of_item[i])] for i in items]
        return 1 / np.max(gaps, axis=1)


def zipf(n_items: int, exponent: float = 1.0) -> Float64s:
    weights = 1.0 / np.arange(1, n_items + 1) ** exponent
    return weights / weights.sum()


def draw(q: Float64s, size: int, generator: np.random.Generator) -> Int64s:
    return generator.choice(len(q), size=size, p=q)


def feed(frequency: StreamingFrequency, items: Int64s, batch_size: int = 1000) -> None:
    for begin in range(0, len(items), batch_size):
        frequency.update(items[begin : begin + batch_size])


def log_error(frequency: StreamingFrequency, q: Float64s) -> Float64s:
    return np.log(frequency.probability(np.arange(len(q))) / q)


def rms(errors: Float64s, weights: Float64s | None = None) -> float:
    return float(np.sqrt(np.average(errors**2, weights=weights)))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"buckets": 1, "hashes": 1},
        {"buckets": 7, "hashes": 4},
        {"buckets": 4096, "hashes": 2},
        {"rate": 1.0},
        {"rate": 0.001, "initial_gap": 5.5},
    ],
)
def test_a_batch_gives_what_its_pairs_give_one_after_the_other(changes) -> None:
    arguments = {"rate": 0.1, **changes}
    frequency = estimator(**arguments)
    bucket_of_item = buckets_of(60, **arguments)
    reference = Sequential(bucket_of_item, arguments["rate"], arguments.get("initial_gap", 60.0))
    generator, every_item = np.random.default_rng(2), np.arange(60)
    for size in [1, 5, 0, 300, 2, 77, 1000]:
        items = draw(zipf(60), size, generator)
        frequency.update(items)
        reference.update(items)
        np.testing.assert_allclose(frequency.probability(every_item), reference.probability(every_item), rtol=1e-12)
    state = frequency.state_dict()
    assert state["pairs_seen"] == reference.step
    for (row, bucket), step in reference.last_seen.items():
        assert state["last_seen"][row, bucket] == step


def test_probabilities_follow_a_stationary_stream_within_the_expected_error() -> None:
    q, rate = zipf(500), 0.02
    frequency = estimator(n_items=500, buckets=1 << 16, hashes=4, rate=rate)
    items = draw(q, 300_000, np.random.default_rng(5))
    feed(frequency, items)
    settled = np.bincount(items, minlength=500) > 10 / rate
    errors = log_error(frequency, q)[settled]
    assert settled.sum() > 80
    assert rms(errors) == pytest.approx(np.sqrt(rate / (2 - rate)), rel=0.2)
    assert abs(errors.mean()) < 0.03
    assert np.corrcoef(np.log(frequency.probability(np.arange(500)))[settled], np.log(q)[settled])[0, 1] > 0.99


def test_spread_and_bias_of_the_logarithm_are_those_of_a_moving_average_of_geometric_gaps() -> None:
    rate, n_items = 0.1, 100
    q = np.full(n_items, 1 / n_items)
    frequency = estimator(n_items=n_items, buckets=1 << 16, rate=rate)
    stream = draw(q, 300_000, np.random.default_rng(6)).reshape(100, -1)
    errors = []
    for items in stream:
        feed(frequency, items)
        errors.append(log_error(frequency, q))
    settled = np.stack(errors[5:])
    assert settled.std() == pytest.approx(np.sqrt(rate / (2 - rate)), rel=0.05)
    assert settled.mean() == pytest.approx(rate / (2 * (2 - rate)), abs=0.01)


def turning(n_items: int, period: int, pairs: int, batch_size: int) -> Iterator[Float64s]:
    """For each batch the distribution at its middle; popularity swings by a factor of 20 around the catalogue."""
    phase = np.arange(n_items) / n_items
    for begin in range(0, pairs, batch_size):
        weights = np.exp(1.5 * np.cos(2 * np.pi * (phase + (begin + batch_size / 2) / period)))
        yield weights / weights.sum()


def test_gradual_drift_is_followed_where_counts_of_all_time_are_not() -> None:
    frequency, generator = estimator(n_items=100, buckets=1 << 16, rate=0.05), np.random.default_rng(7)
    counts, errors, count_errors = np.zeros(100), [], []
    for batch, q in enumerate(turning(100, 250_000, 500_000, 1000)):
        items = draw(q, 1000, generator)
        frequency.update(items)
        counts += np.bincount(items, minlength=100)
        if batch >= 250:
            errors.append(log_error(frequency, q))
            count_errors.append(np.log(counts / counts.sum() / q))
    assert rms(np.stack(errors)) < 0.25
    assert rms(np.stack(count_errors)) > 1.0


def test_an_abrupt_change_is_followed_where_counts_of_all_time_are_not() -> None:
    generator = np.random.default_rng(8)
    before = zipf(200)
    after = before[generator.permutation(200)]
    items = np.concatenate([draw(before, 150_000, generator), draw(after, 150_000, generator)])
    frequency = estimator(n_items=200, buckets=1 << 16, rate=0.05)
    feed(frequency, items)
    counts = np.bincount(items, minlength=200)
    assert rms(log_error(frequency, after), after) < 0.22
    assert rms(np.log(counts / counts.sum() / after), after) > 0.5


def test_several_hashes_undo_the_collisions_of_one() -> None:
    generator = np.random.default_rng(9)
    q = generator.permutation(zipf(500))
    items = draw(q, 200_000, generator)
    errors = {}
    for hashes in (1, 4):
        frequency = estimator(n_items=500, buckets=200, hashes=hashes, rate=0.02)
        feed(frequency, items)
        errors[hashes] = log_error(frequency, q)[np.bincount(items, minlength=500) > 200]
    assert rms(errors[1]) > 0.7
    assert rms(errors[4]) < 0.45


def test_an_estimate_is_the_smallest_that_any_of_the_hashes_gives() -> None:
    frequency = estimator(n_items=60, buckets=16, hashes=3)
    feed(frequency, draw(zipf(60), 5000, np.random.default_rng(10)))
    gaps = frequency.state_dict()["mean_gap"]
    by_hash = 1 / gaps[np.arange(3), buckets_of(60, buckets=16, hashes=3)]
    assert (by_hash.max(axis=1) > by_hash.min(axis=1)).all()
    np.testing.assert_array_equal(frequency.probability(np.arange(60)), by_hash.min(axis=1))


def test_hashes_spread_items_evenly_and_independently_of_each_other() -> None:
    bucket_of_item = buckets_of(500, buckets=100, hashes=3)
    assert bucket_of_item.max() == 99
    for row in bucket_of_item.T:
        assert np.bincount(row, minlength=100).max() < 25
    same = [
        (bucket_of_item[:, None, row] == bucket_of_item[None, :, row]) & ~np.eye(500, dtype=bool) for row in range(3)
    ]
    assert max(collisions.mean() for collisions in same) < 0.02
    assert (same[0] & same[1] & same[2]).mean() < 0.001


def test_the_seed_draws_the_hashes() -> None:
    assert (buckets_of(60, seed=1) == buckets_of(60, seed=1)).all()
    assert (buckets_of(60, seed=1) != buckets_of(60, seed=2)).any()


@pytest.mark.parametrize(("initial_gap", "expected"), [(None, 1 / 60), (12.5, 0.08)])
def test_items_without_a_gap_have_the_prior(initial_gap: float | None, expected: float) -> None:
    frequency = estimator(buckets=1 << 16, initial_gap=initial_gap)
    frequency.update(np.array([3, 3, 3, 7]))
    np.testing.assert_allclose(frequency.probability(np.array([7, 8, 59])), expected, rtol=1e-12)
    assert frequency.probability(np.array(3)) > expected


def test_an_item_that_joins_late_has_no_gap_to_the_start_of_the_stream() -> None:
    frequency = estimator(buckets=1 << 16, rate=0.5)
    frequency.update(np.zeros(100_000, np.int64))
    frequency.update(np.array([1, 0, 0, 0, 1]))
    assert frequency.probability(np.array([1]))[0] == pytest.approx(1 / (0.5 * 60 + 0.5 * 4), rel=1e-12)


@pytest.mark.parametrize("rate", [0.3, 0.01, 1.0])
def test_an_item_alone_in_the_stream_has_probability_one_and_not_more(rate: float) -> None:
    frequency = estimator(rate=rate, initial_gap=1.0)
    for size in range(1, 100):
        frequency.update(np.full(size, 5))
        assert 1 - 1e-12 < frequency.probability(np.array([5]))[0] <= 1


def test_an_empty_batch_changes_nothing() -> None:
    frequency = estimator()
    frequency.update(np.array([1, 2, 1]))
    before = frequency.state_dict()
    frequency.update(np.array([], np.int64))
    for name, values in frequency.state_dict().items():
        np.testing.assert_array_equal(values, before[name])


@pytest.mark.parametrize("shape", [(), (0,), (6,), (2, 3), (2, 0)])
def test_probabilities_have_the_shape_of_the_items(shape: tuple[int, ...]) -> None:
    frequency = estimator()
    feed(frequency, draw(zipf(60), 500, np.random.default_rng(11)))
    items = np.arange(np.prod(shape), dtype=np.int64).reshape(shape)
    probability = frequency.probability(items)
    assert probability.shape == shape
    assert isinstance(probability, np.ndarray)
    assert probability.dtype == np.float64
    np.testing.assert_array_equal(probability.ravel(), frequency.probability(items.ravel()))


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_a_loaded_state_continues_identically(layout) -> None:
    generator = np.random.default_rng(12)
    first, second = draw(zipf(60), 700, generator), draw(zipf(60), 700, generator)
    uninterrupted, resumed = estimator(), estimator()
    uninterrupted.update(first)
    saved = uninterrupted.state_dict()
    resumed.load_state_dict(saved | {name: layout(saved[name]) for name in ("last_seen", "mean_gap")})
    uninterrupted.update(second)
    resumed.update(second)
    resumed_state = resumed.state_dict()
    for name, values in uninterrupted.state_dict().items():
        np.testing.assert_array_equal(resumed_state[name], values)
        assert resumed_state[name].dtype == values.dtype
    # The saved arrays belong to neither estimator.
    assert saved["pairs_seen"] == 700
    assert saved["last_seen"].max() == 700
    replayed = estimator()
    replayed.update(first)
    np.testing.assert_array_equal(saved["mean_gap"], replayed.state_dict()["mean_gap"])


@pytest.mark.parametrize("name", ["pairs_seen", "last_seen", "mean_gap"])
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(name: str) -> None:
    frequency = estimator()
    frequency.update(np.array([1, 2, 1]))
    before = frequency.state_dict()
    other = estimator().state_dict()
    with pytest.raises(ValueError, match=name):
        frequency.load_state_dict(other | {name: np.zeros((3, 31))})
    with pytest.raises(ValueError, match=name):
        frequency.load_state_dict({key: values for key, values in other.items() if key != name})
    for key, values in frequency.state_dict().items():
        np.testing.assert_array_equal(values, before[key])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("n_items", 0),
        ("buckets", 0),
        ("buckets", 2**32),
        ("hashes", 0),
        ("rate", 0.0),
        ("rate", 1.1),
        ("rate", float("nan")),
        ("initial_gap", 0.5),
        ("initial_gap", float("inf")),
        ("initial_gap", float("nan")),
    ],
)
def test_arguments_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        estimator(**{name: value})


@pytest.mark.parametrize("items", [np.array([-1]), np.array([3, 60]), np.array([0.5])])
def test_items_outside_the_vocabulary_are_refused(items) -> None:
    frequency = estimator()
    with pytest.raises(ValueError, match="items must be"):
        frequency.update(items)
    with pytest.raises(ValueError, match="items must be"):
        frequency.probability(items)
    assert frequency.state_dict()["pairs_seen"] == 0


def test_an_update_takes_a_vector() -> None:
    with pytest.raises(ValueError, match="vector"):
        estimator().update(np.array([[1, 2]]))

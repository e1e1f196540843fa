from __future__ import annotations

import logging
import math
import os
import subprocess
import sys

import numba
import numpy as np
import pyarrow as pa
import pytest
import torch

from twotower_assets.two_tower.data.item_sets import ItemSets
from twotower_assets.two_tower.loss.engine import Loss
from twotower_assets.two_tower.loss.objective import Objective
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem
from twotower_assets.two_tower.sampling.negative_sampler import hidden_item_share
from twotower_assets.two_tower.towers.embedding import Embedder
from twotower_assets.two_tower.training.loop import train
from twotower_assets.two_tower.training.resume import FILE_NAME


class Interruption(KeyboardInterrupt):
    pass


def weights(result) -> dict[str, torch.Tensor]:
    return result.towers.state_dict()


def same_weights(left, right) -> bool:
    return all(torch.equal(tensor, weights(right)[name]) for name, tensor in weights(left).items())


def interrupt_after(epoch: int):
    def on_epoch(report) -> None:
        if report.epoch == epoch:
            raise Interruption

    return on_epoch


def rising(*metrics: float):
    """A validation that gives these metrics, one after the other."""
    given = iter(metrics)
    return lambda towers: next(given)


def test_training_separates_the_two_halves_of_the_market(market) -> None:
    market = market.configured(epochs=15)
    result = train(market.training_set(), market.config)
    embedder = Embedder(result.towers, market.training_set().encoder)
    users = embedder.embed_users(market.pairs.column("user_id"), market.pairs.column("history"))
    items = embedder.embed_items(market.items)
    scores = users @ items.T
    even = np.array([int(user[1:]) % 2 == 0 for user in market.pairs.column("user_id").to_pylist()])
    first, second = scores[:, :15].mean(axis=1), scores[:, 15:].mean(axis=1)
    assert ((first > second) == even).mean() > 0.95
    assert result.reports[-1].loss < result.reports[0].loss


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(rich_market) -> None:
    first, second, other = (
        train(market.training_set(), market.config)
        for market in (rich_market, rich_market, rich_market.configured(seed=5))
    )
    assert same_weights(first, second)
    assert not same_weights(first, other)


def test_without_validation_exactly_the_configured_epochs_are_trained(market) -> None:
    result = train(market.training_set(), market.config)
    assert [report.epoch for report in result.reports] == [1, 2, 3]
    assert result.best_epoch == 3
    assert all(report.validation_metric is None for report in result.reports)


def test_training_stops_when_the_metric_no_longer_rises_and_keeps_the_best_epoch(market) -> None:
    market = market.configured(epochs=9, patience=2)
    result = train(market.training_set(), market.config, validate=rising(0.1, 0.3, 0.2, 0.25))
    assert [report.validation_metric for report in result.reports] == [0.1, 0.3, 0.2, 0.25]
    assert [report.is_best for report in result.reports] == [True, True, False, False]
    assert result.best_epoch == 2
    two_epochs = market.configured(epochs=2)
    assert same_weights(result, train(two_epochs.training_set(), two_epochs.config))


def test_validation_sees_towers_without_gradients(market) -> None:
    def validate(towers) -> float:
        assert not torch.is_grad_enabled()
        assert not towers.training
        return 1.0

    assert train(market.training_set(), market.config, validate=validate).best_epoch == 1


def test_a_validation_metric_that_is_not_a_number_is_refused(market) -> None:
    with pytest.raises(ValueError, match="NaN"):
        train(market.training_set(), market.config, validate=lambda towers: math.nan)


@pytest.mark.parametrize("interrupted_after", [1, 2, 3])
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(rich_market, tmp_path, interrupted_after: int) -> None:
    data, config = rich_market.training_set(), rich_market.configured(epochs=4).config
    metrics = [0.1, 0.4, 0.2, 0.3]
    whole = train(data, config, validate=rising(*metrics))
    with pytest.raises(Interruption):
        train(
            data,
            config,
            validate=rising(*metrics),
            on_epoch=interrupt_after(interrupted_after),
            resume_dir=tmp_path,
        )
    reported: list[int] = []
    resumed = train(
        data,
        config,
        validate=rising(*metrics[interrupted_after:]),
        on_epoch=lambda report: reported.append(report.epoch),
        resume_dir=tmp_path,
    )
    assert reported == list(range(interrupted_after + 1, 5))
    assert same_weights(whole, resumed)
    assert resumed.best_epoch == whole.best_epoch == 2
    assert [report.loss for report in resumed.reports] == [report.loss for report in whole.reports]


KEEPS_STATE = {
    "negatives": [
        {"source": "in_batch"},
        {"source": "uniform", "count": 8},
        {"source": "cross_batch", "count": 100, "warm_up_epochs": 0.5, "maximum_age": 12},
    ],
    "proposal": "streaming",
    "streaming_buckets": 256,
    "item_bias": True,
    "learn_temperature": True,
    "weight_decay": 0.1,
}


@pytest.mark.parametrize("correction", ["none", "logq", "logq_positive_excluded"])
@pytest.mark.parametrize("interrupted_after", [1, 2])
def test_queue_and_streaming_frequencies_are_resumed(market, tmp_path, correction: str, interrupted_after: int) -> None:
    market = market.configured(**KEEPS_STATE, correction=correction)
    data = market.training_set()
    whole = train(data, market.config)
    with pytest.raises(Interruption):
        train(data, market.config, on_epoch=interrupt_after(interrupted_after), resume_dir=tmp_path)
    resumed = train(data, market.config, resume_dir=tmp_path)
    assert same_weights(whole, resumed)
    assert [report.loss for report in resumed.reports] == [report.loss for report in whole.reports]
    assert resumed.reports[-1].negatives_per_positive == whole.reports[-1].negatives_per_positive


@pytest.mark.parametrize("part", ["queue", "proposal"])
def test_a_resume_that_forgets_a_part_of_the_objectives_state_ends_elsewhere(
    market, tmp_path, monkeypatch, part: str
) -> None:
    market = market.configured(**KEEPS_STATE)
    data = market.training_set()
    whole = train(data, market.config)
    with pytest.raises(Interruption):
        train(data, market.config, on_epoch=interrupt_after(2), resume_dir=tmp_path)
    load_state_dict = Objective.load_state_dict

    def forgetful(self, state) -> None:
        fresh = {name: tensor for name, tensor in Objective(data, market.config).state_dict().items() if part in name}
        load_state_dict(self, {**state, **fresh})

    monkeypatch.setattr(Objective, "load_state_dict", forgetful)
    assert not same_weights(whole, train(data, market.config, resume_dir=tmp_path))


def test_averaged_weights_are_resumed_and_differ_from_the_last_weights(market, tmp_path) -> None:
    averaged = market.configured(average_half_life=0.7)
    data = market.training_set()
    whole = train(data, averaged.config)
    with pytest.raises(Interruption):
        train(data, averaged.config, on_epoch=interrupt_after(2), resume_dir=tmp_path)
    assert same_weights(whole, train(data, averaged.config, resume_dir=tmp_path))
    assert not same_weights(whole, train(data, market.config))


def test_a_finished_run_is_returned_without_training(market, tmp_path) -> None:
    data = market.training_set()
    finished = train(data, market.config, resume_dir=tmp_path)
    again = train(data, market.config, resume_dir=tmp_path, on_epoch=interrupt_after(1))
    assert same_weights(finished, again)


@pytest.mark.parametrize("change", [{"learning_rate": 0.03}, {"history_length": 2}, {"batch_order": "shuffled"}])
def test_the_state_of_another_run_is_ignored_with_a_warning(market, tmp_path, caplog, change) -> None:
    train(market.training_set(), market.config, resume_dir=tmp_path)
    other = market.configured(**change)
    result = train(other.training_set(), other.config, resume_dir=tmp_path)
    assert "written for another" in caplog.text
    assert same_weights(result, train(other.training_set(), other.config))


def test_the_state_of_a_run_with_other_mined_lists_is_ignored_with_a_warning(market, tmp_path, caplog) -> None:
    mined = {"source": "mined", "per_positive": 1, "recipe": "other"}
    market = market.configured(negatives=[{"source": "in_batch"}, mined], epochs=1)
    data = market.training_set()
    users = np.arange(1, len(data.user_inputs.ids))
    first, other = (
        ItemSets.from_members(users, np.full(len(users), item), len(users) + 1, len(data.item_counts))
        for item in (1, 2)
    )
    train(data, market.config, resume_dir=tmp_path, mined=first)
    result = train(data, market.config, resume_dir=tmp_path, mined=other)
    assert "written for another mined" in caplog.text
    assert same_weights(result, train(data, market.config, mined=other))


def test_batches_are_spread_or_shuffled_as_configured(market) -> None:
    spread, shuffled = (
        train(market.training_set(), market.configured(batch_order=order, epochs=1).config).reports[0].repeat_share
        for order in ("spread", "shuffled")
    )
    assert spread < shuffled - 0.01


@pytest.mark.parametrize("damage", ["byte", "truncated", "text", "empty"])
def test_a_damaged_state_is_ignored_with_a_warning(market, tmp_path, caplog, damage: str) -> None:
    data = market.training_set()
    finished = train(data, market.config, resume_dir=tmp_path)
    path = tmp_path / FILE_NAME
    written = path.read_bytes()
    path.write_bytes(
        {
            "byte": written[:-5] + bytes([written[-5] ^ 1]) + written[-4:],
            "truncated": written[: len(written) // 2],
            "text": written.replace(b"epoch", b"hcope", 1),
            "empty": b"",
        }[damage]
    )
    assert same_weights(finished, train(data, market.config, resume_dir=tmp_path))
    assert "damaged" in caplog.text


def test_an_interruption_while_the_state_is_written_keeps_the_one_before(market, tmp_path, monkeypatch) -> None:
    data = market.training_set()
    with pytest.raises(Interruption):
        train(data, market.config, on_epoch=interrupt_after(1), resume_dir=tmp_path)
    before = (tmp_path / FILE_NAME).read_bytes()

    def interrupted(*arguments) -> None:
        raise Interruption

    monkeypatch.setattr("twotower_assets.two_tower.training.tensor_file.os.fsync", interrupted)
    with pytest.raises(Interruption):
        train(data, market.config, resume_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_an_error_in_validation_passes_through_and_torch_is_left_as_it_was(market) -> None:
    def validate(towers) -> float:
        raise Interruption

    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with pytest.raises(Interruption):
        train(market.training_set(), market.config, validate=validate)
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.is_grad_enabled()
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.slow
def test_training_does_not_wait_for_the_import_of_torchs_compiler() -> None:
    code = (
        "import sys; from twotower_assets.two_tower.training.loop import _reproducible, torch\n"
        "with _reproducible(1, torch.device('cpu')):\n"
        " print(torch.are_deterministic_algorithms_enabled(), 'torch._dynamo' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert printed.split() == ["True", "False"]


def test_a_loss_that_is_not_finite_stops_training_and_says_what_to_change(market, monkeypatch) -> None:
    monkeypatch.setattr(Objective, "problem_loss", lambda *arguments: Loss(math.inf, lambda: None, 0))
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train(market.training_set(), market.config)


def test_each_epoch_is_logged_and_reported_with_its_speed(market, caplog) -> None:
    caplog.set_level(logging.INFO)
    reports = []
    train(market.training_set(), market.config, on_epoch=reports.append, progress=False)
    assert caplog.text.count("Epoch ") == 3
    assert all(report.pairs_per_second > 0 and report.seconds > 0 for report in reports)
    assert reports[-1].seconds_left == 0
    assert 0 < reports[0].repeat_share < 1
    assert reports[0].as_dict()["epoch"] == 1


def test_the_progress_bar_is_shown_only_when_requested(market, capsys) -> None:
    train(market.training_set(), market.config)
    assert capsys.readouterr().err == ""
    train(market.training_set(), market.config, progress=True)
    assert "epoch 3" in capsys.readouterr().err


def popularity_slope(market) -> float:
    """Slope on log q of the mean score of the items that the even users like, for those users."""
    data = market.training_set()
    embedder = Embedder(train(data, market.config).towers, data.encoder)
    even = pa.array([f"u{u}" for u in range(0, 20, 2)])
    users = embedder.embed_users(even, pa.array([[]] * 10, pa.list_(pa.string())))
    liked = market.items.slice(0, 15)
    scores = (users @ embedder.embed_items(liked).T).mean(axis=0) * market.config.inverse_temperature
    log_q = np.log(np.maximum(data.q[data.encoder.items.ids.encode(liked.column("item_id"))], 1e-3))
    return float(np.polyfit(log_q, scores, 1)[0])


def test_logq_in_training_adds_popularity_to_the_score(market) -> None:
    market = market.configured(epochs=40, history_length=0, unknown_id_share=0.0)
    uncorrected = popularity_slope(market.configured(correction="none"))
    assert popularity_slope(market) > uncorrected + 0.5


def test_the_loss_sees_the_true_ids_though_the_towers_see_unknown_ones(market, monkeypatch) -> None:
    weighted = market.pairs.set_column(4, "weight", [[1.0 + i % 3 for i in range(300)]])
    data = type(market)(weighted, market.items, market.users, market.config).training_set()
    config = market.configured(unknown_id_share=0.9, epochs=1, masks=[]).config
    problems: list[BatchProblem] = []
    problem_loss = Objective.problem_loss

    def spy(self, towers, problem):
        problems.append(problem)
        return problem_loss(self, towers, problem)

    monkeypatch.setattr(Objective, "problem_loss", spy)
    train(data, config)
    assert np.mean([(problem.items.ids == 0).mean() for problem in problems]) > 0.3
    pairs = [zip(one.batch.user, one.batch.item, one.softmax.weights, strict=True) for one in problems]
    assert sorted(pair for batch in pairs for pair in batch) == sorted(
        zip(data.user, data.item, data.weights, strict=True)
    )
    for problem in problems:
        columns = problem.candidates
        corrected = np.log(columns.count) - problem.softmax.column_offsets - math.log(len(problem) - 1)
        assert corrected == pytest.approx(np.log(data.q[columns.item]), rel=1e-5)
        own = np.repeat(np.arange(len(problem)), np.diff(problem.softmax.masked.offsets))
        assert (columns.item[problem.softmax.masked.columns] == problem.batch.item[own]).all()
    assert sum(problem.candidates.count.sum() for problem in problems) == len(data)


@pytest.mark.parametrize(("correction", "weight"), [("none", 0.0), ("logq", 1.0)])
def test_learned_biases_start_at_the_popularity_that_the_score_is_to_hold(market, correction, weight) -> None:
    market = market.configured(item_bias=True, correction=correction, epochs=1, learning_rate=1e-30)
    data = market.training_set()
    towers = train(data, market.config).towers
    clicked = np.flatnonzero(data.item_counts)
    started = towers.item_bias.weight.detach().numpy()[data.item_inputs.ids[clicked], 0]
    expected = weight * np.log(data.q[clicked])
    assert started - started @ data.q[clicked] == pytest.approx(expected - expected @ data.q[clicked], abs=1e-5)
    assert started @ data.q[clicked] == pytest.approx(0, abs=1e-5)


def test_replacing_ids_trains_the_unknown_vectors(market) -> None:
    data = market.training_set()
    for share, moved in ((0.0, False), (0.2, True)):
        changed = market.configured(unknown_id_share=share, epochs=1).config
        start = train(data, market.configured(unknown_id_share=share, epochs=1, learning_rate=1e-30).config)
        end = train(data, changed)
        for name in ("user_tower.side.ids.weight", "item_tower.side.ids.weight"):
            difference = (weights(end)[name][0] - weights(start)[name][0]).abs().max().item()
            assert (difference > 1e-3) is moved


def test_one_user_trains_without_a_single_negative(make_pairs, market) -> None:
    alone = type(market)(make_pairs(["u"] * 3, ["a", "b", "a"]), market.items, market.users, market.config)
    result = train(alone.training_set(), alone.config)
    assert result.reports[-1].loss == 0
    assert all(tensor.isfinite().all() for tensor in weights(result).values())


@pytest.mark.parametrize("more", [0, 1])
def test_the_number_of_threads_is_restored_after_training(market, more: int) -> None:
    before, loops = torch.get_num_threads(), numba.get_num_threads()
    seen = []
    market = market.configured(epochs=1)
    train(
        market.training_set(),
        market.config,
        on_epoch=lambda _: seen.append((torch.get_num_threads(), numba.get_num_threads())),
        threads=1 + more,
    )
    assert set(seen) == {(1 + more, min(1 + more, os.cpu_count() or 1))}
    assert (torch.get_num_threads(), numba.get_num_threads()) == (before, loops)


def test_every_item_contributes_equally_many_pairs_to_the_unknown_id() -> None:
    counts = np.array([0, 100, 10, 10, 1])
    replaced = hidden_item_share(counts, 0.1)
    assert np.allclose((replaced * counts)[1:4], 0.1 * counts.sum() / 4)
    assert replaced[4] == 0.5, "an item with few clicks keeps its own id at least half of the time"

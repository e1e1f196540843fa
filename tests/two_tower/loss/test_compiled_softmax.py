import math
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from two_tower.plain_softmax import (
    DifferentiableSoftmax,
    gradients_of_inputs,
    plain_softmax,
    softmax_problem,
    sparse_rows,
)
from twotower_assets.two_tower.kernels.threads import computing_threads
from twotower_assets.two_tower.loss import compiled_softmax as softmax_module
from twotower_assets.two_tower.loss.compiled_softmax import SoftmaxResult, sampled_softmax
from twotower_assets.two_tower.loss.torch_softmax import SoftmaxTensors
from twotower_assets.two_tower.sampling.batch_problem import SoftmaxProblem

NOTHING_MASKED = torch.zeros(3, 4, dtype=torch.bool)


@pytest.fixture(autouse=True, params=["shared", "per row"])
def shared_or_per_row(request, monkeypatch) -> None:
    """Every test runs twice: with shared candidates, and with per-row negatives."""
    monkeypatch.setattr(sys.modules[__name__], "CANDIDATES_ARE", request.param)


CANDIDATES_ARE = "shared"


softmax: Callable[..., Tensor] = DifferentiableSoftmax.apply


def softmax_of(positive: Tensor, negatives: Tensor, mask: Tensor, correction: Tensor, weights: Tensor | None) -> Tensor:
    """The loss of positives [B] and negatives [B, C] after a mask and the subtraction of a correction."""
    weights = torch.ones_like(positive) if weights is None else weights
    columns = negatives.shape[1] if CANDIDATES_ARE == "per row" else 0
    zero, pair_index = negatives.new_zeros(1, 1), np.zeros((len(positive), 1 + columns), np.int64)
    if CANDIDATES_ARE == "per row":
        per_row = (negatives - correction).masked_fill(mask, -math.inf)
        pair_offsets, queries = torch.cat([positive[:, None], per_row], dim=1), negatives.new_zeros(len(positive), 1)
        column_offsets = zero[:0, 0]
        problem = softmax_problem(pair_index, pair_offsets, column_offsets, weights)
        return softmax(queries, zero, zero[:0], column_offsets, pair_offsets, problem)
    unit = torch.eye(negatives.shape[1], dtype=negatives.dtype)
    column_offsets, zero = unit.new_zeros(len(unit)), unit.new_zeros(1, negatives.shape[1])
    problem = softmax_problem(
        pair_index,
        positive[:, None],
        column_offsets,
        weights,
        masked=sparse_rows(mask),
        row_corrections=sparse_rows(torch.ones_like(mask), -correction),
    )
    return softmax(negatives, zero, unit, column_offsets, positive[:, None], problem)


def uncorrected(positive: Tensor, negatives: Tensor, mask: Tensor, *, weights: Tensor | None = None) -> Tensor:
    """No correction."""
    return softmax_of(positive, negatives, mask, torch.zeros_like(negatives).detach(), weights)


def logq(
    positive: Tensor,
    negatives: Tensor,
    mask: Tensor,
    *,
    log_expected: tuple[Tensor, Tensor],
    weights: Tensor | None = None,
) -> Tensor:
    """Every logit is corrected, the positive's too."""
    return softmax_of(positive - log_expected[0], negatives, mask, log_expected[1].expand_as(negatives), weights)


def positive_excluded(
    positive: Tensor, negatives: Tensor, mask: Tensor, *, log_expected: Tensor, weights: Tensor | None = None
) -> Tensor:
    """The positive is not corrected."""
    return softmax_of(positive, negatives, mask, log_expected.expand_as(negatives), weights)


def scores(seed: int = 0, rows: int = 3, candidates: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of positives and candidates, and expected counts of the latter, float64."""
    generator = torch.Generator().manual_seed(seed)
    positive, negatives = (
        torch.randn(shape, generator=generator, dtype=torch.float64) * 2 for shape in ((rows,), (rows, candidates))
    )
    return positive, negatives, torch.rand((rows, candidates), generator=generator, dtype=torch.float64) * 3 + 0.1


def test_the_uncorrected_loss_is_the_one_computed_by_hand() -> None:
    positive, negatives = torch.tensor([1.6, 1.6]), torch.tensor([[0.0, 9.0], [1.92, 0.5]])
    mask = torch.tensor([[False, True], [False, False]])
    first = math.log(math.exp(1.6) + math.exp(0.0)) - 1.6
    second = math.log(math.exp(1.6) + math.exp(1.92) + math.exp(0.5)) - 1.6
    loss = uncorrected(positive, negatives, mask, weights=torch.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx((3 * first + second) / 4, rel=1e-6)


def test_logq_corrects_every_logit_the_positives_too() -> None:
    positive, negatives = torch.tensor([1.6, 1.6]), torch.tensor([[0.0, 9.0], [1.92, 0.5]])
    mask = torch.tensor([[False, True], [False, False]])
    log_expected = torch.log(torch.tensor([0.75, 0.25])), torch.log(torch.tensor([[0.25, 0.5]]))
    own = 1.6 - math.log(0.75), 1.6 - math.log(0.25)
    first = math.log(math.exp(own[0]) + math.exp(-math.log(0.25))) - own[0]
    others = math.exp(1.92 - math.log(0.25)) + math.exp(0.5 - math.log(0.5))
    second = math.log(math.exp(own[1]) + others) - own[1]
    loss = logq(positive, negatives, mask, log_expected=log_expected)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_the_positive_excluded_form_leaves_the_positives_logit_alone() -> None:
    positive, negatives = torch.tensor([1.6]), torch.tensor([[0.0, 1.92, 9.0]])
    mask = torch.tensor([[False, False, True]])
    log_expected = torch.log(torch.tensor([[0.5, 1.5, 0.1]]))
    others = math.exp(0.0) / 0.5 + math.exp(1.92) / 1.5
    loss = positive_excluded(positive, negatives, mask, log_expected=log_expected)
    assert loss.item() == pytest.approx(math.log(math.exp(1.6) + others) - 1.6, rel=1e-6)


def test_a_constant_factor_of_the_counts_cancels_where_every_logit_is_corrected_and_only_there() -> None:
    positive, negatives, expected = scores()
    log_expected = torch.log(expected)
    own = torch.log(torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64))

    def every_logit(factor: float) -> float:
        shift = math.log(factor)
        pair = (own + shift, log_expected + shift)
        return logq(positive, negatives, NOTHING_MASKED, log_expected=pair).item()

    def excluded(factor: float) -> float:
        shifted = log_expected + math.log(factor)
        return positive_excluded(positive, negatives, NOTHING_MASKED, log_expected=shifted).item()

    assert every_logit(7.0) == pytest.approx(every_logit(1.0), rel=1e-12)
    assert excluded(7.0) < excluded(1.0) - 0.1


def weighted_form(positive: Tensor, negatives: Tensor, mask: Tensor, log_expected: Tensor) -> Tensor:
    """Khrylchenko et al. (2025): -sg[w]·(s_p - log Σ_k e^(s_k - log n·q'_k)), w = Z / (e^s_p + Z)."""
    corrected = (negatives - log_expected).masked_fill(mask, -math.inf)
    log_z = torch.logsumexp(corrected, dim=1)
    weight = torch.sigmoid(log_z - positive).detach()  # Z / (e^s_p + Z)
    return -(weight * (positive - log_z)).mean()


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("masked_share", [0.0, 0.4])
def test_the_positive_excluded_loss_has_the_gradient_of_the_papers_weighted_form(
    seed: int, masked_share: float
) -> None:
    positive, negatives, expected = scores(seed, rows=6, candidates=40)
    mask = torch.rand(6, 40, generator=torch.Generator().manual_seed(seed)) < masked_share
    gradients = []
    for loss_of in (
        lambda p, n: positive_excluded(p, n, mask, log_expected=torch.log(expected)),
        lambda p, n: weighted_form(p, n, mask, torch.log(expected)),
    ):
        inputs = positive.clone().requires_grad_(), negatives.clone().requires_grad_()
        gradients.append(torch.autograd.grad(loss_of(*inputs), inputs))
    for ours, papers in zip(*gradients, strict=True):
        assert papers.abs().max() > 0.01
        assert (ours - papers).abs().max() < 1e-12
    assert (gradients[0][1][mask] == 0).all()


def all_losses(positive: Tensor, negatives: Tensor, mask: Tensor, expected: Tensor, **options) -> dict[str, Tensor]:
    log_expected = torch.log(expected)
    own = torch.log(expected[:, 0])
    return {
        "none": uncorrected(positive, negatives, mask, **options),
        "logq": logq(positive, negatives, mask, log_expected=(own, log_expected), **options),
        "positive excluded": positive_excluded(positive, negatives, mask, log_expected=log_expected, **options),
    }


FORMS = ["none", "logq", "positive excluded"]


@pytest.mark.parametrize("form", FORMS)
def test_a_masked_candidate_changes_nothing_and_has_no_gradient(form: str) -> None:
    positive, negatives, expected = scores()
    mask = NOTHING_MASKED.clone()
    mask[0, 1] = mask[2, :2] = True
    negatives.requires_grad_()
    loss = all_losses(positive, negatives, mask, expected)[form]
    (gradient,) = torch.autograd.grad(loss, negatives)
    assert (gradient[mask] == 0).all()
    assert (gradient[~mask] > 0).all()
    other = torch.where(mask, torch.full_like(negatives, 50.0), negatives)
    assert all_losses(positive, other, mask, expected)[form].item() == loss.item()
    assert loss < all_losses(positive, negatives, NOTHING_MASKED, expected)[form]


@pytest.mark.parametrize("form", FORMS)
def test_weights_scale_each_pairs_share_of_the_loss(form: str) -> None:
    batch = *scores()[:2], NOTHING_MASKED, scores()[2]
    rows = [all_losses(*batch, weights=row)[form].item() for row in torch.eye(3, dtype=torch.float64)]
    weighted = all_losses(*batch, weights=torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))[form]
    assert weighted.item() == pytest.approx(np.average(rows, weights=[1, 2, 5]), rel=1e-9)
    assert all_losses(*batch)[form].item() == pytest.approx(np.mean(rows), rel=1e-9)
    assert len({round(row, 6) for row in rows}) == 3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("candidates", [0, 4])
def test_a_batch_without_any_negative_has_loss_zero_and_gradients_of_zero(form: str, candidates: int) -> None:
    positive, negatives, expected = scores()
    inputs = positive.requires_grad_(), negatives[:, :candidates].clone().requires_grad_()
    mask = torch.ones(3, candidates, dtype=torch.bool)
    log_expected = torch.log(expected[:, :candidates])
    losses = {
        "none": lambda: uncorrected(*inputs, mask),
        "logq": lambda: logq(*inputs, mask, log_expected=(torch.full((3,), -5.0), log_expected)),
        "positive excluded": lambda: positive_excluded(*inputs, mask, log_expected=log_expected),
    }
    loss = losses[form]()
    assert loss.item() == 0
    assert all((gradient == 0).all() for gradient in torch.autograd.grad(loss, inputs))


@pytest.mark.parametrize("form", FORMS)
def test_weights_of_zero_give_a_loss_of_zero(form: str) -> None:
    batch = *scores()[:2], NOTHING_MASKED, scores()[2]
    assert all_losses(*batch, weights=torch.zeros(3, dtype=torch.float64))[form].item() == 0


@pytest.mark.parametrize("form", FORMS)
def test_gradients_are_those_of_finite_differences(form: str) -> None:
    positive, negatives, expected = scores()
    mask = NOTHING_MASKED.clone()
    mask[1, 2] = mask[2, 0] = True
    weights = torch.tensor([1.0, 0.5, 2.0], dtype=torch.float64)
    inputs = positive.requires_grad_(), negatives.requires_grad_()
    assert torch.autograd.gradcheck(lambda p, n: all_losses(p, n, mask, expected, weights=weights)[form], inputs)


@pytest.mark.parametrize("form", FORMS)
def test_an_infinite_expected_count_or_score_of_a_masked_candidate_does_no_harm(form: str) -> None:
    positive, negatives, expected = scores()
    mask = NOTHING_MASKED.clone()
    mask[0, 1] = True
    expected[0, 1] = 0.0  # log 0 = -∞, and so the corrected logit +∞
    negatives.requires_grad_()
    loss = all_losses(positive, negatives, mask, expected)[form]
    (gradient,) = torch.autograd.grad(loss, negatives)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def inputs_of(
    rows: int, candidates: int, own: int, dtype: torch.dtype, **changes: Any
) -> tuple[list[Tensor], SoftmaxProblem]:
    """Queries, 6 vectors, shared vectors, and a problem whose pairs are among the 6 vectors."""
    generator = torch.Generator().manual_seed(rows)
    shapes = [(rows, 8), (6, 8), (candidates, 8), (candidates,), (rows, 1 + own)]
    inputs = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    inputs[:3] = [torch.nn.functional.normalize(tensor) for tensor in inputs[:3]]
    inputs[0] *= 5
    pair_index = torch.randint(6, (rows, 1 + own), generator=generator).numpy()  # most vectors several times
    weights = torch.rand(rows, generator=generator, dtype=torch.float64).to(dtype)
    queries, vectors, shared, column_offsets, pair_offsets = (tensor.to(dtype) for tensor in inputs)
    problem = softmax_problem(pair_index, pair_offsets, column_offsets, weights, **changes)
    return [queries, vectors, shared], problem


def loss_and_gradients(
    form: Callable[..., SoftmaxResult], inputs: list[Tensor], problem: SoftmaxProblem, **options: Any
) -> tuple[float, list[Tensor]]:
    """The loss by a form of the softmax, and its gradients by vectors and offsets."""
    result = form(*inputs, problem, **options)
    return result.loss, gradients_of_inputs(result)


def every_seventh(rows: int, candidates: int, dtype: torch.dtype) -> dict[str, Any]:
    """Masks some candidates, corrects others, and adds to the positives."""
    row, column = torch.arange(rows)[:, None], torch.arange(candidates)
    masked = (row + column) % 7 == 0
    return {
        "masked": sparse_rows(masked),
        "row_corrections": sparse_rows((row * column) % 5 > 0, -0.1 * ((row * column) % 5).to(dtype)),
        "column_count": 1 + np.arange(candidates) % 3,
        "unmasked": (~masked).numpy() @ (1 + np.arange(candidates) % 3),
        "expected_unmasked": 40.0 + np.arange(rows),
    }


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(("rows", "candidates", "own"), [(300, 90, 2), (1, 5, 0), (33, 0, 3), (70, 1, 0)])
@pytest.mark.parametrize(
    ("dtype", "bfloat16", "share", "tolerance"),
    [
        (torch.float64, False, np.inf, 1e-12),
        (torch.float64, False, 0.2, 1e-12),
        (torch.float32, False, np.inf, 1e-5),
        (torch.float32, True, np.inf, 2e-2),
    ],
)
def test_tiles_give_the_loss_and_the_gradients_of_the_plain_form(
    monkeypatch,
    threads: int,
    rows: int,
    candidates: int,
    own: int,
    dtype: torch.dtype,
    *,
    bfloat16: bool,
    share: float,
    tolerance: float,
) -> None:
    monkeypatch.setattr(softmax_module, "TILE", 64 * 90)  # so that 300 rows are several tiles
    inputs, problem = inputs_of(rows, candidates, own, dtype, **every_seventh(rows, candidates, dtype))
    problem.pair_offsets[::5, 1:] = -np.inf
    problem = replace(problem, positive_aware_share=share)
    with computing_threads(threads):
        result = sampled_softmax(*inputs, problem, bfloat16=bfloat16)
    plain = plain_softmax(*inputs, problem)
    assert result.loss == pytest.approx(plain.loss, rel=tolerance, abs=tolerance)
    assert result.close == plain.close
    assert (result.close > 0) == (share < np.inf and rows > 1)
    for one, other in zip(gradients_of_inputs(result), gradients_of_inputs(plain), strict=True):
        assert one.shape == other.shape
        scale = max(1e-30, other.abs().max().item()) if other.numel() else 1.0
        assert not other.numel() or (one - other).abs().max().item() <= tolerance * scale


def test_a_tile_never_grows_beyond_its_size(monkeypatch) -> None:
    sizes, solve = [], softmax_module._softmax_cross_entropy_in_place
    monkeypatch.setattr(softmax_module, "TILE", 64 * 96)

    def spy(scores, *arguments):
        sizes.append(len(scores))
        return solve(scores, *arguments)

    monkeypatch.setattr(softmax_module, "_softmax_cross_entropy_in_place", spy)
    loss_and_gradients(sampled_softmax, *inputs_of(300, 90, 0, torch.float32))
    assert sizes == [64, 64, 64, 64, 44]


@pytest.mark.parametrize("broken", [math.nan, math.inf])
@pytest.mark.parametrize("argument", range(5))
def test_nan_and_infinity_in_an_argument_reach_the_loss(broken: float, argument: int) -> None:
    inputs, problem = inputs_of(40, 90, 2, torch.float32)
    arrays = [*(tensor.numpy() for tensor in inputs), problem.column_offsets, problem.pair_offsets]
    arrays[argument][problem.pair_index[7, 0] if argument == 1 else 7] = broken
    assert not math.isfinite(loss_and_gradients(sampled_softmax, inputs, problem)[0])


def test_without_learned_offsets_their_gradient_is_0_and_the_others_are_unchanged() -> None:
    inputs, problem = inputs_of(40, 6, 2, torch.float64)
    loss, gradients = loss_and_gradients(sampled_softmax, inputs, problem)
    without, others = loss_and_gradients(sampled_softmax, inputs, problem, learned_offsets=False)
    assert without == loss
    assert gradients[3].abs().min() > 0
    assert torch.equal(others[3], torch.zeros(6, dtype=torch.float64))
    assert all(torch.equal(gradients[index], others[index]) for index in (0, 1, 2, 4))


def test_negatives_above_a_share_of_a_positive_score_are_masked() -> None:
    queries = torch.eye(3, 5)
    shared = torch.zeros(4, 5)
    shared[:, :3] = torch.tensor([[0.77, 0.75, 0.9, -1.0], [0.5, -0.2, -0.19, -0.3], [0.1, 0.0, 0.2, -0.1]]).T
    vectors = torch.diag(torch.tensor([0.8, -0.2, 0.0, 0.0, 0.0]))[:3]
    per_row = CANDIDATES_ARE == "per row"
    items = torch.cat([vectors, shared])
    pair_index = np.concatenate([np.arange(3)[:, None], 3 + np.tile(np.arange(4), (3, 1))], axis=1)
    pair_index, shared = (pair_index, shared[:0]) if per_row else (pair_index[:, :1], shared)
    pair_offsets, column_offsets = torch.zeros(pair_index.shape), torch.zeros(len(shared))
    count = np.array([1, 1, 5, 1])[: len(shared)]
    weights = torch.ones(3)
    for share, expected in ((0.95, [(0, 0), (0, 2)]), (np.inf, [])):
        changes = {"positive_aware_share": share, "column_count": count}
        problem = softmax_problem(pair_index, pair_offsets, column_offsets, weights, **changes)
        result = sampled_softmax(queries, items, shared, problem)
        gradient = result.grad_pair_offsets[:, 1:] if per_row else result.grad_column_offsets[None]
        if per_row:
            assert (gradient == 0).nonzero().tolist() == [list(place) for place in expected]
        else:
            logits = SoftmaxTensors.of(problem).logits(queries, items, shared)
            assert logits.masked.nonzero().tolist() == [list(place) for place in expected]
        assert result.close == sum(1 if per_row else int(count[column]) for _, column in expected)

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from twotower_assets.two_tower.losses import positive_excluded_softmax, sampled_softmax

NOTHING_MASKED = torch.zeros(3, 4, dtype=torch.bool)


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
    loss = sampled_softmax(positive, negatives, mask, weights=torch.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx((3 * first + second) / 4, rel=1e-6)


def test_logq_corrects_every_logit_the_positives_too() -> None:
    positive, negatives = torch.tensor([1.6, 1.6]), torch.tensor([[0.0, 9.0], [1.92, 0.5]])
    mask = torch.tensor([[False, True], [False, False]])
    log_expected = torch.log(torch.tensor([0.75, 0.25])), torch.log(torch.tensor([[0.25, 0.5]]))
    own = 1.6 - math.log(0.75), 1.6 - math.log(0.25)
    first = math.log(math.exp(own[0]) + math.exp(-math.log(0.25))) - own[0]
    others = math.exp(1.92 - math.log(0.25)) + math.exp(0.5 - math.log(0.5))
    second = math.log(math.exp(own[1]) + others) - own[1]
    loss = sampled_softmax(positive, negatives, mask, log_expected=log_expected)
    assert loss.item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_the_positive_excluded_form_leaves_the_positives_logit_alone() -> None:
    positive, negatives = torch.tensor([1.6]), torch.tensor([[0.0, 1.92, 9.0]])
    mask = torch.tensor([[False, False, True]])
    log_expected = torch.log(torch.tensor([[0.5, 1.5, 0.1]]))
    others = math.exp(0.0) / 0.5 + math.exp(1.92) / 1.5
    loss = positive_excluded_softmax(positive, negatives, mask, log_expected=log_expected)
    assert loss.item() == pytest.approx(math.log(math.exp(1.6) + others) - 1.6, rel=1e-6)


def test_a_constant_factor_of_the_counts_cancels_where_every_logit_is_corrected_and_only_there() -> None:
    positive, negatives, expected = scores()
    log_expected = torch.log(expected)
    own = torch.log(torch.tensor([0.3, 1.0, 2.0], dtype=torch.float64))

    def logq(factor: float) -> float:
        shift = math.log(factor)
        pair = (own + shift, log_expected + shift)
        return sampled_softmax(positive, negatives, NOTHING_MASKED, log_expected=pair).item()

    def excluded(factor: float) -> float:
        shifted = log_expected + math.log(factor)
        return positive_excluded_softmax(positive, negatives, NOTHING_MASKED, log_expected=shifted).item()

    assert logq(7.0) == pytest.approx(logq(1.0), rel=1e-12)
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
        lambda p, n: positive_excluded_softmax(p, n, mask, log_expected=torch.log(expected)),
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
        "none": sampled_softmax(positive, negatives, mask, **options),
        "logq": sampled_softmax(positive, negatives, mask, log_expected=(own, log_expected), **options),
        "positive excluded": positive_excluded_softmax(positive, negatives, mask, log_expected=log_expected, **options),
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
        "none": lambda: sampled_softmax(*inputs, mask),
        "logq": lambda: sampled_softmax(*inputs, mask, log_expected=(torch.full((3,), -5.0), log_expected)),
        "positive excluded": lambda: positive_excluded_softmax(*inputs, mask, log_expected=log_expected),
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

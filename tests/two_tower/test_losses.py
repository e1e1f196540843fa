import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from twotower_assets.two_tower.losses import false_negative_mask, in_batch_softmax

DISTINCT = torch.arange(3)


def batch(seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(normalize(torch.randn(3, 4, generator=generator), dim=1) for _ in range(2))  # type: ignore[return-value]


def test_two_pairs_give_the_loss_computed_by_hand() -> None:
    users = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    items = torch.tensor([[0.8, 0.6], [0.0, 1.0]])
    # Cosines .8, 0 / .96, .8; over τ = .5, 1.6, 0 / 1.92, 1.6; less log q of .75 and .25.
    rows = [(1.6 - math.log(0.75), 0.0 - math.log(0.25)), (1.92 - math.log(0.75), 1.6 - math.log(0.25))]
    expected = [math.log(math.exp(a) + math.exp(b)) for a, b in rows]
    expected[0] -= rows[0][0]
    expected[1] -= rows[1][1]
    loss = in_batch_softmax(
        users,
        items,
        user=torch.tensor([0, 1]),
        item=torch.tensor([0, 1]),
        temperature=0.5,
        log_q=torch.log(torch.tensor([0.75, 0.25])),
        weights=torch.tensor([3.0, 1.0]),
    )
    assert loss.item() == pytest.approx((3 * expected[0] + expected[1]) / 4, rel=1e-6)


def test_the_mask_names_accidental_hits_and_repeats_of_the_user_but_no_positive() -> None:
    mask = false_negative_mask(user=torch.tensor([0, 1, 0, 2]), item=torch.tensor([5, 5, 6, 7]))
    assert mask.nonzero().tolist() == [[0, 1], [0, 2], [1, 0], [2, 0]]


@pytest.mark.parametrize(
    ("user", "item"),
    [(DISTINCT, torch.tensor([0, 0, 1])), (torch.tensor([0, 0, 1]), DISTINCT)],
    ids=["accidental hit", "repeat of the user"],
)
def test_a_false_negative_changes_nothing_for_the_row_it_is_masked_in(user: Tensor, item: Tensor) -> None:
    users, items = batch()
    only_first_row = torch.tensor([1.0, 0.0, 0.0])
    items.requires_grad_()

    def loss(user: Tensor, item: Tensor) -> Tensor:
        return in_batch_softmax(users, items, user=user, item=item, temperature=0.1, weights=only_first_row)

    masked = loss(user, item)
    masked.backward()  # type: ignore[no-untyped-call]
    assert items.grad is not None
    assert items.grad[1].abs().sum() == 0
    assert items.grad[2].abs().sum() > 0
    assert masked < loss(DISTINCT, DISTINCT)


def test_weights_scale_each_pairs_share_of_the_loss() -> None:
    users, items = batch()
    rows = [
        in_batch_softmax(users, items, user=DISTINCT, item=DISTINCT, temperature=0.2, weights=torch.eye(3)[row]).item()
        for row in range(3)
    ]
    weighted = in_batch_softmax(
        users, items, user=DISTINCT, item=DISTINCT, temperature=0.2, weights=torch.tensor([1.0, 2.0, 5.0])
    )
    assert weighted.item() == pytest.approx(np.average(rows, weights=[1, 2, 5]), rel=1e-5)
    unweighted = in_batch_softmax(users, items, user=DISTINCT, item=DISTINCT, temperature=0.2)
    assert unweighted.item() == pytest.approx(np.mean(rows), rel=1e-5)


def test_a_batch_without_any_negative_has_loss_zero_and_finite_gradients() -> None:
    users, items = (vectors.requires_grad_() for vectors in batch())
    same = torch.zeros(3, dtype=torch.int64)
    loss = in_batch_softmax(users, items, user=same, item=DISTINCT, temperature=0.01, log_q=torch.full((3,), -5.0))
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert users.grad is not None
    assert users.grad.abs().sum() == 0
    assert items.grad is not None
    assert items.grad.isfinite().all()


def test_weights_of_zero_give_a_loss_of_zero() -> None:
    users, items = batch()
    loss = in_batch_softmax(users, items, user=DISTINCT, item=DISTINCT, temperature=0.1, weights=torch.zeros(3))
    assert loss.item() == 0


class Simulation:
    """Ten user types and eight items of known joint distribution p(u, i), fitted with free score tables."""

    def __init__(self) -> None:
        generator = np.random.default_rng(3)
        joint = np.exp(generator.normal(0, 0.7, (10, 8))) * np.exp(np.linspace(0, 2.5, 8))
        self.joint = joint / joint.sum()
        self.q = self.joint.sum(axis=0)
        given_user = self.joint / self.joint.sum(axis=1, keepdims=True)
        self.log_p = np.log(given_user)
        self.pmi = np.log(given_user / self.q)

    def fitted_scores(self, *, corrected: bool) -> np.ndarray:
        """Scores that minimise the loss over batches of sampled pairs."""
        generator = np.random.default_rng(5)
        scores = torch.zeros(10, 8, requires_grad=True)
        optimizer = torch.optim.Adam([scores], lr=0.05)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 300)
        log_q = torch.tensor(np.log(self.q), dtype=torch.float32)
        for _ in range(300):
            drawn = generator.choice(80, size=512, p=self.joint.ravel())
            user, item = torch.from_numpy(drawn // 8), torch.from_numpy(drawn % 8)
            loss = in_batch_softmax(
                scores[user],
                torch.eye(8)[item],
                user=torch.arange(512),
                item=torch.arange(512),  # every pair is of its own user and item: no masks
                temperature=1.0,
                log_q=log_q[item] if corrected else None,
            )
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        return scores.detach().numpy()


def distance(scores: np.ndarray, target: np.ndarray) -> float:
    """RMSE after the constant of each user is taken out."""
    difference = scores - target
    return float(np.sqrt(np.mean((difference - difference.mean(axis=1, keepdims=True)) ** 2)))


def test_the_uncorrected_softmax_learns_pmi_and_logq_learns_the_click_probability() -> None:
    simulation = Simulation()
    uncorrected = simulation.fitted_scores(corrected=False)
    corrected = simulation.fitted_scores(corrected=True)
    assert distance(uncorrected, simulation.pmi) < 0.15
    assert distance(uncorrected, simulation.log_p) > 0.6
    assert distance(corrected, simulation.log_p) < 0.15
    assert distance(corrected, simulation.pmi) > 0.6

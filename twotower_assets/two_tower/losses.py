"""The sampled softmax in its three forms: uncorrected, logQ on every logit, logQ with the positive left alone.

Here: functions of scores and expected counts, with no state. Not here: which candidates there are (`negatives.py`),
which of them are masked (`masks.py`), and how vectors become scores (`objective.py`).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def sampled_softmax(
    positive: Tensor,
    negatives: Tensor,
    mask: Tensor,
    *,
    log_expected: tuple[Tensor, Tensor] | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Softmax cross-entropy of each positive against its own negatives.

    Without `log_expected`, where every negative j is drawn in proportion to q_j, the optimum is PMI(u, i) +
    constant(u). With it every logit is corrected, the positive's too (Yi et al. 2019, RecSys), s - log E[count]: the
    optimum is log p(i|u) + constant(u), whatever the negatives were drawn from.

    Args:
        positive: float [B], scores of the positives.
        negatives: float [B, C], scores of the candidates.
        mask: bool [B, C], true where a candidate is no negative of the row.
        log_expected: log of how often the positive [B] and each candidate [B, C] or [1, C] is expected among the
            row's negatives; any constant factor cancels.
        weights: float [B], not negative, or None for 1 each.

    Returns:
        Scalar. A row without negatives adds 0 and has no gradient; if all weights are 0, so is the loss.
    """
    if log_expected is not None:
        positive, negatives = positive - log_expected[0], negatives - log_expected[1]
    return _cross_entropy(positive, negatives, mask, weights)


def positive_excluded_softmax(
    positive: Tensor,
    negatives: Tensor,
    mask: Tensor,
    *,
    log_expected: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """Softmax cross-entropy over [s_p, s_k - log(n·q′_k)]: the positive is not corrected.

    q′_k is the probability of a negative given that it was not masked, n the number of negatives that the row has
    left, so that the sum over negatives estimates the sum over all items but the masked. Here log n matters, and so
    does the mask of accidental hits. The gradient is that of the weighted form of Khrylchenko et al. (2025, RecSys).

    Args:
        log_expected: float [B, C], log(n·q′_k).
        positive, negatives, mask, weights: as for `sampled_softmax`.

    Returns:
        Scalar, as `sampled_softmax`.
    """
    return _cross_entropy(positive, negatives - log_expected, mask, weights)


def _cross_entropy(positive: Tensor, negatives: Tensor, mask: Tensor, weights: Tensor | None) -> Tensor:
    logits = torch.cat([positive[:, None], negatives.masked_fill(mask, float("-inf"))], dim=1)  # (B, 1 + C)
    target = torch.zeros(len(logits), dtype=torch.int64, device=logits.device)
    losses = functional.cross_entropy(logits, target, reduction="none")  # (B,)
    if weights is None:
        return losses.mean()
    return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)

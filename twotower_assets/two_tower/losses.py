"""The in-batch sampled softmax: which logits, which corrections, which masks.

Here: functions of tensors with no state. Not here: how batches are drawn, and how vectors are computed.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def false_negative_mask(user: Tensor, item: Tensor) -> Tensor:
    """Which columns must not be negatives of which rows.

    Args:
        user: int64 [B], the user of each pair.
        item: int64 [B], the item of each pair.

    Returns:
        bool [B, B]; true at (i, j), j ≠ i, where pair j has the same item as pair i (an accidental hit) or
        the same user (another positive of that user). The diagonal is false.
    """
    mask = (item[:, None] == item[None, :]) | (user[:, None] == user[None, :])  # (B, B)
    return mask.fill_diagonal_(False)


def in_batch_softmax(
    user_vectors: Tensor,
    item_vectors: Tensor,
    *,
    user: Tensor,
    item: Tensor,
    temperature: float,
    log_q: Tensor | None = None,
    weights: Tensor | None = None,
) -> Tensor:
    """Sampled softmax cross-entropy in which the items of the other pairs are the negatives.

    1. s_ij = ⟨u_i, v_j⟩ / τ.
    2. With `log_q`, s_ij - log q_j on every logit, the positive included (Yi et al. 2019, RecSys): the
       optimum is log p(i|u) + constant(u). Without it, the optimum is PMI(u, i) + constant(u).
    3. False negatives (see `false_negative_mask`) become -∞.
    4. Cross-entropy of each row against its diagonal, averaged with the pairs' weights.

    Args:
        user_vectors: float [B, d], normalised by the tower.
        item_vectors: float [B, d], normalised by the tower.
        user: int64 [B], for the mask.
        item: int64 [B], for the mask.
        temperature: τ > 0.
        log_q: float [B], log of each item's probability of being drawn as a negative, or None.
        weights: float [B], not negative, or None for 1 each.

    Returns:
        Scalar. A row without negatives adds 0 and has no gradient; if all weights are 0, so is the loss.
    """
    correction = item_vectors.new_zeros(len(item)) if log_q is None else -log_q  # (B,)
    logits = torch.addmm(correction[None, :], user_vectors / temperature, item_vectors.T)  # (B, B)
    logits = logits.masked_fill_(false_negative_mask(user, item), float("-inf"))
    positives = torch.arange(len(logits), device=logits.device)
    losses = functional.cross_entropy(logits, positives, reduction="none")  # (B,)
    if weights is None:
        return losses.mean()
    return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)

"""The sampled softmax as one would write it down: all scores at once, gradients by torch's own differentiation.

Here: what `losses.sampled_softmax` is held to. Not here: the tests.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from twotower_assets.two_tower.losses import Edit


@dataclass
class Plain:
    """The loss, the scores [B, S + K] of all candidates, corrected; which are masked; the positives' [B]."""

    loss: Tensor
    scores: Tensor
    mask: Tensor
    positive: Tensor


def plain_softmax(
    queries: Tensor,
    vectors: Tensor,
    shared: Tensor,
    offsets: Tensor,
    places: npt.NDArray[np.int64],
    terms: Tensor,
    *,
    weights: Tensor,
    edit: Edit | None = None,
    bfloat16: bool = False,
) -> Plain:
    """As `sampled_softmax`."""
    products = queries @ shared.T
    pairs = torch.einsum("bd,bkd->bk", queries, vectors[torch.from_numpy(places)])
    edited, edited_pairs = products.detach().clone(), pairs.detach().clone()
    of_positives, of_candidates = edit(0, edited, edited_pairs) if edit is not None else (None, None)
    own_left_out = (edited_pairs + terms.detach())[:, 1:] == -torch.inf
    mask = torch.cat([edited == -torch.inf, own_left_out], dim=1)
    corrected = products + offsets
    if of_candidates is not None:
        corrected = corrected + of_candidates.masked_fill(edited == -torch.inf, 0.0)
    scores = torch.cat([corrected, (pairs + terms)[:, 1:].masked_fill(own_left_out, 0.0)], dim=1)
    positive = (pairs + terms)[:, 0]
    chosen = positive if of_positives is None else positive + of_positives
    if scores.requires_grad:
        scores.retain_grad()
        chosen.retain_grad()
    logits = torch.cat([chosen[:, None], scores.masked_fill(mask, -torch.inf)], dim=1)
    losses = torch.logsumexp(logits, dim=1) - chosen
    loss = (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)
    return Plain(loss, scores, mask, chosen)

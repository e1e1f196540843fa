"""The sampled softmax by plain operations of PyTorch, on any device, with autograd.

Here: a `SoftmaxProblem` as tensors of a device, its logits, and their loss; all [B, S] scores exist at once. Not here:
vectors (`towers`), and the same in compiled tiles (`compiled_softmax.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from twotower_assets.two_tower.kernels.processor import to_device
from twotower_assets.two_tower.sampling.batch_problem import SoftmaxProblem, SparseRows


@dataclass(frozen=True)
class Logits:
    """The logits of B rows.

    Attributes:
        positive: float [B].
        negatives: float [B, S + K], of the shared candidates, then of the per-row negatives; finite where masked.
        masked: bool [B, S + K].
        close: int64 [], how many candidates `positive_aware_share` masked.
    """

    positive: Tensor
    negatives: Tensor
    masked: Tensor
    close: Tensor

    def loss(self, weights: Tensor) -> Tensor:
        """Weighted mean over rows of the softmax cross-entropy, float []; 0 if all weights are."""
        candidates = self.negatives.masked_fill(self.masked, -torch.inf)
        losses = torch.logsumexp(torch.cat([self.positive[:, None], candidates], dim=1), dim=1) - self.positive
        return (losses * weights).sum() / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)


@dataclass(frozen=True)
class SoftmaxTensors:
    """A `SoftmaxProblem` on a device, attribute by attribute; `corrected` and `masked` are rows and columns int64 [m].

    No operation on it waits for the device.
    """

    pair_index: Tensor
    pair_offsets: Tensor
    column_offsets: Tensor
    column_count: Tensor
    masked: tuple[Tensor, Tensor]
    corrected: tuple[Tensor, Tensor]
    row_corrections: Tensor
    weights: Tensor
    unmasked: Tensor
    expected_unmasked: Tensor
    positive_aware_share: float

    @classmethod
    def of(cls, problem: SoftmaxProblem, device: torch.device | str = "cpu") -> SoftmaxTensors:
        """Copies on a device; on the processor, tensors that share the memory of the problem."""

        def tensor(array: np.ndarray) -> Tensor:
            return to_device(torch.from_numpy(array), device)

        def places(rows: SparseRows) -> tuple[Tensor, Tensor]:
            offsets, columns = tensor(rows.offsets), tensor(rows.columns).long()
            row = torch.arange(len(rows.offsets) - 1, device=device)
            return torch.repeat_interleave(row, offsets.diff(), output_size=len(rows.columns)), columns

        return cls(
            pair_index=tensor(problem.pair_index),
            pair_offsets=tensor(problem.pair_offsets),
            column_offsets=tensor(problem.column_offsets),
            column_count=tensor(problem.column_count),
            masked=places(problem.masked),
            corrected=places(problem.row_corrections),
            row_corrections=tensor(problem.row_corrections.values),
            weights=tensor(problem.weights),
            unmasked=tensor(problem.unmasked),
            expected_unmasked=tensor(problem.expected_unmasked),
            positive_aware_share=problem.positive_aware_share,
        )

    def logits(self, queries: Tensor, vectors: Tensor, shared: Tensor) -> Logits:
        """The logits of queries float [B, d], the D distinct items [D, d], and the shared candidates [S, d]."""
        products = (queries @ shared.T).to(self.column_offsets.dtype)
        pairs = (queries[:, None, :] * vectors[self.pair_index]).sum(-1).to(products.dtype)
        masked = torch.zeros_like(products, dtype=torch.bool)
        masked[self.masked] = True
        pairs_masked = self.pair_offsets == -torch.inf
        if self.positive_aware_share < np.inf:
            positive = pairs[:, :1].detach()
            limit = torch.where(positive > 0, self.positive_aware_share * positive, torch.inf)
            close = (products.detach() > limit) & ~masked
            pairs_close = (pairs.detach() > limit) & ~pairs_masked
            pairs_close[:, 0] = False
            masked, pairs_masked = masked | close, pairs_masked | pairs_close
            close_count = (close * self.column_count).sum(dim=1)
            all_close = close_count.sum() + pairs_close.sum()
        else:
            close_count = torch.zeros_like(self.unmasked)
            all_close = close_count.sum()
        corrections = torch.zeros_like(products).index_put(self.corrected, self.row_corrections)
        negatives = products + self.column_offsets + corrections
        row_negatives = pairs + self.pair_offsets.masked_fill(pairs_masked, 0.0)
        positive = row_negatives[:, 0]
        if len(self.expected_unmasked):
            remaining = (self.unmasked - close_count).clamp_min(1).double()
            positive = positive + (remaining / self.expected_unmasked).log().to(positive.dtype)
        return Logits(
            positive=positive,
            negatives=torch.cat([negatives, row_negatives[:, 1:]], dim=1),
            masked=torch.cat([masked, pairs_masked[:, 1:]], dim=1),
            close=all_close,
        )

"""The engine for any device that PyTorch knows: plain operations, and gradients by autograd.

Here: a batch's problem to a device, the loss, and gradients back. Not here: the softmax (`torch_softmax.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from twotower_assets.two_tower.kernels import processor
from twotower_assets.two_tower.kernels.processor import to_device
from twotower_assets.two_tower.loss.compiled_engine import queue_after
from twotower_assets.two_tower.loss.engine import Loss
from twotower_assets.two_tower.loss.torch_softmax import Logits, SoftmaxTensors
from twotower_assets.two_tower.sampling.batch_problem import BatchProblem
from twotower_assets.two_tower.towers.model import Towers
from twotower_assets.two_tower.towers.tower import TowerInputs


class TorchEngine:
    """Solves problems with any towers, through their `vjp`, on the device of the towers.

    All [B, S] scores of a batch exist at once, a few times: memory is O(B·S).
    """

    def __init__(
        self,
        dimensions: int,
        *,
        device: torch.device | str = "cpu",
        bfloat16: bool = False,
        loss: Callable[[Logits, Tensor], Tensor] = Logits.loss,
    ) -> None:
        """An engine without a queue yet.

        Args:
            dimensions: Of the vectors.
            device: Of the towers.
            bfloat16: Matrix products under autocast; those of the towers too, where these run no compiled loops.
            loss: The loss float [] of the logits and of the weights float [B] of the rows.
        """
        self._device, self._bfloat16, self._loss = torch.device(device), bfloat16, loss
        self.queue = torch.zeros(0, dimensions, device=self._device)
        """The vectors of the queue, oldest first, float32 [queued, d]."""

    def loss(self, towers: Towers, problem: BatchProblem) -> Loss:
        """As `Engine.loss`."""
        compiled = processor.runs_compiled_loops(self._device)
        with nullcontext() if compiled else self._products():
            queries, queries_backward = towers.queries_vjp(
                TowerInputs.of(problem.users, problem.history).to(self._device)
            )
            vectors, vectors_backward = towers.items_vjp(TowerInputs.of(problem.items).to(self._device))
        queries, vectors = (tensor.detach().requires_grad_() for tensor in (queries, vectors))
        columns = len(problem.candidates) - problem.queued  # of this batch
        tensors, bias, bias_backward = SoftmaxTensors.of(problem.softmax, self._device), None, None
        penalty: Tensor | float = 0.0
        with torch.enable_grad():
            shared = vectors[:columns]
            if problem.shared_gradient_scale is not None:
                shared = _ScaledGradient.apply(  # type: ignore[no-untyped-call]
                    shared, to_device(torch.from_numpy(problem.shared_gradient_scale), self._device)[:, None]
                )
            shared = torch.cat([shared, self.queue]) if problem.queued else shared
            if towers.item_bias is not None and problem.biases is not None:
                ids = to_device(torch.from_numpy(problem.biases.ids), self._device)
                column, bias_backward = towers.item_bias.vjp(ids)
                bias = column.detach().requires_grad_()
                pairs, queued = bias[:, 0][tensors.pair_index], len(ids) - problem.queued
                tensors = replace(
                    tensors,
                    pair_offsets=tensors.pair_offsets + pairs,
                    column_offsets=tensors.column_offsets + torch.cat([bias[:columns, 0], bias[queued:, 0]]),
                )
                start = to_device(torch.from_numpy(problem.biases.start), self._device)
                penalty = problem.biases.penalty * (pairs[:, 0] - start).square().mean()
            with self._products():
                logits = tensors.logits(queries, vectors, shared)
            loss = self._loss(logits, tensors.weights) + penalty
        positives = vectors.detach()[tensors.pair_index[:, 0]]
        self.queue = queue_after(self.queue, positives, problem.queued_after)

        def backward() -> None:
            loss.backward()  # type: ignore[no-untyped-call]
            queries_backward(gradient_of(queries))
            vectors_backward(gradient_of(vectors))
            if bias is not None and bias_backward is not None:
                bias_backward(gradient_of(bias))

        return Loss(loss.detach(), backward, logits.close)

    def _products(self) -> AbstractContextManager[object]:
        """Where matrix products are of bfloat16, if that is asked for."""
        return torch.autocast(self._device.type, torch.bfloat16) if self._bfloat16 else nullcontext()

    def state_dict(self) -> dict[str, Tensor]:
        """As `Engine.state_dict`."""
        return {"queue": self.queue}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """As `Engine.load_state_dict`."""
        self.queue = state["queue"].to(self._device, copy=True)


def gradient_of(leaf: Tensor) -> Tensor:
    """The gradient of a tensor; zeros if the loss does not depend on it."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad


class _ScaledGradient(torch.autograd.Function):
    """A tensor as it is, whose gradient is multiplied by factors."""

    @staticmethod
    def forward(ctx, tensor: Tensor, factors: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
        """The tensor."""
        ctx.save_for_backward(factors)
        return tensor.view_as(tensor)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None]:  # type: ignore[no-untyped-def]
        """The gradient times the factors."""
        return gradient * ctx.saved_tensors[0], None

"""What a tower is: inputs in, vectors of length 1 out, and a function that takes their gradient back.

Here: the inputs, the interface, and the base class of towers that are written in PyTorch. Not here: the tower that
comes with the platform (`compiled_towers.py`), and the two towers of a model (`model.py`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from twotower_assets.core.ragged import Ragged
from twotower_assets.two_tower.data.encoders import SideEncoder, SideInputs
from twotower_assets.two_tower.kernels.processor import to_device
from twotower_assets.two_tower.towers.embedding_tables import EmbeddingTable

SMALLEST_NORM = 1e-12
"""Shorter vectors are divided by this, as in `torch.nn.functional.normalize`."""


@dataclass(frozen=True)
class History:
    """The items that n users clicked last, oldest first: those of row r are values[offsets[r]:offsets[r + 1]].

    Attributes:
        offsets: int64 [n + 1].
        values: int64 [offsets[-1]], rows of items from 1 to `TowerShape.items` - 1. A history may be empty.
    """

    offsets: Tensor
    values: Tensor

    def padded(self, length: int) -> Tensor:
        """The last `length` items of each row, oldest first and from the left, int64 [n, length]; 0 where none is."""
        sizes = self.offsets.diff()
        kept = sizes.clamp(max=length)
        place = torch.arange(length, device=self.offsets.device)
        index = (self.offsets[1:] - kept)[:, None] + place
        there = place < kept[:, None]
        if not len(self.values):
            return torch.zeros_like(index)
        return torch.where(there, self.values[index.clamp(max=len(self.values) - 1)], 0)


@dataclass(frozen=True)
class PaddedHistory:
    """A history that is padded already, as exported towers get it: `items` int64 [n, length], 0 where none is."""

    items: Tensor

    def padded(self, length: int) -> Tensor:
        """`items`. Raises `TowerError` for another length than they have."""
        if self.items.shape[1] != length:
            raise TowerError(f"the history has room for {self.items.shape[1]} items, but the tower asks for {length}")
        return self.items


@dataclass(frozen=True)
class TowerInputs:
    """The inputs of a tower for n rows.

    Attributes:
        ids: int64 [n]; row 0 of a table is the unknown id, which replaces a share of the ids in training.
        categorical: int64 [n, c], a value of each categorical feature; 0 is the unknown value.
        numeric: float32 [n, m], standardised; 0 where a value is missing.
        history: of users; None for items.
    """

    ids: Tensor
    categorical: Tensor
    numeric: Tensor
    history: History | PaddedHistory | None = None

    @classmethod
    def of(cls, side: SideInputs, history: Ragged | None = None) -> TowerInputs:
        """Tensors that share the memory of encoded rows."""
        ids, categorical, numeric = (torch.from_numpy(array) for array in (side.ids, side.categorical, side.numeric))
        if history is None:
            return cls(ids, categorical, numeric)
        return cls(
            ids, categorical, numeric, History(torch.from_numpy(history.offsets), torch.from_numpy(history.values))
        )

    def to(self, device: torch.device) -> TowerInputs:
        """The same on a device, copied while the processor goes on."""

        history = self.history
        if isinstance(history, History):
            history = History(to_device(history.offsets, device), to_device(history.values, device))
        elif history is not None:
            history = PaddedHistory(to_device(history.items, device))
        ids, categorical, numeric = (to_device(one, device) for one in (self.ids, self.categorical, self.numeric))
        return TowerInputs(ids, categorical, numeric, history)

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TowerShape:
    """What a tower is made for.

    Attributes:
        dimensions: d, the length of its vectors.
        ids: rows of a table of ids, the unknown one (0) included.
        categorical: for each categorical feature, the rows of a table of its values, the unknown one (0) included.
        numeric: m, the number of numeric features.
        items: rows of a table of items, for histories. Row 0 stands in no history.
        history_length: the most items of a history; 0 for the item tower.
        initial_scale: standard deviation of embeddings at the start.
    """

    dimensions: int
    ids: int
    categorical: tuple[int, ...]
    numeric: int
    items: int
    history_length: int
    initial_scale: float

    @classmethod
    def of(
        cls, side: SideEncoder, dimensions: int, items: int, history_length: int, initial_scale: float
    ) -> TowerShape:
        """The shape that the encoder of a side asks for."""
        values = tuple(vocabulary.size for vocabulary in side.categorical.values())
        return cls(dimensions, side.embedded_ids + 1, values, len(side.numeric), items, history_length, initial_scale)


class Tower(Protocol):
    """A user tower or an item tower."""

    @property
    def dimensions(self) -> int:
        """d, the length of its vectors."""

    def encode(self, inputs: TowerInputs) -> Tensor:
        """Vectors float32 [n, d] of length 1, without gradients: what serving and export use."""

    def vjp(self, inputs: TowerInputs, length: float = 1.0) -> tuple[Tensor, Callable[[Tensor], None]]:
        """The vectors of `encode` times `length`, and the function that turns their gradient into those of the weights.

        The gradients of tables are in `EmbeddingTable.gradient`, those of all other parameters in `grad`.
        """


def torch_vjp(tower: nn.Module, vectors_of: Callable[[], Tensor]) -> tuple[Tensor, Callable[[Tensor], None]]:
    """`Tower.vjp` by autograd, of what `vectors_of` computes with the weights of `tower`."""
    with torch.enable_grad():
        vectors = vectors_of()

    def backward(gradient: Tensor) -> None:
        torch.autograd.backward(vectors, gradient)
        tables = {id(module.weight) for module in tower.modules() if isinstance(module, EmbeddingTable)}
        for parameter in tower.parameters():
            if parameter.requires_grad and parameter.grad is None and id(parameter) not in tables:
                parameter.grad = torch.zeros_like(parameter)  # nothing of it was used in this batch

    return vectors.detach(), backward


class TorchTower(nn.Module, ABC):
    """A tower of one's own: `forward` gives a vector per row, by any operations of PyTorch.

    Its constructor takes a `TowerShape` first, then the parameters that the recipe gives. Vectors are normalised to
    length 1 outside of `forward`. Gradients come by autograd; those of a `table` cover only the rows of the batch.
    """

    def __init__(self, shape: TowerShape) -> None:
        super().__init__()
        self.shape = shape

    @abstractmethod
    def forward(self, inputs: TowerInputs) -> Tensor:
        """Float32 [n, d] of any length above 0."""

    @property
    def dimensions(self) -> int:
        """d, the length of its vectors."""
        return self.shape.dimensions

    def table(self, rows: int, dimensions: int | None = None) -> EmbeddingTable:
        """A table of vectors float32 [rows, dimensions], of which a training step touches only the rows it needs."""
        return EmbeddingTable(rows, dimensions or self.shape.dimensions, self.shape.initial_scale)

    @torch.no_grad()
    def encode(self, inputs: TowerInputs) -> Tensor:
        """Vectors float32 [n, d] of length 1. Raises `TowerError` for a `forward` that gives something else."""
        return self._unit(inputs)

    def vjp(self, inputs: TowerInputs, length: float = 1.0) -> tuple[Tensor, Callable[[Tensor], None]]:
        """As `Tower.vjp`. Raises `TowerError` for a `forward` that gives no vector per row."""
        return torch_vjp(self, lambda: self._unit(inputs) * length)

    def _unit(self, inputs: TowerInputs) -> Tensor:
        vectors = self(inputs)
        expected = (len(inputs), self.dimensions)
        if not isinstance(vectors, Tensor) or tuple(vectors.shape) != expected:
            found = list(vectors.shape) if isinstance(vectors, Tensor) else type(vectors).__name__
            raise TowerError(
                f"{type(self).__name__}.forward must give a vector per row, float32 {list(expected)}; it gave {found}"
            )
        return functional.normalize(vectors, dim=1, eps=SMALLEST_NORM)


class TowerError(ValueError):
    """A tower does not do what `Tower` asks for; the message says what was expected and what was found."""

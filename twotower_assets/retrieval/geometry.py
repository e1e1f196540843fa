"""How items and queries are laid out, so that any score, at any popularity weight, is a search for the nearest.

The score is ⟨u, v⟩/τ + b + w·log q. Here it becomes an inner product or a distance of vectors, and is read back
from what FAISS answers. Which index holds the vectors is decided in `index`.

Four steps, none of which changes a score:

1. Centred: b and log q are stored less their means. Otherwise all items have a large coordinate in common, and a
   graph's edges lead along it.
2. Uncorrelated: a learned bias often holds much of log q. Stored is b less its regression on log q, and the slope is
   asked for with w, so that a layout does not depend on where the model keeps its popularity.
3. Scaled: both are shrunk until their spread is `POPULARITY_SPREAD` of an item vector's length, and the query grows
   them back. So items are neighbours first of all by taste, and by popularity among these.
4. Lengthened: in an index by distance, an item has one coordinate more, √(R² − ‖x‖²), that brings all to the same
   length R. The largest inner product is then the smallest distance (Bachrach et al. 2014, RecSys), and a graph is
   navigable, as its neighbours are near in every sense. By inner product its edges lead to long vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twotower_assets.retrieval.errors import ItemIndexError

FloatMatrix = NDArray[np.float32]

POPULARITY_SPREAD: Final = 0.3
"""Spread of bias and log q beside the length of item vectors. Much less or more lowers recall at γ = 1, or at 0."""


@dataclass(frozen=True, slots=True)
class Items:
    """What is indexed, checked: the parts of a score that belong to items.

    Attributes:
        vectors: float32 [n, d].
        bias: float64 [n], zeros where the model has none.
        log_q: float64 [n].
        inverse_temperature: 1/τ.
    """

    vectors: FloatMatrix
    bias: NDArray[np.float64]
    log_q: NDArray[np.float64]
    inverse_temperature: float

    @classmethod
    def checked(
        cls,
        item_vectors: NDArray[Any],
        inverse_temperature: float,
        bias: NDArray[Any] | None,
        log_q: NDArray[Any],
    ) -> Items:
        """The parts, once they are known to fit together. Raises ItemIndexError for wrong shapes, NaN or infinity."""
        vectors = np.ascontiguousarray(item_vectors, dtype=np.float32)
        if vectors.ndim != 2 or 0 in vectors.shape:
            raise ItemIndexError(f"expected item vectors of shape [n, d] with n and d at least 1, got {vectors.shape}")
        if not (np.isfinite(inverse_temperature) and inverse_temperature > 0):
            raise ItemIndexError(f"inverse_temperature must be positive and finite, got {inverse_temperature}")
        n = len(vectors)
        popularity = np.asarray(log_q, dtype=np.float64)
        biases = np.zeros(n) if bias is None else np.asarray(bias, dtype=np.float64)
        for name, numbers in (("log_q", popularity), ("bias", biases)):
            if numbers.shape != (n,):
                raise ItemIndexError(f"{name} must have shape [{n}], one value per item, got {numbers.shape}")
        given: dict[str, NDArray[Any]] = {"item_vectors": vectors, "bias": biases, "log_q": popularity}
        for name, values in given.items():
            if not np.isfinite(values).all():
                raise ItemIndexError(
                    f"{name} holds NaN or infinity: look for a diverged training, or log q of an item "
                    "never clicked that was not clipped from below"
                )
        largest = (np.abs(vectors).max() * float(inverse_temperature), np.abs(biases).max(), np.abs(popularity).max())
        if max(largest) > np.finfo(np.float32).max:
            raise ItemIndexError("v/τ, b or log q is too large for float32: look for a diverged training")
        return cls(vectors, biases, popularity, float(inverse_temperature))


@dataclass(frozen=True, slots=True)
class Geometry:
    """What items and queries have in common, float64 each; the module says why.

    Attributes:
        inverse_temperature: 1/τ, in no stored vector.
        mean_log_q: taken from log q.
        mean_bias: taken from b.
        bias_slope: regression of b on log q, taken from b and added to w.
        scale: of bias and log q in the stored vectors.
        squared_length: R² of the stored vectors where the index is by distance; None where by inner product.
    """

    inverse_temperature: float
    mean_log_q: float
    mean_bias: float
    bias_slope: float
    scale: float
    squared_length: float | None

    @classmethod
    def fit(cls, items: Items, by_distance: bool) -> tuple[Geometry, FloatMatrix]:
        """The geometry that fits these items, and them laid out: float32 [n, width]."""
        mean_log_q, mean_bias = float(items.log_q.mean()), float(items.bias.mean())
        popularity, bias = items.log_q - mean_log_q, items.bias - mean_bias
        variance = float(popularity @ popularity)
        slope = float(bias @ popularity) / variance if variance > 0 else 0.0
        bias = bias - slope * popularity
        spread = float(np.sqrt((bias @ bias + variance) / len(bias)))
        squared = np.einsum("nd,nd->n", items.vectors, items.vectors, dtype=np.float64)  # (n,)
        length = float(np.sqrt(squared.mean()))
        scale = POPULARITY_SPREAD * length / spread if spread > 0 and length > 0 else 1.0
        squared += scale**2 * (bias**2 + popularity**2)
        geometry = cls(
            inverse_temperature=items.inverse_temperature,
            mean_log_q=mean_log_q,
            mean_bias=mean_bias,
            bias_slope=slope,
            scale=scale,
            squared_length=float(squared.max()) if by_distance else None,
        )
        d = items.vectors.shape[1]
        stored = np.empty((len(bias), geometry.width(d)), dtype=np.float32)
        stored[:, :d] = items.vectors
        stored[:, d] = scale * bias
        stored[:, d + 1] = scale * popularity
        if by_distance:
            stored[:, d + 2] = np.sqrt(squared.max() - squared)
        return geometry, stored

    def width(self, dimension: int) -> int:
        """Coordinates of a stored vector, for item vectors of this dimension."""
        return dimension + (2 if self.squared_length is None else 3)

    def queries(self, users: FloatMatrix, weights: NDArray[np.float32]) -> FloatMatrix:
        """Users at their popularity weights, float32 [m, d] and [m] or [], laid out: [m, width]."""
        d = users.shape[1]
        grown = 1.0 / (self.inverse_temperature * self.scale)
        queries = np.zeros((len(users), self.width(d)), dtype=np.float32)
        queries[:, :d] = users
        queries[:, d] = grown
        queries[:, d + 1] = (weights + self.bias_slope) * grown
        return queries

    def scores(self, found: FloatMatrix, queries: FloatMatrix, weights: NDArray[np.float32]) -> FloatMatrix:
        """⟨u, v⟩/τ + b + w·log q of what FAISS found for the queries: distances or inner products, [m, k]."""
        constants = np.broadcast_to(weights * self.mean_log_q + self.mean_bias, len(queries))
        scores: FloatMatrix = self.inner_products(found, queries) * np.float32(self.inverse_temperature)
        scores += constants.astype(np.float32)[:, None]
        return scores

    def inner_products(self, found: FloatMatrix, queries: FloatMatrix) -> FloatMatrix:
        """Inner products of the queries with what was found, float32 [m, k]."""
        if self.squared_length is None:
            return found
        squared = np.einsum("md,md->m", queries, queries)  # (m,)
        products: FloatMatrix = (squared[:, None] + np.float32(self.squared_length) - found) / 2
        return products

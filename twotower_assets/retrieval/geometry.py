"""How items and queries become vectors, so that ranking by score, at any γ, is a nearest-neighbour search.

The score is ⟨u, v⟩/τ + b + w·log q. This module expresses it as an inner product or a distance of vectors, and converts
what FAISS returns back to scores. `index` chooses the FAISS index.

Four steps, none of which changes a score:

1. Centring: b and log q are stored minus their means. Otherwise all items share a large coordinate, and the edges of a
   graph follow it.
2. Decorrelation: a learned bias often contains much of log q. The vectors store b minus its regression on log q, and
   the query adds the slope to w, so that the layout does not depend on where the model keeps popularity.
3. Scaling: both are shrunk until their spread is `POPULARITY_SPREAD` of an item vector's length, and the query scales
   them up again. Neighbours are then similar in taste first, in popularity second.
4. Equal lengths: in an index by distance, an item gets one more coordinate, √(R² − ‖x‖²), which gives all items the
   same length R. The largest inner product is then the smallest distance (Bachrach et al. 2014, RecSys), and a graph is
   navigable, because its neighbours are near by both measures. With inner products, edges would lead to long vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from twotower_assets.retrieval.errors import ItemIndexError

FloatMatrix = NDArray[np.float32]

POPULARITY_SPREAD: Final = 0.3
"""Spread of bias and log q relative to item vectors. Much smaller lowers recall at γ = 1, much larger at γ = 0."""


@dataclass(frozen=True, slots=True)
class Items:
    """The item side of a score, validated.

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
        """Validate and convert the arrays. Raises ItemIndexError for wrong shapes, NaN or infinity."""
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
        arrays: dict[str, NDArray[Any]] = {"item_vectors": vectors, "bias": biases, "log_q": popularity}
        for name, values in arrays.items():
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
    """The constants that items and queries share, float64 each; the module docstring explains them.

    Attributes:
        inverse_temperature: 1/τ, not part of the stored vectors.
        mean_log_q: subtracted from log q.
        mean_bias: subtracted from b.
        bias_slope: regression of b on log q, subtracted from b and added to w.
        scale: of bias and log q in the stored vectors.
        squared_length: R² of the stored vectors in an index by distance; None in one by inner product.
    """

    inverse_temperature: float
    mean_log_q: float
    mean_bias: float
    bias_slope: float
    scale: float
    squared_length: float | None

    @classmethod
    def fit(cls, items: Items, by_distance: bool) -> tuple[Geometry, FloatMatrix]:
        """The geometry for these items, and their stored vectors, float32 [n, width]."""
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
        """The dimension of stored vectors, for item vectors of this dimension."""
        return dimension + (2 if self.squared_length is None else 3)

    def queries(self, users: FloatMatrix, weights: NDArray[np.float32]) -> FloatMatrix:
        """Query vectors [m, width] for users, float32 [m, d], at their weights of log q, [m] or []."""
        d = users.shape[1]
        unscaled = 1.0 / (self.inverse_temperature * self.scale)
        queries = np.zeros((len(users), self.width(d)), dtype=np.float32)
        queries[:, :d] = users
        queries[:, d] = unscaled
        queries[:, d + 1] = (weights + self.bias_slope) * unscaled
        return queries

    def scores(self, found: FloatMatrix, queries: FloatMatrix, weights: NDArray[np.float32]) -> FloatMatrix:
        """Scores ⟨u, v⟩/τ + b + w·log q from the distances or inner products that FAISS returned, [m, k]."""
        constants = np.broadcast_to(weights * self.mean_log_q + self.mean_bias, len(queries))
        scores: FloatMatrix = self.inner_products(found, queries) * np.float32(self.inverse_temperature)
        scores += constants.astype(np.float32)[:, None]
        return scores

    def inner_products(self, found: FloatMatrix, queries: FloatMatrix) -> FloatMatrix:
        """Inner products from the distances or inner products that FAISS returned, float32 [m, k]."""
        if self.squared_length is None:
            return found
        squared = np.einsum("md,md->m", queries, queries)  # (m,)
        products: FloatMatrix = (squared[:, None] + np.float32(self.squared_length) - found) / 2
        return products

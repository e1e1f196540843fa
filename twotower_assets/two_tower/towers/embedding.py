"""Embeds tables of items and users.

Here: from Arrow tables through the encoder and the towers to float32 arrays, a block of rows at a time, without
gradients. Not here: files (`checkpoint.py`) and training.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from twotower_assets.two_tower.data.encoders import Encoder, TrainingDataError
from twotower_assets.two_tower.kernels.ragged_rows import take_rows
from twotower_assets.two_tower.towers.model import Towers
from twotower_assets.two_tower.towers.tower import TowerInputs

BLOCK_ROWS = 65_536


@dataclass(frozen=True)
class Embedder:
    """Towers with the encoder that they were built for."""

    towers: Towers
    encoder: Encoder

    def embed_items(self, items: pa.Table) -> npt.NDArray[np.float32]:
        """Vectors float32 [n, d] of length 1 for the rows of `items` (item_id, category, features).

        Items without training pairs get the vector of the unknown id plus those of their category and features.
        """
        inputs = self.encoder.encode_items(items)

        def block(rows: npt.NDArray[np.int64]) -> Tensor:
            return self.towers.encode_items(TowerInputs.of(inputs.take(rows)).to(self.towers.device))

        return self._embed_in_blocks(items.num_rows, block)

    @property
    def inverse_temperature(self) -> float:
        """1/τ, the factor of cosines in the loss."""
        return float(self.towers.inverse_temperature().item())

    def item_bias(self, items: pa.Table) -> npt.NDArray[np.float32]:
        """Learned bias of each row of `items` (item_id), float32 [n]; that of the unknown id without training pairs."""
        ids = torch.from_numpy(self.encoder.items.encode_ids(items.column("item_id")))
        with torch.no_grad():
            bias: npt.NDArray[np.float32] = self.towers.biases(ids.to(self.towers.device)).cpu().numpy()
        return bias

    def embed_users(
        self,
        user_ids: pa.Array | pa.ChunkedArray,
        histories: pa.Array | pa.ChunkedArray,
        users: pa.Table | None = None,
    ) -> npt.NDArray[np.float32]:
        """Vectors float32 [m, d] of length 1 for users with their current histories.

        Args:
            user_ids: string [m]; users without training pairs get the vector of the unknown id.
            histories: list<string> [m], oldest first; the last L known items are used, and null counts as empty.
            users: `user_id`, `features`, looked up by id; missing users have no features.

        Raises:
            TrainingDataError: Different numbers of users and histories, or unusable features.
        """
        if len(user_ids) != len(histories):
            raise TrainingDataError(
                f"There are {len(user_ids)} user ids but {len(histories)} histories; give one list per user."
            )
        inputs = self.encoder.encode_users(user_ids, users)
        history = self.encoder.encode_histories(histories)

        def block(rows: npt.NDArray[np.int64]) -> Tensor:
            return self.towers.encode_users(
                TowerInputs.of(inputs.take(rows), take_rows(history, rows)).to(self.towers.device)
            )

        return self._embed_in_blocks(len(user_ids), block)

    def _embed_in_blocks(self, rows: int, block: Callable[[npt.NDArray[np.int64]], Tensor]) -> npt.NDArray[np.float32]:
        vectors = np.empty((rows, self.towers.dimensions), np.float32)
        with torch.no_grad():
            for block_rows in _row_blocks(rows):
                vectors[block_rows] = block(block_rows).cpu().numpy()
        return vectors


def _row_blocks(rows: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, rows, BLOCK_ROWS):
        yield np.arange(start, min(start + BLOCK_ROWS, rows))

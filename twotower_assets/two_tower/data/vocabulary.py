"""String ids to dense indices.

Here: the mapping, and turning whole Arrow columns into index arrays. Not here: which ids are in which vocabulary
(`training_set.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from twotower_assets.core.ragged import Ragged

UNKNOWN = 0
_LIST_BLOCK = 1_000_000


def as_strings(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column of strings (or of integers, or of nulls) as one contiguous large_string array."""
    column = column.cast(pa.large_string())
    return pa.concat_arrays(column.chunks or [pa.array([], column.type)]) if _is_chunked(column) else column


def _is_chunked(column: pa.Array | pa.ChunkedArray) -> bool:
    return isinstance(column, pa.ChunkedArray)


class Vocabulary:
    """Distinct ids with the indices 1 … size - 1; index 0 is the unknown id: every other id, and null."""

    def __init__(self, ids: pa.Array | pa.ChunkedArray) -> None:
        self.ids = as_strings(ids)
        if self.ids.null_count or len(pc.unique(self.ids)) != len(self.ids):
            raise ValueError("The ids of a vocabulary must be distinct and not null; drop repeats and nulls first.")

    @classmethod
    def from_values(cls, column: pa.Array | pa.ChunkedArray) -> Vocabulary:
        """A vocabulary of the distinct non-null values of a column, sorted."""
        return cls(pc.unique(as_strings(column)).drop_null().sort())

    @property
    def size(self) -> int:
        """Number of indices, the unknown id included."""
        return len(self.ids) + 1

    def encode(self, column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The index of each value, int64 [n]; 0 for unknown values and nulls."""
        position = pc.index_in(as_strings(column), value_set=self.ids)
        index = pc.fill_null(pc.add(position.cast(pa.int64()), 1), UNKNOWN)
        indices: npt.NDArray[np.int64] = index.to_numpy(zero_copy_only=False)
        return indices

    def encode_lists(self, column: pa.Array | pa.ChunkedArray) -> Ragged:
        """The indices of each list's values, as a Ragged of n rows; a null list gives an empty row."""
        column = column.cast(pa.large_list(pa.large_string()))
        chunks = column.chunks if _is_chunked(column) else [column]
        blocks = [chunk.slice(start, _LIST_BLOCK) for chunk in chunks for start in range(0, len(chunk), _LIST_BLOCK)]
        return Ragged.concatenate([self._encode_list_block(block) for block in blocks])

    def _encode_list_block(self, lists: pa.Array) -> Ragged:
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        return Ragged.from_lengths(lengths.astype(np.int64), self.encode(lists.flatten()))

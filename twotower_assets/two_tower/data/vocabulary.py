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
    """One contiguous large_string array of a column of strings (or of integers, or of null)."""
    column = column.cast(pa.large_string())
    return pa.concat_arrays(column.chunks or [pa.array([], column.type)]) if _is_chunked(column) else column


def _is_chunked(column: pa.Array | pa.ChunkedArray) -> bool:
    return isinstance(column, pa.ChunkedArray)


class Vocabulary:
    """Distinct ids with the indices 1 … size - 1; index 0 stands for every other id and for null."""

    def __init__(self, ids: pa.Array | pa.ChunkedArray) -> None:
        self.ids = as_strings(ids)
        if self.ids.null_count or len(pc.unique(self.ids)) != len(self.ids):
            raise ValueError("A vocabulary needs distinct ids without null; drop repeats and nulls first.")

    @classmethod
    def of_values(cls, column: pa.Array | pa.ChunkedArray) -> Vocabulary:
        """The distinct values of a column that are not null, sorted."""
        return cls(pc.unique(as_strings(column)).drop_null().sort())

    @property
    def size(self) -> int:
        """How many indices there are, the unknown one included."""
        return len(self.ids) + 1

    def encode(self, column: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int64]:
        """The index of each value, int64 [n]; unknown and null give 0."""
        found = pc.index_in(as_strings(column), value_set=self.ids)
        index = pc.fill_null(pc.add(found.cast(pa.int64()), 1), UNKNOWN)
        indices: npt.NDArray[np.int64] = index.to_numpy(zero_copy_only=False)
        return indices

    def encode_lists(self, column: pa.Array | pa.ChunkedArray) -> Ragged:
        """The indices of each list's values as a Ragged [n rows]; a null list is an empty one."""
        column = column.cast(pa.large_list(pa.large_string()))
        chunks = column.chunks if _is_chunked(column) else [column]
        blocks = [chunk.slice(start, _LIST_BLOCK) for chunk in chunks for start in range(0, len(chunk), _LIST_BLOCK)]
        return Ragged.concatenate([self._encode_list_block(block) for block in blocks])

    def _encode_list_block(self, lists: pa.Array) -> Ragged:
        lengths = pc.fill_null(pc.list_value_length(lists), 0).to_numpy(zero_copy_only=False)
        return Ragged.from_lengths(lengths.astype(np.int64), self.encode(lists.flatten()))

"""False negatives: which candidates must not be negatives of a row.

Here: finding these candidates, and counting them. Not here: masks that depend on scores (`positive_aware_share`, in the
engines under `loss`), and what the loss does with the other candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
import numpy.typing as npt

from twotower_assets.two_tower.data.item_sets import Int32s, Int64s, Occurrences
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.kernels.compiled import compiled, compiled_parallel
from twotower_assets.two_tower.sampling.batch_problem import MaskCounts, SparseRows
from twotower_assets.two_tower.sampling.negatives import Batch, Candidates

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Masks:
    """The masks of a batch.

    Attributes:
        columns: The masked columns of each row.
        unmasked: int64 [B], shared candidates of each row that remain, without its own positive.
        row_negatives: bool [B, K], the masked per-row negatives.
        counts: What was masked, and what remains.
    """

    columns: SparseRows
    unmasked: Int64s
    row_negatives: Bools
    counts: MaskCounts


def find_masks(names: Sequence[str], batch: Batch, candidates: Candidates, row_negatives: Int64s) -> Masks:
    """The candidates that must not be negatives of a row.

    1. Always: what is no item (index 0), and the item of the row's own positive (accidental hits).
    2. `clicked`: items that the row's user clicked in any training pair.
    3. `same_request`: positives of the same request as the row.

    A candidate counts for the first of these that removes it.

    Args:
        names: The masks that are on, beside those that always are.
        batch: B pairs.
        candidates: S columns.
        row_negatives: int64 [B, K], items of the per-row negatives.
    """
    clicked = batch.data.clicked
    n_items = len(batch.data.item_counts)
    of_item = Occurrences.build(candidates.item, n_items)
    starts: Int32s = clicked.members.indptr
    members: Int32s = clicked.members.indices
    if "clicked" not in names:
        starts, members = np.zeros(len(clicked) + 1, np.int32), np.zeros(0, np.int32)
    request, of_request = _requests(batch, candidates, masked="same_request" in names)
    sizes, unmasked = np.empty(len(batch), np.int64), np.empty(len(batch), np.int64)
    per_item = np.zeros(n_items, np.int64)
    hits, clicks, together = _count(
        candidates.item,
        candidates.count,
        per_item,
        batch.item,
        batch.user,
        starts,
        members,
        request,
        of_request.first_index,
        of_request.next_index,
        sizes,
        unmasked,
    )
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes)])
    columns = np.empty(offsets[-1], np.int32)
    _fill(
        candidates.item,
        batch.item,
        of_item.first_index,
        of_item.next_index,
        batch.user,
        starts,
        members,
        request,
        of_request.first_index,
        of_request.next_index,
        offsets,
        columns,
    )
    if candidates.positive_count.any():
        hits -= len(batch)  # a row's own positive is not an accidental hit
    counts = MaskCounts(rows=len(batch), unmasked=int(unmasked.sum()))
    counts.masked |= {"accidental_hit": hits, "clicked": clicks, "same_request": together}
    row_masked = np.zeros(row_negatives.shape, np.bool_)
    if row_negatives.size:
        row_masked = row_negatives == 0
        row_masked |= _row_mask("accidental_hit", row_negatives == batch.item[:, None], row_masked, counts)
        if "clicked" in names:
            row_masked |= _row_mask("clicked", clicked.membership(batch.user, row_negatives), row_masked, counts)
        counts.unmasked += int((~row_masked).sum())
    return Masks(SparseRows(offsets, columns, np.zeros(0, np.float32)), unmasked, row_masked, counts)


def _row_mask(reason: str, found: Bools, masked: Bools, counts: MaskCounts) -> Bools:
    """Count the per-row negatives that a mask finds and no earlier one did."""
    counts.masked[reason] += int((found & ~masked).sum())
    return found


def _requests(batch: Batch, candidates: Candidates, *, masked: bool) -> tuple[Int64s, Occurrences]:
    """An index for the request of each row, -1 for none, and where each request occurs among the candidates."""
    if not masked:
        return np.full(len(batch), -1), Occurrences(np.zeros(0, np.int32), np.zeros(0, np.int32))
    requests = np.concatenate([batch.data.request[batch.rows], candidates.request])
    index = np.unique(requests, return_inverse=True)[1]
    return np.where(requests >= 0, index, -1)[: len(batch)], Occurrences.build(index[len(batch) :], len(requests))


COLUMNS_BITS = 32
"""Sums of columns and of candidates are one sum of `columns + (candidates << COLUMNS_BITS)`."""


@compiled_parallel
def _count(
    column_item: Int64s,
    count: Int64s,
    per_item: Int64s,
    item: Int64s,
    user: Int64s,
    clicked_starts: Int32s,
    clicked: Int32s,
    request: Int64s,
    first_index_of_request: Int32s,
    next_index_of_request: Int32s,
    sizes: Int64s,
    unmasked: Int64s,
) -> tuple[int, int, int]:
    """Writes how many columns of each row are masked, and how many candidates are not; `per_item` is all 0 before.

    Returns how many candidates the item of the positive, clicks, and requests mask.
    """
    for column in range(len(count)):
        per_item[column_item[column]] += 1 + (count[column] << COLUMNS_BITS)
    candidates, all_hits, all_clicks, all_together = count.sum(), 0, 0, 0
    for row in numba.prange(len(item)):
        user_clicks = clicked[clicked_starts[user[row]] : clicked_starts[user[row] + 1]]
        mine = per_item[item[row]]
        masked = 0
        for member in range(len(user_clicks)):  # without a branch, which would be mispredicted half of the time
            masked += per_item[np.uint32(user_clicks[member])]
        if not len(user_clicks):  # otherwise the item of the positive is one of the clicks
            masked = mine
        clicks = (masked - mine) >> COLUMNS_BITS
        masked += per_item[0]
        together = 0
        if request[row] >= 0:
            index = first_index_of_request[request[row]]
            while index >= 0:
                if _is_new(column_item[index], item[row], user_clicks):
                    together += count[index]
                    masked += 1 + (count[index] << COLUMNS_BITS)
                index = next_index_of_request[index]
        sizes[row] = masked & ((1 << COLUMNS_BITS) - 1)
        unmasked[row] = candidates - (masked >> COLUMNS_BITS)
        all_hits += mine >> COLUMNS_BITS
        all_clicks += clicks
        all_together += together
    return all_hits, all_clicks, all_together


@compiled_parallel
def _fill(
    column_item: Int64s,
    item: Int64s,
    first_index: Int32s,
    next_index: Int32s,
    user: Int64s,
    clicked_starts: Int32s,
    clicked: Int32s,
    request: Int64s,
    first_index_of_request: Int32s,
    next_index_of_request: Int32s,
    offsets: Int64s,
    columns: Int32s,
) -> None:
    """Writes the masked columns of each row."""
    after = np.concatenate((np.full(1, -1, np.int32), next_index))  # after[-1 + 1] is -1, too
    for row in numba.prange(len(item)):
        user_clicks = clicked[clicked_starts[user[row]] : clicked_starts[user[row] + 1]]
        found = columns[offsets[row] : offsets[row + 1]]
        n = _append(found, 0, first_index[0], next_index)
        if request[row] >= 0:
            index = first_index_of_request[request[row]]
            while index >= 0:
                if _is_new(column_item[index], item[row], user_clicks):
                    found[n] = index
                    n += 1
                index = next_index_of_request[index]
        if not len(user_clicks):
            n = _append(found, n, first_index[item[row]], next_index)
        member = 0
        while n < len(found):
            index = first_index[np.uint32(user_clicks[member])]
            found[np.uint32(n)] = index  # overwritten where the item is no candidate: a branch would be mispredicted
            n += int(index >= 0)
            index = after[index + 1]
            while index >= 0:
                found[np.uint32(n)] = index
                n, index = n + 1, after[index + 1]
            member += 1


@compiled
def _append(found: Int32s, n: int, index: int, next_index: Int32s) -> int:
    """Append a linked list of columns after the first n; returns the new n."""
    while index >= 0:
        found[n] = index
        n, index = n + 1, next_index[index]
    return n


@compiled
def _is_new(other: int, item: int, user_clicks: Int32s) -> bool:
    """Whether no mask but that of the request removes a column of the item `other`."""
    return other != 0 and other != item and not _holds(user_clicks, other)


@compiled
def _holds(ascending: Int32s, item: int) -> bool:
    index = np.searchsorted(ascending, item)
    return bool(index < len(ascending) and ascending[index] == item)


def log_unmasked_share(data: TrainingSet, masks: Sequence[str]) -> npt.NDArray[np.float64]:
    """Log of the share of pairs whose user did not click the item, float64 [M + 1]; zeros without the mask `clicked`.

    Clicked items are masked in the rows of everyone who clicked them. Popular items are therefore negatives less often
    than their popularity says, and would be scored too high: on MovieLens-100K by log 4 for the best-known films.
    Subtracting this from every candidate's logit restores the weight that the mask removed.
    """
    if "clicked" not in masks:
        return np.zeros(len(data.item_counts))
    pairs_of_user = np.bincount(data.user, minlength=len(data.clicked)).astype(np.float64)
    masked = data.clicked.members.T @ pairs_of_user / len(data)
    shares: npt.NDArray[np.float64] = np.log(np.maximum(1.0 - masked, 1.0 / len(data)))
    return shares

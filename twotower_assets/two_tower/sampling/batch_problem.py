"""What a batch asks of an engine: which logits there are, how they are corrected, and which candidates are masked.

Everything here is data, made without any weights: an engine (`loss`) adds vectors, and takes gradients. Here: the
arrays and their meaning. Not here: how they are found (`masks.py`, `correction.py`, `negative_sampler.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from twotower_assets.core.ragged import Ragged
from twotower_assets.two_tower.data.encoders import SideInputs
from twotower_assets.two_tower.sampling.negatives import Batch, Candidates

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]
REASONS = ("accidental_hit", "clicked", "same_request", "positive_aware")


@dataclass
class MaskCounts:
    """Totals over many batches: rows, negatives that remain, and candidates that each mask removed."""

    rows: int = 0
    unmasked: int = 0
    masked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))

    def add(self, other: MaskCounts) -> None:
        """Add the totals of other batches."""
        self.rows += other.rows
        self.unmasked += other.unmasked
        for reason, count in other.masked.items():
            self.masked[reason] += count

    def mask_close(self, close: int) -> None:
        """Candidates that remained were masked after all, because their scores come close to that of the positive."""
        self.unmasked -= close
        self.masked["positive_aware"] += close

    @property
    def negatives_per_positive(self) -> float:
        """Mean number of negatives that a row keeps."""
        return self.unmasked / max(1, self.rows)

    @property
    def masked_per_positive(self) -> dict[str, float]:
        """Mean number of candidates of a row that each mask removed; a candidate counts for the first such mask."""
        return {reason: count / max(1, self.rows) for reason, count in self.masked.items()}


@dataclass(frozen=True)
class SparseRows:
    """Some columns of each row, as a compressed sparse matrix: row r has columns[offsets[r]:offsets[r + 1]].

    Attributes:
        offsets: int64 [B + 1].
        columns: int32 [m], distinct within a row, in any order.
        values: float32 [m], or [0] where only the places matter.
    """

    offsets: Int64s
    columns: Int32s
    values: Float32s

    @classmethod
    def none(cls, rows: int) -> SparseRows:
        """No columns in any of the rows."""
        return cls(np.zeros(rows + 1, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))


@dataclass(frozen=True)
class SoftmaxProblem:
    """The softmax cross-entropy of B rows, but for the vectors.

    Row i has 1 + K pairs, of which pair 0 is the positive, and S columns that it shares with all rows. With the scores
    s = ⟨user vector, item vector⟩ / τ + bias, its logits are

        s(i, pair k)   + pair_offsets[i, k]
        s(i, column j) + column_offsets[j] + row_corrections[i, j]

    Candidates that are masked have no logit. Where `expected_unmasked` is given, the logit of the positive also gains
    log(n / expected_unmasked), with the n shared candidates of the row that are not masked.

    Attributes:
        pair_index: int64 [B, 1 + K], the item of each pair among the D distinct items of the batch.
        pair_offsets: float32 [B, 1 + K]; -∞ for per-row negatives that are masked.
        column_offsets: float32 [S].
        column_count: int64 [S], how many equal candidates a column stands for.
        masked: The masked columns of each row.
        row_corrections: What is added to the logits of some columns of a row.
        weights: float32 [B], not negative: the loss is the weighted mean over rows.
        unmasked: int64 [B], shared candidates of each row that are not in `masked`.
        expected_unmasked: float64 [B], expected number of these; [0] where the correction does without it.
        positive_aware_share: A candidate is masked, too, if ⟨user vector, item vector⟩ is above this share of the
            positive's, and that is above 0; ∞ for no such mask.
    """

    pair_index: Int64s
    pair_offsets: Float32s
    column_offsets: Float32s
    column_count: Int64s
    masked: SparseRows
    row_corrections: SparseRows
    weights: Float32s
    unmasked: Int64s
    expected_unmasked: Float64s
    positive_aware_share: float = np.inf

    def __len__(self) -> int:
        return len(self.weights)


@dataclass(frozen=True)
class ItemBiases:
    """The learned biases of a batch.

    Attributes:
        ids: int64 [D + queued], rows of the table of biases: of the distinct items, then of the queued items. A hidden
            id hides only the vector: the bias stays the item's own, because the correction uses its popularity.
        start: float32 [B], what the biases of the positives are drawn towards.
        penalty: Factor of the mean squared difference from `start` in the loss.
    """

    ids: Int64s
    start: Float32s
    penalty: float


@dataclass(frozen=True)
class BatchProblem:
    """Everything about a batch of B pairs that is random or counted; nothing here depends on weights.

    Attributes:
        batch: The pairs.
        users: Inputs of the user tower, B rows.
        history: Histories of the pairs, B rows.
        items: Inputs of the item tower for the D distinct items of the batch: first those of the shared columns.
        item: int64 [D], the indices of these items. An item whose id is hidden is distinct from one that is not.
        candidates: The S shared columns: those of this batch, then one for each vector in the queue.
        row_negatives: int64 [B, K], items of the per-row negatives; 0 where there is none.
        softmax: The logits.
        biases: None without learned biases.
        queued: How many of the columns, the last ones, are vectors that the engine kept from earlier batches.
        queued_after: How many vectors it keeps after this batch: the last of these, and of the batch's positives.
        shared_gradient_scale: float32 [S - queued], factors of the gradients of the shared columns' vectors; None for
            no such factors.
        mask_counts: What the masks removed, without `positive_aware_share`.
    """

    batch: Batch
    users: SideInputs
    history: Ragged
    items: SideInputs
    item: Int64s
    candidates: Candidates
    row_negatives: Int64s
    softmax: SoftmaxProblem
    biases: ItemBiases | None
    queued: int
    queued_after: int
    shared_gradient_scale: Float32s | None
    mask_counts: MaskCounts

    def __len__(self) -> int:
        return len(self.batch)

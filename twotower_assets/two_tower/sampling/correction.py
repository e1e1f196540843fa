"""The expected-count (logQ) correction: what is added to the logits because of how candidates are drawn.

Here: how often a row is expected to draw an item, over all sources, and the offsets that follow from it. Not here: what
each source draws (`negatives.py`), and masks (`masks.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from twotower_assets.core.popularity import UNSEEN_CLICKS
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.two_tower.data.training_set import TrainingSet
from twotower_assets.two_tower.sampling.all_sources import Sources
from twotower_assets.two_tower.sampling.batch_problem import SparseRows
from twotower_assets.two_tower.sampling.masks import log_unmasked_share
from twotower_assets.two_tower.sampling.negatives import Batch, Candidates, total_expected_count
from twotower_assets.two_tower.sampling.proposals import Proposal

Int64s = npt.NDArray[np.int64]
Float32s = npt.NDArray[np.float32]
Float64s = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LogitOffsets:
    """What the correction adds to the logits of a batch.

    Attributes:
        columns: float32 [S], to those of the shared candidates.
        pairs: float32 [B, 1 + K], to those of the positives and of the per-row negatives.
        rows: To those of some shared candidates of a row, on top of `columns`.
        expected_unmasked: float64 [B], expected number of shared candidates that no mask removes; [0] where the
            correction does without it.
    """

    columns: Float32s
    pairs: Float32s
    rows: SparseRows
    expected_unmasked: Float64s


class Correction:
    """The correction that a configuration names, over the sources of a training run."""

    def __init__(self, data: TrainingSet, config: TrainingConfig, proposal: Proposal, sources: Sources) -> None:
        self._data, self._config, self._proposal, self._sources = data, config, proposal, sources
        self._log_unmasked = log_unmasked_share(data, config.masks)
        self._clicked_mass: dict[tuple[int, int], Float64s] = {}
        self._shared_by_batch_size: dict[int, Float64s] = {}  # an epoch has two batch sizes

    def offsets(self, batch: Batch, candidates: Candidates, row_negatives: Int64s) -> LogitOffsets:
        """The correction of every logit of a batch.

        A candidate j of row i stands for itself and for the items that were not drawn. Its logit gains

            log n_j  -  log E[n_ij]  -  log P(not masked)_j  +  log w_j

        - n_j: how many candidates its column stands for.
        - E[n_ij]: how often the row is expected to draw the item, by all sources of known proposal together,
          (B - 1)·q_j in the batch + Σ count·Q_j drawn + L·q_j in a queue of length L + Σ per positive / set size drawn
          for the row from a set that has the item. Of this, only the last part differs between rows (`rows`).
        - P(not masked)_j: the share of pairs whose user did not click the item (`log_unmasked_share`).
        - w_j: the weight of the source, of per-row negatives alone.

        With `correction: none`, E[n_ij] = 1 in this sum. With `logq`, the logit of the positive gains -log E[n_i] as
        well. With `logq_positive_excluded`, it does not (Khrylchenko et al. 2025, RecSys); there the mean over the n
        candidates that remain is compared with the positive, which is `expected_unmasked`.
        """
        config = self._config
        columns = np.log(candidates.count) - self._log_unmasked[candidates.item]
        pairs = np.zeros((len(batch), 1 + row_negatives.shape[1]), np.float32)
        if config.correction == "logq":
            pairs[:, 0] = -np.log(self.expected_count(batch, batch.item[:, None])[:, 0])
        if row_negatives.shape[1]:
            pairs[:, 1:] = self._sources.row_log_weights - self._log_unmasked[row_negatives]
        if config.correction != "none":
            columns -= np.log(self.shared_expected_count(batch, candidates.item))
            if row_negatives.shape[1]:
                pairs[:, 1:] -= np.log(self.expected_count(batch, row_negatives))
        return LogitOffsets(
            columns=columns.astype(np.float32),
            pairs=pairs,
            rows=self._rows(batch, candidates.item),
            expected_unmasked=self.expected_unmasked(batch)
            if config.correction == "logq_positive_excluded"
            else np.zeros(0),
        )

    def expected_count(self, batch: Batch, items: Int64s) -> Float64s:
        """How often a row is expected to draw an item, over all sources of known proposal.

        Args:
            batch: B pairs.
            items: int64 [S], candidates of every row, or [B, K], separate candidates per row.

        Returns:
            float64 [1, S], [B, S] or [B, K], above 0; that of half a training pair where no such source could draw.
        """
        if not self._sources.row_dependent:
            return np.atleast_2d(self.shared_expected_count(batch, items))
        return self._above_zero(batch, total_expected_count(self._sources.all(), batch, items))

    def shared_expected_count(self, batch: Batch, items: Int64s) -> Float64s:
        """The part of the expected count that is the same for all rows, float64 of the shape of `items` (any)."""
        if self._proposal.is_fixed and self._sources.queue is None:
            pairs = len(batch)
            if pairs not in self._shared_by_batch_size:
                every_item = np.arange(len(self._data.item_counts))
                self._shared_by_batch_size[pairs] = self._compute_shared(batch, every_item)
            return self._shared_by_batch_size[pairs][items]
        return self._compute_shared(batch, items)

    def expected_unmasked(self, batch: Batch) -> Float64s:
        """Expected number of shared candidates of each row that no mask of items removes, float64 [B], above 0."""
        sources = self._sources
        queued = len(sources.queue) if sources.queue is not None else 0
        drawn = (len(batch) - 1) * (sources.in_batch is not None) + queued
        drawn += sum(source.count for source in sources.weighted)
        if "clicked" not in self._config.masks:
            masked = self.shared_expected_count(batch, batch.item)
        elif not self._proposal.is_fixed:
            masked = self._data.clicked.sums(batch.user, lambda items: self.shared_expected_count(batch, items))
        else:
            key = len(batch), queued
            if key not in self._clicked_mass:
                every_item = self.shared_expected_count(batch, np.arange(len(self._data.item_counts)))
                self._clicked_mass = {key: self._data.clicked.members @ every_item}
            masked = self._clicked_mass[key][batch.user]
        expected: Float64s = np.maximum(drawn - masked, 1e-9)
        return expected

    def _rows(self, batch: Batch, items: Int64s) -> SparseRows:
        """What the expected counts that differ between rows add to the logits: -log((shared + row) / shared)."""
        if self._config.correction == "none" or not self._sources.row_dependent:
            return SparseRows.none(len(batch))
        expected = csr_array((len(batch), len(items)), dtype=np.float64)
        for source in self._sources.row_dependent:
            expected = expected + source.expected_count_of_columns(batch, items)
        expected.eliminate_zeros()
        shared = self.shared_expected_count(batch, items)[expected.indices]
        corrections = -np.log(1.0 + expected.data / shared)
        return SparseRows(
            expected.indptr.astype(np.int64), expected.indices.astype(np.int32), corrections.astype(np.float32)
        )

    def _compute_shared(self, batch: Batch, items: Int64s) -> Float64s:
        sources = [source for source in self._sources.all() if source not in self._sources.row_dependent]
        total = total_expected_count(sources, batch, items.reshape(-1))[0]  # a single 0 if there is no source
        shared: Float64s = np.broadcast_to(self._above_zero(batch, total), (items.size,)).reshape(items.shape)
        return shared

    def _above_zero(self, batch: Batch, total: Float64s) -> Float64s:
        # An item that no source of known proposal could draw is corrected like an item that was never clicked.
        unseen = UNSEEN_CLICKS / len(self._data) * max(1, len(batch) - 1)
        expected: Float64s = np.where(total > 0, total, unseen)
        return expected

"""The sources of negatives, as a recipe declares them.

Here: names, ranges and meaning, and what follows from these alone: is the proposal known, how does it depend on
popularity. Not here: drawing (`negatives.py`), and anything that needs torch.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def uncorrected(self) -> bool:
        """Whether the proposal is unknown or not corrected for: the optimum of the loss is then unknown too."""
        return False

    @property
    def popularity_exponent(self) -> float | None:
        """a, where items are drawn in proportion to q^a; None where the proposal is another."""
        return None


class InBatchNegatives(_Source):
    """The items of the other pairs of the batch: drawn in proportion to q, and free of charge."""

    source: Literal["in_batch"] = "in_batch"

    @property
    def popularity_exponent(self) -> float:
        """1."""
        return 1.0


class UniformNegatives(_Source):
    """Items of the whole catalogue with equal probability, the never clicked too; shared by all rows of a batch."""

    source: Literal["uniform"] = "uniform"
    count: int = Field(ge=1, le=1_048_576, description="How many per batch.")

    @property
    def popularity_exponent(self) -> float:
        """0."""
        return 0.0


class PopularityNegatives(_Source):
    """Clicked items in proportion to their clicks to the power of `exponent`; shared by all rows of a batch."""

    source: Literal["popularity"] = "popularity"
    count: int = Field(ge=1, le=1_048_576, description="How many per batch.")
    exponent: float = Field(default=0.75, ge=0.0, le=2.0, description="Power of the clicks.")

    @property
    def popularity_exponent(self) -> float:
        """As configured."""
        return self.exponent


class CrossBatchNegatives(_Source):
    """Vectors of items of earlier batches, first in, first out, without gradient (Wang et al. 2021, SIGIR)."""

    source: Literal["cross_batch"] = "cross_batch"
    count: int = Field(ge=1, le=1_048_576, description="Most vectors in the queue.")
    warm_up_epochs: float = Field(
        default=1.0, ge=0.0, le=1e4, description="Epochs before the queue is used; vectors move too fast at first."
    )
    maximum_age: int = Field(default=16, ge=1, le=1_000_000, description="Batches after which a vector is dropped.")

    @property
    def popularity_exponent(self) -> float:
        """1."""
        return 1.0


class _RowSource(_Source):
    per_positive: int = Field(ge=1, le=1000, description="How many per pair.")


class _GroupSource(_RowSource):
    treatment: Literal["corrected", "margin"] = Field(
        default="corrected",
        description="'corrected': by the log of the expected count, as every known proposal; 'margin': as if drawn by "
        "the other sources, which makes it count for more, and the optimum unknown.",
    )

    @property
    def uncorrected(self) -> bool:
        """As configured."""
        return self.treatment == "margin"


class CategoryNegatives(_GroupSource):
    """Items of the positive's category, uniformly (eBay): the leaf, or its parent where the leaf is too small."""

    source: Literal["category"] = "category"
    minimum_items: int = Field(
        default=20, ge=2, description="A category with fewer items is widened to its parent, the widest at last."
    )


class ContextNegatives(_GroupSource):
    """Items shown or clicked in the positive's context or request, uniformly (eBay)."""

    source: Literal["context"] = "context"
    within: Literal["context", "request"] = Field(default="context", description="What a pool of items belongs to.")


class _MarginSource(_RowSource):
    weight: float = Field(
        default=1.0,
        gt=0.0,
        le=1000.0,
        description="Each counts as so many negatives: log(weight) is added to its logit.",
    )

    @property
    def uncorrected(self) -> bool:
        """Always: nobody knows how likely this user was to be shown or ranked this item."""
        return True


class ExposedNegatives(_MarginSource):
    """Items that this user was shown and did not click, uniformly; fewer where the user has fewer. A margin."""

    source: Literal["exposed"] = "exposed"


class MinedNegatives(_MarginSource):
    """Items that another recipe's model, trained on the same pairs, ranks high for this user. A margin."""

    source: Literal["mined"] = "mined"
    recipe: str = Field(description="The recipe whose model is trained first, and mined.")
    first_rank: int = Field(default=101, ge=1, description="The first rank drawn from; those above may be positives.")
    last_rank: int = Field(default=500, ge=1, description="The last rank drawn from.")

    @model_validator(mode="after")
    def _ordered(self) -> MinedNegatives:
        if self.last_rank < self.first_rank:
            raise ValueError(f"last_rank {self.last_rank} lies before first_rank {self.first_rank}")
        return self


Negatives: TypeAlias = (
    InBatchNegatives
    | UniformNegatives
    | PopularityNegatives
    | CrossBatchNegatives
    | CategoryNegatives
    | ContextNegatives
    | ExposedNegatives
    | MinedNegatives
)

"""The settings of the sources of negatives, as a recipe declares them.

Here: names, ranges and meaning, and what follows from these alone: whether a source is corrected, and how its proposal
depends on popularity. Not here: drawing (`two_tower/sampling/negatives.py`), and anything that needs torch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from twotower_assets.recipes.own_code import NAME


def _current_treatment(value: Any) -> Any:
    return "uncorrected" if value == "margin" else value


Treatment = Annotated[Literal["corrected", "uncorrected"], BeforeValidator(_current_treatment)]
"""'margin', the former name of 'uncorrected', is accepted too: recipes and checkpoints may hold it."""


class _Source(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def uncorrected(self) -> bool:
        """Whether these negatives are not corrected for their proposal; the optimum of the loss is then unknown."""
        return False

    @property
    def popularity_exponent(self) -> float | None:
        """a if items are drawn in proportion to q^a; None for other proposals."""
        return None


class InBatchNegatives(_Source):
    """The items of the other pairs of the batch: drawn in proportion to q, at no cost."""

    source: Literal["in_batch"] = "in_batch"

    @property
    def popularity_exponent(self) -> float:
        """1."""
        return 1.0


class UniformNegatives(_Source):
    """Items of the whole catalogue with equal probability, also those never clicked; shared by all rows of a batch."""

    source: Literal["uniform"] = "uniform"
    count: int = Field(ge=1, le=1_048_576, description="How many per batch.")

    @property
    def popularity_exponent(self) -> float:
        """0."""
        return 0.0


class PopularityNegatives(_Source):
    """Clicked items in proportion to their clicks to the power `exponent`; shared by all rows of a batch."""

    source: Literal["popularity"] = "popularity"
    count: int = Field(ge=1, le=1_048_576, description="How many per batch.")
    exponent: float = Field(default=0.75, ge=0.0, le=2.0, description="The power of the clicks.")

    @property
    def popularity_exponent(self) -> float:
        """As configured."""
        return self.exponent


class CrossBatchNegatives(_Source):
    """A queue of item vectors from earlier batches, without gradient (Wang et al. 2021, SIGIR)."""

    source: Literal["cross_batch"] = "cross_batch"
    count: int = Field(ge=1, le=1_048_576, description="Maximum length of the queue.")
    warm_up_epochs: float = Field(
        default=1.0, ge=0.0, le=1e4, description="Epochs before the queue is used; at first, vectors change too fast."
    )
    maximum_age: int = Field(default=16, ge=1, le=1_000_000, description="A vector is dropped after this many batches.")

    @property
    def popularity_exponent(self) -> float:
        """1."""
        return 1.0


class _RowSource(_Source):
    per_positive: int = Field(ge=1, le=1000, description="How many per pair.")


class _GroupSource(_RowSource):
    treatment: Treatment = Field(
        default="corrected",
        description="'corrected': by the log of the expected count, as every source of known proposal; 'uncorrected': "
        "treated as if the other sources had drawn it, which gives it more weight and makes the optimum unknown.",
    )

    @property
    def uncorrected(self) -> bool:
        """As configured."""
        return self.treatment == "uncorrected"


class CategoryNegatives(_GroupSource):
    """Items of the positive's category, uniformly (eBay): of the leaf, or of its parent if the leaf is too small."""

    source: Literal["category"] = "category"
    minimum_items: int = Field(
        default=20, ge=2, description="A category with fewer items is replaced by its parent, up to the top."
    )


class ContextNegatives(_GroupSource):
    """Items shown or clicked in the positive's context or request, uniformly (eBay)."""

    source: Literal["context"] = "context"
    within: Literal["context", "request"] = Field(
        default="context", description="Whether to draw from the context or from the request."
    )


class _UncorrectedSource(_RowSource):
    weight: float = Field(
        default=1.0,
        gt=0.0,
        le=1000.0,
        description="Each counts as this many negatives: log(weight) is added to its logit.",
    )

    @property
    def uncorrected(self) -> bool:
        """Always: the probability that this user was shown or ranked this item is unknown."""
        return True


class ExposedNegatives(_UncorrectedSource):
    """Items that this user was shown and did not click, uniformly; fewer if the user has fewer. Uncorrected."""

    source: Literal["exposed"] = "exposed"


class MinedNegatives(_UncorrectedSource):
    """Items that the model of another recipe, trained on the same pairs, ranks high for this user. Uncorrected."""

    source: Literal["mined"] = "mined"
    recipe: str = Field(description="The recipe whose model is trained first, and then mined.")
    first_rank: int = Field(
        default=101, ge=1, description="The highest rank drawn from; items above it may be positives."
    )
    last_rank: int = Field(default=500, ge=1, description="The lowest rank drawn from.")

    @model_validator(mode="after")
    def _ordered(self) -> MinedNegatives:
        if self.last_rank < self.first_rank:
            raise ValueError(f"last_rank {self.last_rank} is less than first_rank {self.first_rank}")
        return self


class OwnNegatives(_GroupSource):
    """Items that a class of your own draws for each pair: [own-tower.md](own-tower.md#negatives-of-your-own)."""

    source: Literal["own"] = "own"
    sampler: str = Field(pattern=NAME, description="The class, as `package.module:Class`.")
    parameters: dict[str, Any] = Field(default={}, description="What it is made with, beside the training set.")


Negatives: TypeAlias = (
    InBatchNegatives
    | UniformNegatives
    | PopularityNegatives
    | CrossBatchNegatives
    | CategoryNegatives
    | ContextNegatives
    | ExposedNegatives
    | MinedNegatives
    | OwnNegatives
)

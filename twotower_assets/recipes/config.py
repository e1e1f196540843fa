"""What a training run may be told: every hyper-parameter with its type, range and meaning.

Here: the plain-typed, frozen model and what follows from it alone. Not here: anything that needs torch, and
anything that says where data or checkpoints live.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from twotower_assets.recipes.negative_settings import (
    CategoryNegatives,
    ContextNegatives,
    InBatchNegatives,
    Negatives,
)

Correction = Literal["none", "logq", "logq_positive_excluded"]
Mask = Literal["clicked", "same_request"]


class TrainingConfig(BaseModel):
    """Hyper-parameters of one training run; the defaults are what `benchmarks/quality_movielens.py` rates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimensions: int = Field(default=64, ge=2, le=2048, description="Length of the user and item vectors.")
    hidden_sizes: list[int] = Field(
        default=[],
        description="Widths of the hidden layers of each tower's residual MLP; empty means no MLP.",
    )
    history_length: int = Field(
        default=100,
        ge=0,
        le=1000,
        description="How many of the user's latest clicked items the user tower averages.",
    )
    history_half_life: float = Field(
        default=50.0,
        gt=0.0,
        le=1e6,
        description="In clicks: an item counts half as much in the average as one clicked this many later.",
    )
    history_second_half_life: float | None = Field(
        default=5.0,
        gt=0.0,
        le=1e6,
        description="In clicks: the user tower adds a second average of the same items, from a table of its own, that "
        "forgets at this rate; null for none.",
    )
    history_shares_items: bool = Field(
        default=True,
        description="The history's average also holds the item tower's id vectors, beside the history's own.",
    )
    history_power: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="The history's weighted sum is divided by the sum of its weights to this power: 1 averages, less "
        "makes a longer history count for more beside the user's id.",
    )
    user_categorical_features: list[str] = Field(
        default=[], description="Keys of users.features that are embedded as categories."
    )
    item_categorical_features: list[str] = Field(
        default=[], description="Keys of items.features that are embedded as categories."
    )
    user_numeric_features: list[str] = Field(
        default=[], description="Keys of users.features that are read as numbers and standardised."
    )
    item_numeric_features: list[str] = Field(
        default=[], description="Keys of items.features that are read as numbers and standardised."
    )
    minimum_item_clicks: int = Field(
        default=1,
        ge=1,
        description="Items with fewer training clicks share the vector of the unknown id.",
    )
    unknown_id_share: float = Field(
        default=0.05,
        ge=0.0,
        lt=1.0,
        description="Share of user and item ids replaced by the unknown id in training, to learn its vector; more of "
        "it makes the model lean on histories and features instead of ids.",
    )
    temperature: float = Field(
        default=0.2,
        gt=0.0,
        le=10.0,
        description="Scores in the loss are cosines divided by this temperature.",
    )
    learn_temperature: bool = Field(
        default=False, description="Train the temperature with the towers, from `temperature` on."
    )
    item_bias: bool = Field(
        default=False,
        description="Learn an additive bias of each item, from γ₀·log q on: score = cosine/τ + bias.",
    )
    item_bias_penalty: float = Field(
        default=0.001,
        ge=0.0,
        le=1e3,
        description="Weight in the loss of the mean square by which biases have moved from where they started.",
    )
    negatives: list[Annotated[Negatives, Field(discriminator="source")]] = Field(
        default=[InBatchNegatives()],
        min_length=1,
        description="Where the negatives of a pair come from; any mix of sources.",
    )
    correction: Correction = Field(
        default="logq",
        description="Sampling correction of the softmax: 'none' (with in-batch negatives: trains to PMI), 'logq' on "
        "every logit (trains to log p(item | user)), or 'logq_positive_excluded', which leaves the positive's logit.",
    )
    proposal: Literal["exact", "decayed", "streaming"] = Field(
        default="exact",
        description="How the item frequencies q are known: counted over the training pairs, counted with a half-life, "
        "or estimated from the stream of batches.",
    )
    proposal_half_life_days: float = Field(
        default=14.0, gt=0.0, le=3650.0, description="Half-life, in days, of `decayed` frequencies."
    )
    streaming_rate: float = Field(
        default=0.02, gt=0.0, le=1.0, description="Learning rate α of `streaming` frequencies."
    )
    streaming_hashes: int = Field(default=2, ge=1, le=16, description="Hash functions of `streaming` frequencies.")
    streaming_buckets: int = Field(
        default=65_536, ge=16, le=2**28, description="Buckets per hash function of `streaming` frequencies."
    )
    masks: list[Mask] = Field(
        default=["clicked"],
        description="Negatives that are left out beside accidental hits (the positive's own item): what the user "
        "'clicked' in the training window, and clicks of the 'same_request'.",
    )
    positive_aware_share: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="Leave out negatives whose cosine is above this share of the positive's, where that is positive "
        "(.95 in NV-Retriever); none are by default.",
    )
    batch_order: Literal["spread", "shuffled"] = Field(
        default="spread",
        description="'spread': users distinct as far as possible and each item's pairs even over the epoch; "
        "'shuffled': a plain shuffle.",
    )
    batch_size: int = Field(
        default=1024,
        ge=2,
        le=1_048_576,
        description="Pairs per batch, and so candidates per row of the softmax.",
    )
    products: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="How the loss multiplies matrices: in 'float32', or rounded to 'bfloat16' and added up in float32, "
        "faster where the processor has instructions for it; 'auto' takes 'bfloat16' there, else 'float32'.",
    )
    epochs: int = Field(default=20, ge=1, le=10_000, description="Most passes over the training pairs.")
    patience: int = Field(
        default=3,
        ge=1,
        description="Stop after this many epochs in a row without a better validation metric.",
    )
    learning_rate: float = Field(default=0.01, gt=0.0, le=10.0, description="Step size of Adam.")
    average_half_life: float | None = Field(
        default=1.0,
        gt=0.0,
        le=1e4,
        description="In epochs: validate and keep a moving average of the weights, in which those of a step count half "
        "as much as those this much later; null for the last weights.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0.0,
        le=1.0,
        description="Decoupled weight decay of the dense layers; embeddings have none.",
    )
    initial_scale: float = Field(
        default=0.03,
        gt=0.0,
        le=10.0,
        description="Standard deviation of the embeddings at the start; small where most ids have few clicks.",
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of the initial weights and of every batch order."
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        repeated = [one.source for one in self.negatives]
        if len(set(repeated)) < len(repeated):
            raise ValueError(f"negatives: every source at most once, but they are {', '.join(repeated)}")
        if "cross_batch" in repeated and "in_batch" not in repeated:
            raise ValueError(
                "cross_batch negatives have no gradient, so that nothing would push an item away from a user; add "
                "in_batch negatives"
            )
        if self.correction != "none" and all(one.uncorrected for one in self.negatives):
            raise ValueError(
                f"correction '{self.correction}' needs negatives of a known proposal, but {', '.join(repeated)} are "
                "margins; use 'none', or add in_batch negatives"
            )
        if self.correction == "logq_positive_excluded":
            if grouped := [
                one.source for one in self.negatives if isinstance(one, CategoryNegatives | ContextNegatives)
            ]:
                raise ValueError(
                    f"correction 'logq_positive_excluded' needs proposals that do not depend on the positive, but "
                    f"{grouped[0]} negatives do; use 'logq'"
                )
            if self.positive_aware_share is not None:
                raise ValueError(
                    "correction 'logq_positive_excluded' counts the negatives that are left, and what "
                    "positive_aware_share leaves out has no known probability; use 'logq'"
                )
        return self

    @property
    def has_uncorrected(self) -> bool:
        """Whether something in the loss has no known proposal, so that its optimum is unknown."""
        return self.positive_aware_share is not None or any(one.uncorrected for one in self.negatives)

    @property
    def trained_popularity_weight(self) -> float:
        """γ₀: how much log q the trained score holds.

        With corrected logits 1. Without correction 1 − a, where the negatives are drawn in proportion to q^a: 0 for
        in-batch negatives, 1 for uniform ones. Where `trained_weight_is_known` is false this is what the recipe
        would train to without its margins, and a popularity weight γ is then relative to it.
        """
        exponents = [one.popularity_exponent for one in self.negatives if one.popularity_exponent is not None]
        if self.correction != "none" or not exponents:
            return 1.0
        return 1.0 - exponents[0]

    @property
    def trained_weight_is_known(self) -> bool:
        """Whether the optimum of the loss is known to hold γ₀·log q: no margins, and one proposal or a correction."""
        if self.has_uncorrected:
            return False
        exponents = {one.popularity_exponent for one in self.negatives}
        return self.correction != "none" or (len(exponents) == 1 and None not in exponents)

    @property
    def inverse_temperature(self) -> float:
        """1/τ at the start of the training: what a cosine is multiplied with to give the score that the loss sees."""
        return 1.0 / self.temperature

"""The configuration of a training run: every hyperparameter with its type, range and meaning.

Here: the frozen model, and what follows from it alone, γ₀ above all. Not here: anything that needs torch, and where
data or checkpoints are stored.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from twotower_assets.recipes.negative_settings import (
    CategoryNegatives,
    ContextNegatives,
    InBatchNegatives,
    Negatives,
    OwnNegatives,
)
from twotower_assets.recipes.own_code import NAME, check_parameters, loss_function, sampler_class

Correction = Literal["none", "logq", "logq_positive_excluded"]
Mask = Literal["clicked", "same_request"]


class TrainingConfig(BaseModel):
    """Hyperparameters of one training run; `benchmarks/quality_movielens.py` measures the defaults."""

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
        description="In clicks: half-life of a second average of the same items, from an embedding table of its own; "
        "null for none.",
    )
    history_shares_items: bool = Field(
        default=True,
        description="Whether the history average also adds the item tower's id vectors to the history's own.",
    )
    history_power: float = Field(
        default=0.5,
        ge=0.0,
        le=1.0,
        description="The weighted sum of the history is divided by the sum of the weights to this power: 1 gives the "
        "average, less gives longer histories more influence relative to the user's id.",
    )
    user_tower: str | None = Field(
        default=None,
        pattern=NAME,
        description="A user tower of one's own, as `package.module:Class`; null for the one that comes with the "
        "platform, to which the settings of histories and hidden layers belong.",
    )
    user_tower_parameters: dict[str, Any] = Field(default={}, description="What its constructor takes beside a shape.")
    item_tower: str | None = Field(
        default=None,
        pattern=NAME,
        description="An item tower of one's own, as `package.module:Class`. Histories then share no item vectors.",
    )
    item_tower_parameters: dict[str, Any] = Field(default={}, description="What its constructor takes beside a shape.")
    loss: str | None = Field(
        default=None,
        pattern=NAME,
        description="A loss of one's own, as `package.module:function` of logits and weights; null for the softmax "
        "cross-entropy. It is computed by plain operations of PyTorch, which take longer on a processor.",
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
        description="Share of user and item ids replaced by the unknown id in training, to learn its vector; a larger "
        "share makes the model rely on histories and features instead of ids.",
    )
    temperature: float = Field(
        default=0.2,
        gt=0.0,
        le=10.0,
        description="Scores in the loss are cosines divided by this temperature.",
    )
    learn_temperature: bool = Field(
        default=False, description="Train the temperature with the towers, starting at `temperature`."
    )
    item_bias: bool = Field(
        default=False,
        description="Learn an additive bias of each item, starting at γ₀·log q: score = cosine/τ + bias.",
    )
    item_bias_penalty: float = Field(
        default=0.001,
        ge=0.0,
        le=1e3,
        description="Weight in the loss of the mean squared difference between biases and their initial values.",
    )
    negatives: list[Annotated[Negatives, Field(discriminator="source")]] = Field(
        default=[InBatchNegatives()],
        min_length=1,
        description="Where the negatives of a pair come from; any mix of sources.",
    )
    correction: Correction = Field(
        default="logq",
        description="Sampling correction of the softmax: 'none' (with in-batch negatives: trains to PMI), 'logq' on "
        "every logit (trains to log p(item | user)), or 'logq_positive_excluded' on every logit but the positive's.",
    )
    proposal: Literal["exact", "decayed", "streaming"] = Field(
        default="exact",
        description="Where the item frequencies q come from: counted over the training pairs, counted with a "
        "half-life, or estimated from the stream of batches.",
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
        description="Negatives that are masked in addition to accidental hits (the positive's own item): items that "
        "the user 'clicked' in the training window, and clicks of the 'same_request'.",
    )
    positive_aware_share: float | None = Field(
        default=None,
        gt=0.0,
        le=1.0,
        description="Mask negatives whose cosine is above this share of the positive's, if that is above 0 "
        "(.95 in NV-Retriever); null masks none.",
    )
    batch_order: Literal["spread", "shuffled"] = Field(
        default="spread",
        description="'spread': users distinct as far as possible, each item's pairs even over the epoch; "
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
        description="Precision of the loss's matrix products: 'float32', or 'bfloat16' with float32 accumulation, "
        "which is faster on processors with bfloat16 instructions; 'auto' uses 'bfloat16' there, else 'float32'.",
    )
    epochs: int = Field(default=20, ge=1, le=10_000, description="Maximum number of passes over the training pairs.")
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
        description="In epochs: half-life of the moving average of the weights that is validated and kept; null keeps "
        "the last weights.",
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
        description="Standard deviation of the initial embeddings; choose it small if most ids have few clicks.",
    )
    seed: int = Field(
        default=0, ge=0, le=2**31 - 1, description="Seed of the initial weights and of every batch order."
    )

    @model_validator(mode="after")
    def _consistent(self) -> TrainingConfig:
        names = [negatives.source for negatives in self.negatives]
        if len(set(names)) < len(names):
            raise ValueError(f"negatives: each source may be used once, but they are {', '.join(names)}")
        if "cross_batch" in names and "in_batch" not in names:
            raise ValueError(
                "cross_batch negatives have no gradient, so no item would get a gradient as a negative; add in_batch "
                "negatives"
            )
        if self.correction != "none" and all(negatives.uncorrected for negatives in self.negatives):
            raise ValueError(
                f"correction '{self.correction}' needs negatives of a known proposal, but {', '.join(names)} are "
                "uncorrected; use 'none', or add in_batch negatives"
            )
        if self.correction == "logq_positive_excluded":
            if grouped := [
                negatives.source
                for negatives in self.negatives
                if isinstance(negatives, CategoryNegatives | ContextNegatives | OwnNegatives)
            ]:
                raise ValueError(
                    f"correction 'logq_positive_excluded' needs proposals that do not depend on the positive, but "
                    f"{grouped[0]} negatives do; use 'logq'"
                )
            if self.positive_aware_share is not None:
                raise ValueError(
                    "correction 'logq_positive_excluded' counts the unmasked negatives, and the probability of those "
                    "that positive_aware_share masks is unknown; use 'logq'"
                )
        return self

    @model_validator(mode="after")
    def _own_code(self) -> TrainingConfig:
        for name, parameters, setting in (
            (self.user_tower, self.user_tower_parameters, "user_tower"),
            (self.item_tower, self.item_tower_parameters, "item_tower"),
        ):
            if name is not None:
                check_parameters(name, parameters)
            elif parameters:
                raise ValueError(f"{setting}_parameters are given, but no {setting} that takes them")
        for negatives in self.negatives:
            if isinstance(negatives, OwnNegatives):
                sampler_class(negatives.sampler, negatives.parameters, corrected=not negatives.uncorrected)
        if self.loss is not None:
            loss_function(self.loss)
        return self

    @property
    def has_uncorrected(self) -> bool:
        """Whether the loss has uncorrected negatives or masks by score, so that its optimum is unknown."""
        return self.positive_aware_share is not None or any(negatives.uncorrected for negatives in self.negatives)

    @property
    def trained_popularity_weight(self) -> float:
        """γ₀: the weight of log q in the trained score.

        1 with corrected logits. 1 − a without correction, for negatives drawn in proportion to q^a: 0 for in-batch
        negatives, 1 for uniform ones. If `trained_weight_is_known` is false, this is the weight without the uncorrected
        negatives, and a popularity weight γ is relative to it.
        """
        exponents = [
            negatives.popularity_exponent for negatives in self.negatives if negatives.popularity_exponent is not None
        ]
        if self.correction != "none" or not exponents:
            return 1.0
        return 1.0 - exponents[0]

    @property
    def trained_weight_is_known(self) -> bool:
        """Whether the optimum of the loss holds γ₀·log q: all negatives corrected, or all of one proposal.

        It is not known of a loss of the user's own.
        """
        if self.has_uncorrected or self.loss is not None:
            return False
        exponents = {negatives.popularity_exponent for negatives in self.negatives}
        return self.correction != "none" or (len(exponents) == 1 and None not in exponents)

    @property
    def inverse_temperature(self) -> float:
        """1/τ at the start of training, the factor of cosines in the loss."""
        return 1.0 / self.temperature

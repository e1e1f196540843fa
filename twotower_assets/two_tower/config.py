"""What a training run may be told: every hyper-parameter with its type, range and meaning.

Here: the plain-typed, frozen model and what follows from it alone. Not here: anything that needs torch, and
anything that says where data or checkpoints live.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class TrainingConfig(BaseModel):
    """Hyper-parameters of one training run; the defaults are what `benchmarks/quality_movielens.py` rates."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dimensions: int = Field(default=64, ge=2, le=2048, description="Length of the user and item vectors.")
    hidden_sizes: list[int] = Field(
        default_factory=list,
        description="Widths of the hidden layers of each tower's residual MLP; empty means no MLP.",
    )
    history_length: int = Field(
        default=50,
        ge=0,
        le=1000,
        description="How many of the user's latest clicked items the user tower averages.",
    )
    history_half_life: float = Field(
        default=20.0,
        gt=0.0,
        le=1e6,
        description="In clicks: an item counts half as much in the average as one clicked this many later.",
    )
    user_categorical_features: list[str] = Field(
        default_factory=list, description="Keys of users.features that are embedded as categories."
    )
    item_categorical_features: list[str] = Field(
        default_factory=list, description="Keys of items.features that are embedded as categories."
    )
    user_numeric_features: list[str] = Field(
        default_factory=list, description="Keys of users.features that are read as numbers and standardised."
    )
    item_numeric_features: list[str] = Field(
        default_factory=list, description="Keys of items.features that are read as numbers and standardised."
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
    correction: Literal["none", "logq"] = Field(
        default="logq",
        description="Sampling correction of the softmax: 'none' trains to PMI, 'logq' to log p(item | user).",
    )
    batch_size: int = Field(
        default=1024,
        ge=2,
        le=1_048_576,
        description="Pairs per batch, and so candidates per row of the softmax.",
    )
    epochs: int = Field(default=20, ge=1, le=10_000, description="Most passes over the training pairs.")
    patience: int = Field(
        default=3,
        ge=1,
        description="Stop after this many epochs in a row without a better validation metric.",
    )
    learning_rate: float = Field(default=0.01, gt=0.0, le=10.0, description="Step size of Adam.")
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

    @property
    def trained_popularity_weight(self) -> float:
        """γ₀: how much log q the trained score holds; 0 for the uncorrected softmax, 1 with logQ."""
        return {"none": 0.0, "logq": 1.0}[self.correction]

    @property
    def inverse_temperature(self) -> float:
        """1/τ: what a cosine is multiplied with to give the score that the loss saw."""
        return 1.0 / self.temperature

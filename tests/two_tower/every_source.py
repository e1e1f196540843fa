"""One configuration of every source of negatives, for the suites that all sources run through.

Here: the cases, and which of them go together. Not here: the tests. A source without a case fails
`sampling/test_every_source.py`.
"""

from __future__ import annotations

from typing import Any, get_args

from twotower_assets.recipes.negative_settings import Negatives

SOURCES: dict[str, dict[str, Any]] = {
    "in_batch": {},
    "uniform": {"count": 24},
    "popularity": {"count": 24, "exponent": 0.5},
    "cross_batch": {"count": 60, "warm_up_epochs": 0.0, "maximum_age": 3},
    "category": {"per_positive": 3, "minimum_items": 4},
    "context": {"per_positive": 2},
    "exposed": {"per_positive": 2, "weight": 2.0},
    "mined": {"per_positive": 2, "recipe": "other"},
    "own": {"per_positive": 2, "sampler": "two_tower.own_negatives:Squared"},
}
DECLARED = {one.model_fields["source"].default for one in get_args(Negatives)}
KNOWN = [name for name in SOURCES if name not in ("exposed", "mined")]
PER_ROW = ["category", "context", "exposed", "mined", "own"]
SHARED = [name for name in SOURCES if name not in PER_ROW]
CORRECTIONS = ["none", "logq", "logq_positive_excluded"]


def negatives(*names: str) -> list[dict[str, Any]]:
    """Settings of the named sources."""
    return [{"source": name, **SOURCES[name]} for name in names]


def goes_with(correction: str, *names: str) -> bool:
    """Whether the correction can be had with these sources."""
    if "cross_batch" in names and "in_batch" not in names:
        return False
    if correction != "none" and not set(names) & set(KNOWN):
        return False
    return correction != "logq_positive_excluded" or not set(names) & {"category", "context", "own"}


ALONE_AND_MIXED = [(name,) for name in SOURCES] + [("in_batch", name) for name in SOURCES if name != "in_batch"]
CASES = [
    (names, correction) for names in ALONE_AND_MIXED for correction in CORRECTIONS if goes_with(correction, *names)
]
"""Every source alone, where it can be, and beside in-batch negatives, with every correction that goes with it."""
ALL_TOGETHER = [
    (tuple(name for name in SOURCES if goes_with(correction, "in_batch", name)), correction)
    for correction in CORRECTIONS
]
"""As many sources at once as a correction goes with."""

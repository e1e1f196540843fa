"""Names of assets, groups, jobs and resources in Dagster, with the prefix of a code location if it has one.

This module lists the assets; `assets/` defines them.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import dagster as dg

from twotower_assets.lake import tables

GROUPS = {
    "sources": tables.names(tables.SOURCES),
    "features": tables.names(tables.FEATURES),
    "training": ["tower_checkpoint", *tables.names(tables.TRAINING)],
    "serving": ["item_embeddings", "user_embeddings", "ann_index", "embedding_drift", "champion"],
    "reports": ["popularity_bias_report"],
    "recipes": ["negative_sampling_runs", "negative_sampling_comparison"],
}
WRITTEN_WITH = {
    "ann_index_quality": "ann_index",
    "ann_index_depths": "ann_index",
    "served_item_embeddings": "champion",
    "served_user_embeddings": "champion",
    "champion_decisions": "champion",
    "version_comparisons": "champion",
    **dict.fromkeys(tables.names(tables.REPORTS), "popularity_bias_report"),
    **{name: "negative_sampling_runs" for name in tables.names(tables.RECIPES) if name not in GROUPS["recipes"]},
}
"""Tables that are written by an asset with another name, which shows their columns and has their checks."""
SHOWN_APART = {"champion": "promotion"}
"""Assets that the graph shows in a group of their own: the champion depends on the report, so it is shown after it."""
SHOWN_GROUPS = [*GROUPS, *SHOWN_APART.values()]


def group_of(name: str) -> str:
    """The group of the asset `name`. Raises `KeyError` if it has none."""
    for group, members in GROUPS.items():
        if name in members:
            return group
    raise KeyError(f"{name} belongs to no group")


@dataclass(frozen=True)
class Naming:
    """The names of one graph in a code location that may hold several.

    Attributes:
        key_prefix: put before every asset key, and before the names of jobs, schedules, resources and steps.
        group_names: other names to show groups under, by their name here.
    """

    key_prefix: tuple[str, ...] = ()
    group_names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raises `ValueError` for an unknown group."""
        if unknown := sorted(set(self.group_names) - set(SHOWN_GROUPS)):
            raise ValueError(f"unknown group '{unknown[0]}' in group_names; the groups are {', '.join(SHOWN_GROUPS)}")

    def key_of(self, name: str) -> dg.AssetKey:
        """The asset key of `name`: the prefix, its group, then its name."""
        return dg.AssetKey([*self.key_prefix, group_of(name), name])

    def keys_of(self, names: Iterable[str]) -> list[dg.AssetKey]:
        """The asset keys of several names."""
        return [self.key_of(name) for name in names]

    def group_name_of(self, name: str) -> str:
        """The group in which Dagster shows the asset `name`."""
        group = SHOWN_APART.get(name, group_of(name))
        return self.group_names.get(group, group)

    def definition_name(self, name: str) -> str:
        """The name of a step, job, schedule or resource, unique in the code location: the prefix, then `name`."""
        return re.sub(r"\W", "_", "_".join([*self.key_prefix, name]))


key_of = Naming().key_of
"""The asset key of a name in a graph without a prefix."""

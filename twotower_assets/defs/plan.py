"""What the definitions of one graph share: names, partitions and home. Passed to every function that defines some."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import dagster as dg

from twotower_assets.defs.naming import Naming
from twotower_assets.defs.partitions import Partitions, trailing_window
from twotower_assets.defs.resources import WORKSPACE, HasWorkspace
from twotower_assets.settings import Settings
from twotower_assets.workspace import Workspace


@dataclass(frozen=True)
class Plan:
    """Names, partitions, and the home that the graph is declared for.

    Attributes:
        naming: names of assets, groups and jobs.
        partitions: one per day.
        declared_for: gives table locations, window length and recipes when the graph is loaded. Runs use the home
            that `workspace` returns instead.
    """

    naming: Naming
    partitions: Partitions
    declared_for: Workspace

    @property
    def settings(self) -> Settings:
        """The settings that the graph is declared for."""
        return self.declared_for.settings

    @property
    def resource_keys(self) -> set[str]:
        """The resources that every step requires."""
        return {self.naming.definition_name(WORKSPACE)}

    def workspace(self, context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext) -> Workspace:
        """The home that a run works on, from its resource."""
        resource: HasWorkspace = getattr(context.resources, self.naming.definition_name(WORKSPACE))
        return resource.workspace

    def dep(self, name: str) -> dg.AssetDep:
        """A dependency on the same day of an asset, or on the whole of an unpartitioned asset."""
        return dg.AssetDep(self.naming.key_of(name))

    def window_dep(self, name: str) -> dg.AssetDep:
        """A dependency on the trailing window of an asset."""
        mapping = trailing_window(self.partitions, self.settings.window_days)
        return dg.AssetDep(self.naming.key_of(name), partition_mapping=mapping)

    def every_day_dep(self, name: str) -> dg.AssetDep:
        """A dependency on every partition of an asset."""
        return dg.AssetDep(self.naming.key_of(name), partition_mapping=dg.AllPartitionMapping())

    def step(
        self,
        name: str,
        *specs: dg.AssetSpec,
        partitions_def: dg.PartitionsDefinition | None = None,
        backfill_policy: dg.BackfillPolicy | None = None,
    ) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
        """A decorator for a function that materializes `specs`, with the plan's names and resource."""
        return dg.multi_asset(
            name=self.naming.definition_name(name),
            specs=specs,
            required_resource_keys=self.resource_keys,
            partitions_def=partitions_def,
            backfill_policy=backfill_policy,
        )

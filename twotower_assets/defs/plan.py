"""What the definitions of one graph are made from, handed to whatever declares a part of it."""

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
    """Names, partitions, and the home as it is known when the graph is declared.

    Attributes:
        naming: what things are called.
        partitions: one a day.
        declared_for: says where tables lie, how far windows reach and which recipes there are. What runs works on
            the home that `workspace` gives.
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
        """A dependency on the same day of an asset, or on all of one without days."""
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
        """The decorator of a function that makes the assets of `specs`, with the names and the resource of the plan."""
        return dg.multi_asset(
            name=self.naming.definition_name(name),
            specs=specs,
            required_resource_keys=self.resource_keys,
            partitions_def=partitions_def,
            backfill_policy=backfill_policy,
        )

"""The whole graph as a Dagster component: home, names and schedule. The definitions are in `defs`."""

from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import BaseModel, Field

from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.naming import Naming
from twotower_assets.settings import load_settings


class TwoTowerScaffold(BaseModel):
    """Options of `dg scaffold defs`."""

    dataset: str = Field("movielens", description="Data set of the home: a folder below `sql/sources/`, or your own.")


class TwoTowerScaffolder(dg.Scaffolder[TwoTowerScaffold]):
    """Writes a component file with prefix and home named after its folder."""

    @classmethod
    def get_scaffold_params(cls) -> type[TwoTowerScaffold]:
        """The model of the options."""
        return TwoTowerScaffold

    def scaffold(self, request: dg.ScaffoldRequest[TwoTowerScaffold]) -> None:
        """Write the YAML that declares the component."""
        name = request.target_path.stem
        attributes = {
            "home": f".twotower/{name}",
            "dataset": request.params.dataset,
            "key_prefix": [name],
            "schedule": True,
        }
        dg.scaffold_component(request, attributes)


@dg.scaffold_with(TwoTowerScaffolder)
class TwoTowerComponent(dg.Component, dg.Model, dg.Resolvable):
    """Two-tower retrieval on one data set: sources, features, training, embeddings, index, report, champion.

    Includes checks, jobs and a daily schedule. A code location can hold several of these components, each with its own
    prefix and home.
    """

    home: str = Field(
        ".twotower",
        description="The home folder: lake, artifacts, twotower.env. A relative path is in the project.",
    )
    dataset: str | None = Field(
        None, description="Data set of the home. Default: the setting of the home or the environment, else movielens."
    )
    settings: dict[str, Any] = Field(
        {},
        description="Other settings, by their names in docs/settings.md in lower case without TWOTOWER_, such as "
        "{window_days: 14, source_path: /data/log}. They override those of the home and of the environment.",
    )
    key_prefix: list[str] = Field(
        [], description="Put before every asset key, and before the names of jobs, the schedule and the resource."
    )
    group_names: dict[str, str] = Field(
        {},
        description="Other names for groups, such as {training: shop_training}. The groups are sources, features, "
        "training, serving, promotion, reports and recipes.",
    )
    schedule: bool = Field(True, description="Whether to define a daily schedule.")
    schedule_hour: int | None = Field(
        None, description="Hour of the day at which it runs, 0 to 23. Default: TWOTOWER_SCHEDULE_HOUR."
    )
    time_zone: str | None = Field(
        None, description="Time zone of that hour, such as Europe/Berlin. Default: TWOTOWER_TIME_ZONE."
    )

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The definitions of the graph. Raises `SettingsError` for an invalid or unknown setting."""
        named = {"dataset": self.dataset, "schedule_hour": self.schedule_hour, "time_zone": self.time_zone}
        chosen = {name: value for name, value in named.items() if value is not None}
        home = context.project_root / Path(self.home).expanduser()
        return build_definitions(
            load_settings(**{**self.settings, **chosen, "home": home}),
            naming=Naming(tuple(self.key_prefix), self.group_names),
            schedule=self.schedule,
        )

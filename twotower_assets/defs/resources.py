"""The resource that gives assets and checks their home: settings, lake, artifacts and raw data set."""

from typing import Any, Protocol, Self

import dagster as dg
from pydantic import Field

from twotower_assets.settings import Settings, load_settings
from twotower_assets.workspace import Workspace, open_workspace

WORKSPACE = "workspace"
"""The key of the resource, without the prefix of a graph."""


class HasWorkspace(Protocol):
    """What may stand in for `WorkspaceResource`."""

    @property
    def workspace(self) -> Workspace:
        """The home that a run works on."""


class WorkspaceResource(dg.ConfigurableResource):
    """A home folder, opened when a run asks for it."""

    home: str | None = Field(
        None, description="The home folder: lake, artifacts, settings. Default: TWOTOWER_HOME, else `.twotower`."
    )
    settings: dict[str, Any] = Field(
        {},
        description="Settings over those of the environment and of `twotower.env` in the home, by their names in "
        'lower case without TWOTOWER_, such as {"window_days": 14}.',
    )

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The home that settings name, with every one of them that was set."""
        chosen = settings.model_dump(mode="json", exclude={"home"}, exclude_unset=True, exclude_none=True)
        return cls(home=str(settings.home), settings=chosen)

    @property
    def workspace(self) -> Workspace:
        """Settings, lake, artifacts and raw data set; nothing is opened before it is read or written.

        Raises `SettingsError` for a setting that is wrong or unknown.
        """
        return open_workspace(load_settings(**({"home": self.home} if self.home else {}), **self.settings))

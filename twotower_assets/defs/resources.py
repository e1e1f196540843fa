"""The Dagster resource through which assets and checks get their home: settings, lake, artifacts and raw data set."""

from typing import Any, Protocol, Self

import dagster as dg
from pydantic import Field

from twotower_assets.settings import Settings, load_settings
from twotower_assets.workspace import Workspace, open_workspace

WORKSPACE = "workspace"
"""The key of the resource, without the graph's prefix."""


class HasWorkspace(Protocol):
    """The interface of `WorkspaceResource`, for replacements."""

    @property
    def workspace(self) -> Workspace:
        """The home that a run reads and writes."""


class WorkspaceResource(dg.ConfigurableResource):
    """A home folder, opened when a run needs it."""

    home: str | None = Field(
        None, description="The home folder: lake, artifacts, settings. Default: TWOTOWER_HOME, else `.twotower`."
    )
    settings: dict[str, Any] = Field(
        {},
        description="Settings that override the environment and `twotower.env` of the home, by lower-case name "
        'without TWOTOWER_, such as {"window_days": 14}.',
    )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The home of `settings`, with every setting that was set explicitly."""
        chosen = settings.model_dump(mode="json", exclude={"home"}, exclude_unset=True, exclude_none=True)
        return cls(home=str(settings.home), settings=chosen)

    @property
    def workspace(self) -> Workspace:
        """Settings, lake, artifacts and raw data set; each is opened on first use.

        Raises `SettingsError` for an invalid or unknown setting.
        """
        return open_workspace(load_settings(**({"home": self.home} if self.home else {}), **self.settings))

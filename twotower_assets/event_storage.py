"""The event log storage under the name that the `dagster.yaml` of homes made before release 0.2 holds."""

from twotower_assets.defs.event_storage import LocalEventLog

__all__ = ["LocalEventLog"]

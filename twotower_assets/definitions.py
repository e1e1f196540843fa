"""What Dagster loads; everything is put together in `defs/build.py`."""

import dagster as dg

from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.event_log import speed_up_sqlite_event_log


@dg.definitions
def definitions() -> dg.Definitions:
    """The data set that the settings of the home name."""
    speed_up_sqlite_event_log()
    return build_definitions()

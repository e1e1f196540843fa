"""Two-tower retrieval as Dagster assets: from exposure logs to towers, embeddings, an index and a popularity report.

`twotower_assets.connect()` opens the lake for reading.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twotower_assets.workspace import connect

__all__ = ["connect"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`connect`, imported when it is asked for: the command line and Dagster load without it."""
    if name != "connect":
        raise AttributeError(f"module 'twotower_assets' has no attribute {name!r}")
    from twotower_assets.workspace import connect

    return connect

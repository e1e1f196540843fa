"""`twotower`: a few commands for people at a terminal. What the commands do lives elsewhere; here they are asked for,
and what comes out is printed.

Importing a module of this package adds its commands to `app`, in the order in which the help lists them.
"""

from twotower_assets.cli import init, running, models, lake, serving  # noqa: F401, I001  (the order of the help)
from twotower_assets.cli.app import app

__all__ = ["app"]

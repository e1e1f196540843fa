"""The `twotower` command line: parses options, calls the other packages and prints the results.

Importing a module of this package adds its commands to `app`, in the order in which the help lists them.
"""

from twotower_assets.cli import init, check_data, running, models, lake, serving  # noqa: F401, I001  (the order of the help)
from twotower_assets.cli.app import app

__all__ = ["app"]

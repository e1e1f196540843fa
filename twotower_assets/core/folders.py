"""The locations of this project's files, in a checkout and in an installed wheel.

Folders that come with the code, and the default home, belong here. The folders inside a home are in `settings.py`.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
"""The folder of the package."""


def checkout_of(package: Path) -> Path | None:
    """The parent folder of a package, if it has this project's `pyproject.toml`; else None."""
    try:
        project = tomllib.loads((package.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return None
    return package.parent if project.get("name") == "twotower-assets" else None


CHECKOUT = checkout_of(PACKAGE)
"""The checkout that the package runs from; None if it was installed from a wheel."""

SQL_FOLDER = (CHECKOUT or PACKAGE) / "sql"
"""The folder of all SQL files: at the top of a checkout, inside the package of a wheel."""

DEFAULT_HOME = (CHECKOUT or Path.home()) / ".twotower"
"""The home folder unless `TWOTOWER_HOME` names another: in the checkout, else the user's own `~/.twotower`."""

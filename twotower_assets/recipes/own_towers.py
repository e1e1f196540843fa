"""Towers of a user's own, which a recipe names as `package.module:Class`.

Here: finding the class, and whether it takes the parameters that the recipe gives. Not here: what a tower is
(`two_tower/towers/tower.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import Any

NAME = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def tower_class(name: str) -> Any:
    """The class that is named, such as `shop.towers:Attention`.

    Raises `ValueError` where there is no such module or class, or it is no tower.
    """
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute, None)
    except Exception as error:
        raise ValueError(
            f"the module of the tower '{name}' cannot be imported ({type(error).__name__}: {error}); install its "
            "package, or put its folder on PYTHONPATH"
        ) from error
    if found is None:
        raise ValueError(f"the module {module} has no class {attribute}, which the recipe names as a tower")
    missing = [method for method in ("encode", "vjp") if not hasattr(found, method)]
    if not inspect.isclass(found) or missing:
        raise ValueError(
            f"{name} is no tower: it lacks {', '.join(missing) or 'a constructor'}. Derive it from "
            "twotower_assets.two_tower.towers.tower.TorchTower"
        )
    return found


def check_parameters(name: str, parameters: Mapping[str, Any]) -> None:
    """Raise `ValueError` if the class takes other parameters than these, beside the shape that comes first."""
    try:
        inspect.signature(tower_class(name)).bind(None, **parameters)
    except TypeError as error:
        given = ", ".join(parameters) or "none"
        raise ValueError(f"the tower {name} takes other parameters than those given ({given}): {error}") from error

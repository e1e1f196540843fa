"""Towers, losses and sources of negatives of a user's own, which a recipe names as `package.module:name`.

Here: finding them, and whether they take the parameters that the recipe gives. Not here: what a tower is
(`two_tower/towers/tower.py`), what a loss is given (`two_tower/loss/torch_softmax.py`), and what a source draws
(`two_tower/sampling/own_source.py`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

NAME = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"


def tower_class(name: str) -> Any:
    """The class that is named, such as `shop.towers:Attention`.

    Raises `ValueError` where there is no such module or class, or it is no tower.
    """
    found = _imported(name, "class", "tower")
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


def sampler_class(name: str, parameters: Mapping[str, Any], *, corrected: bool) -> Any:
    """The class of a source of negatives that is named, such as `shop.negatives:Recent`.

    Raises `ValueError` where there is no such module or class, it takes other parameters beside the training set, or it
    lacks a method: `draw`, and for corrected negatives `probability`.
    """
    found = _imported(name, "class", "source of negatives")
    missing = [method for method in ("draw", *(["probability"] if corrected else [])) if not hasattr(found, method)]
    if not inspect.isclass(found) or missing:
        raise ValueError(
            f"{name} is no source of negatives: it lacks {', '.join(missing) or 'a constructor'}. See `Sampler` in "
            "twotower_assets/two_tower/sampling/own_source.py; without `probability` its negatives are `treatment: "
            "uncorrected`"
        )
    try:
        inspect.signature(found).bind(None, **parameters)
    except TypeError as error:
        given = ", ".join(parameters) or "none"
        raise ValueError(
            f"the source of negatives {name} takes other parameters than those given ({given}): {error}"
        ) from error
    return found


def loss_function(name: str) -> Callable[[Any, Any], Any]:
    """The function of logits and weights that is named, such as `shop.losses:hinge`.

    Raises `ValueError` where there is no such module or function, or it does not take two arguments.
    """
    found = _imported(name, "function", "loss")
    try:
        inspect.signature(found).bind(None, None)
    except TypeError as error:
        raise ValueError(
            f"{name} is no loss: it must be a function of `Logits` and of the weights of the rows ({error})"
        ) from error
    function: Callable[[Any, Any], Any] = found
    return function


def _imported(name: str, kind: str, use: str) -> Any:
    module, _, attribute = name.partition(":")
    try:
        found = getattr(import_module(module), attribute, None)
    except Exception as error:
        raise ValueError(
            f"the module of the {use} '{name}' cannot be imported ({type(error).__name__}: {error}); install its "
            "package, or put its folder on PYTHONPATH"
        ) from error
    if found is None:
        raise ValueError(f"the module {module} has no {kind} {attribute}, which the recipe names as a {use}")
    return found

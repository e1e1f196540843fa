"""Two-tower retrieval as Dagster assets: from exposure logs to towers, embeddings, an index and a popularity report.

The public API, usable without Dagster: `connect` opens the lake for reading; `train`, `evaluate`, `recommend` and
`load_checkpoint` are described in `docs/python.md`.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from twotower_assets.api import Model, evaluate, load_checkpoint, recommend, train
    from twotower_assets.workspace import connect

__all__ = ["Model", "connect", "evaluate", "load_checkpoint", "recommend", "train"]
__version__ = "0.1.0"

if not os.environ.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
    # OpenMP reads it when torch is loaded. Idle threads that spin for long take the cores from whatever else runs:
    # beside busy neighbours, a step on two threads was three times slower for it (`benchmarks/neighbours.py`).
    os.environ["GOMP_SPINCOUNT"] = "1000"


def __getattr__(name: str) -> Any:
    """A name of the API, imported when it is asked for: the command line and Dagster load without it."""
    if name not in __all__:
        raise AttributeError(f"module 'twotower_assets' has no attribute {name!r}")
    module = import_module(f"twotower_assets.{'workspace' if name == 'connect' else 'api'}")
    return getattr(module, name)

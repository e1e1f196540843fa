"""Compares the features that a training names with those of the catalogues in the lake, before the training starts."""

from __future__ import annotations

from twotower_assets.lake.queries import read_query
from twotower_assets.recipes.config import TrainingConfig
from twotower_assets.workspace import Workspace


def require_known_features(workspace: Workspace, config: TrainingConfig) -> None:
    """Raise `TrainingDataError` if settings name features that no row of the lake's catalogues has.

    A catalogue that was not materialized yet says nothing; the training itself checks again.
    """
    named = [name for side in ("item", "user") for name in _settings_of(side) if getattr(config, name)]
    if not named or not workspace.lake.exists:
        return
    from twotower_assets.two_tower.data.encoders import require_features

    with workspace.lake.reader() as con:
        found = con.execute(read_query("training/feature_keys.sql")).fetchall()
    known = {side: keys or [] for side, has_rows, keys in found if has_rows}
    unchecked: dict[str, list[str]] = {
        name: [] for side in ("item", "user") if side not in known for name in _settings_of(side)
    }
    require_features(config.model_copy(update=unchecked), known.get("item", []), known.get("user", []))


def _settings_of(side: str) -> tuple[str, str]:
    return f"{side}_categorical_features", f"{side}_numeric_features"

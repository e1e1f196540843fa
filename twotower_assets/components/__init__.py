"""What a team puts into a code location of its own with a few lines of YAML; `dg list components` shows it."""

from twotower_assets.components.two_tower_component import TwoTowerComponent as TwoTowerComponent

"""The Dagster component for adding the graph to another code location in YAML; `dg list components` lists it."""

from twotower_assets.components.two_tower_component import TwoTowerComponent as TwoTowerComponent

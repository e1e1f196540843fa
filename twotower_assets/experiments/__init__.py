"""Joins data, models and metrics without Dagster: hold-out, training a recipe, mining, evaluating, comparing."""

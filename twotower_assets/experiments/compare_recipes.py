"""All recipes trained on the same data set, compared with a baseline: the rows, the frames for charts, the advice.

`evaluate_recipes.py` decides what is comparable and computes the rows; `reporting` draws and words them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from twotower_assets.experiments.evaluate_recipes import (
    RUN_TABLES,
    comparable_runs,
    comparison_rows,
    require_served_weight,
)
from twotower_assets.lake.staging import stage_rows
from twotower_assets.lake.writing import Run, WrittenTable, commit_tables, written_table
from twotower_assets.recipes.recipes import load_recipes, recipe_named
from twotower_assets.workspace import Workspace

if TYPE_CHECKING:
    import polars as pl


@dataclass(frozen=True)
class RecipeComparison:
    """Recipes compared with a baseline.

    Attributes:
        written: what was written to `negative_sampling_comparison`.
        rows: of that table.
        runs: the compared rows of `negative_sampling_runs`; `metrics` and `diagnostics` likewise.
        recommendation: in words.
        excluded: recipes that cannot be compared, each with the reason.
    """

    written: WrittenTable
    rows: pl.DataFrame
    runs: pl.DataFrame
    metrics: pl.DataFrame
    diagnostics: pl.DataFrame
    recommendation: str
    excluded: Mapping[str, str]


def compare_recipes(workspace: Workspace, baseline: str, run: Run) -> RecipeComparison:
    """Compare every trained recipe with the baseline, and write `negative_sampling_comparison`.

    Raises `RecipeError` for an unknown baseline, `BaselineError` if it was not trained, or evaluated at another γ.
    """
    import polars as pl

    from twotower_assets.reporting.recipe_summary import recommendation

    settings = workspace.settings
    recipe_named(load_recipes(settings.recipes_file), baseline)
    with workspace.lake.reader() as con:
        runs, metrics, users, diagnostics = (
            pl.DataFrame(pl.from_arrow(con.execute(f"FROM {name}").to_arrow_table())) for name in RUN_TABLES
        )
    comparable, excluded = comparable_runs(runs, baseline)
    require_served_weight(runs, baseline, settings.popularity_weight, settings.popularity_from)
    for recipe, reason in excluded.items():
        run.log.warning(f"{recipe} is excluded from the comparison: {reason}")
    kept = pl.col("recipe").is_in(comparable["recipe"].unique().to_list())
    metrics, users, diagnostics = (frame.filter(kept) for frame in (metrics, users, diagnostics))
    rows = comparison_rows(metrics, users, baseline, settings.popularity_weight)
    with workspace.lake.writer() as con:
        comparison = stage_rows(con, "negative_sampling_comparison", rows)
        snapshot = commit_tables(workspace.lake, con, ["negative_sampling_comparison"], None, run)
        written = written_table(con, "negative_sampling_comparison", snapshot, None)
    words = recommendation(comparable, comparison, baseline)
    run.log.info(words)
    return RecipeComparison(written, comparison, comparable, metrics, diagnostics, words, excluded)

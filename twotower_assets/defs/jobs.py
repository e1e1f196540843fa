"""The jobs: which assets each of them materializes, with their checks. The assets themselves are in `assets/`.

The steps of a job run one after another in one process, which imports torch and Great Expectations only once.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from twotower_assets.defs.naming import GROUPS, Naming

EVERYTHING = "everything_job"
BY_RECIPE, UNPARTITIONED = ("recipes_job",), ("champion_job", "comparison_job")
"""Jobs without daily partitions."""
FEATURES = [*GROUPS["sources"], *GROUPS["features"]]
TRAINING = [*GROUPS["training"], *GROUPS["serving"], *GROUPS["reports"]]


def jobs(naming: Naming) -> list[Any]:
    """All jobs, each with the checks of its assets; the last is `everything_job`."""

    def job(name: str, assets: Sequence[str], description: str) -> Any:
        return dg.define_asset_job(
            naming.definition_name(name),
            dg.AssetSelection.assets(*naming.keys_of(assets)),
            description=description,
            executor_def=dg.in_process_executor,
        )

    return [
        job(
            "features_job",
            FEATURES,
            "Ingest the sources of a day, or of a range of days, and compute every feature.",
        ),
        job(
            "training_job",
            TRAINING,
            "Train as of a day, embed, index, report, and serve the newest version that passes the gates.",
        ),
        job(
            "champion_job",
            ["champion"],
            "Evaluate the newest version against the champion; or promote a version by hand, or roll back.",
        ),
        job(
            "recipes_job",
            ["negative_sampling_runs"],
            "Train one recipe for the comparison; a backfill over all partitions is the ablation.",
        ),
        job("comparison_job", ["negative_sampling_comparison"], "Compare the recipes that were trained."),
        job(
            EVERYTHING,
            [*FEATURES, *TRAINING],
            "A day from the raw log to the champion: features_job and training_job together.",
        ),
    ]

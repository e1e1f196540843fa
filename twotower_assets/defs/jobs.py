"""The jobs: which assets each holds, with the checks of these. What the assets do is not decided here.

Their steps run in one process, one after another: importing torch or Great Expectations once costs less than once a
step.
"""

from collections.abc import Sequence
from typing import Any

import dagster as dg

from twotower_assets.defs.naming import GROUPS, Naming

EVERYTHING = "everything_job"
BY_RECIPE, UNPARTITIONED = ("recipes_job",), ("champion_job", "comparison_job")
"""Jobs that have no days."""
FEATURES = [*GROUPS["sources"], *GROUPS["features"]]
TRAINING = [*GROUPS["training"], *GROUPS["serving"], *GROUPS["reports"]]


def jobs(naming: Naming) -> list[Any]:
    """The jobs, each with the checks of its assets; the last is `everything_job`."""

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
            "Read the sources of a day, or of a range of days, and make every feature.",
        ),
        job(
            "training_job",
            TRAINING,
            "Train as of a day, embed, index, report, and serve the newest version that passes the gates.",
        ),
        job(
            "champion_job",
            ["champion"],
            "Judge the newest version against what is served; or promote a version by hand, or roll back.",
        ),
        job(
            "recipes_job",
            ["negative_sampling_runs"],
            "Train one recipe, to be compared with others; a backfill over all partitions is the ablation.",
        ),
        job("comparison_job", ["negative_sampling_comparison"], "Set the recipes that were trained side by side."),
        job(EVERYTHING, [*FEATURES, *TRAINING], "A day from its raw log to what is served."),
    ]

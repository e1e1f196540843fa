"""The jobs, and what the command line knows of their partitions."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import dagster as dg

from twotower_assets.defs.build import build_definitions
from twotower_assets.defs.jobs import BY_RECIPE, UNPARTITIONED, jobs
from twotower_assets.defs.naming import Naming
from twotower_assets.settings import Settings


def test_what_is_known_of_the_partitions_of_jobs_is_what_they_are() -> None:
    settings = Settings(home=Path("/nonexistent"), dataset="parquet", first_day=date(2024, 1, 1))
    definitions = build_definitions(settings)
    for job in jobs(Naming()):
        partitions = definitions.resolve_job_def(job.name).partitions_def
        assert (partitions is None) == (job.name in UNPARTITIONED)
        assert isinstance(partitions, dg.StaticPartitionsDefinition) == (job.name in BY_RECIPE)

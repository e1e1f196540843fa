"""Runs of the command line under their job in the UI.

*Timeline* and *Jobs* show the runs whose record names the code location that their job comes from. Dagster writes it
for runs that it launches; `execute_in_process` has no argument for it. This module uses two records of
`dagster._core.remote_origin`, and relies on `execute_in_process` making its run with `create_run_for_job` of the
instance. Without it runs of the command line are still under *Runs*, but not in *Timeline* and *Jobs*.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin

CODE_LOCATION = "twotower_assets"
"""The name of the code location that `twotower ui` loads."""


@contextmanager
def under_its_job(instance: dg.DagsterInstance, repository: str, job: str) -> Iterator[None]:
    """Meanwhile, runs that are executed in this process belong to a job of the code location."""
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(CODE_LOCATION), repository).get_job_origin(job)
    create = partial(instance.create_run_for_job, remote_job_origin=origin)
    instance.create_run_for_job = create  # type: ignore[method-assign]
    try:
        yield
    finally:
        del instance.create_run_for_job

"""Shows command-line runs under their job in the UI.

*Timeline* and *Jobs* show only runs whose record names the code location of their job. Dagster sets it for runs that it
launches; `execute_in_process` has no argument for it. This module uses two classes of `dagster._core.remote_origin` and
relies on `execute_in_process` creating its run with the instance's `create_run_for_job`. Without it, command-line runs
are still listed under *Runs*, but not under *Timeline* and *Jobs*.
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
def runs_listed_under_job(instance: dg.DagsterInstance, repository: str, job: str) -> Iterator[None]:
    """While the context lasts, runs executed in this process are recorded under a job of the code location."""
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(CODE_LOCATION), repository).get_job_origin(job)
    create = partial(instance.create_run_for_job, remote_job_origin=origin)
    instance.create_run_for_job = create  # type: ignore[method-assign]
    try:
        yield
    finally:
        del instance.create_run_for_job

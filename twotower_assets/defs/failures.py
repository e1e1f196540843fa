"""How an asset fails: an error that the user can fix fails the run with its message and without a stack trace.

Such errors derive from `core.errors.ExpectedError`. Any other error is a bug in the platform and keeps its trace.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from twotower_assets.core.errors import ExpectedError


@contextmanager
def expected_errors_as_failures() -> Iterator[None]:
    """Turn an `ExpectedError` into a `dg.Failure` with the same message that is not retried."""
    try:
        yield
    except ExpectedError as error:
        raise dg.Failure(str(error), allow_retries=False) from None

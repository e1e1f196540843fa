"""How an asset fails: what a person can do something about fails the run with its sentence, and no stack trace.

Which errors these are is declared where they are raised (`core.errors.ExpectedError`). Anything else is a fault of the
platform, and keeps its trace.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from twotower_assets.core.errors import ExpectedError


@contextmanager
def expected_errors_as_failures() -> Iterator[None]:
    """Turn an `ExpectedError` into a `dg.Failure` that says the same and is not retried."""
    try:
        yield
    except ExpectedError as error:
        raise dg.Failure(str(error), allow_retries=False) from None

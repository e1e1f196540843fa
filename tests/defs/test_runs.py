from __future__ import annotations

import dagster as dg
import pytest

from twotower_assets.defs.runs import failure_reasons


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ValueError("there are no clicks: 0 rows"), "step broken: there are no clicks: 0 rows"),
        (KeyboardInterrupt(), "step broken: ended by KeyboardInterrupt"),
        (RuntimeError(), "step broken: ended by RuntimeError"),
    ],
)
def test_a_run_says_why_it_failed_even_if_the_error_has_no_message(error: BaseException, message: str) -> None:
    @dg.asset
    def broken() -> None:
        raise error

    result = dg.materialize([broken], raise_on_error=False)
    assert list(failure_reasons(result)) == [message]

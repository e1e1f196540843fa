"""What a training refuses to build on: inputs with days whose newest blocking check failed.

Dagster itself stops what is downstream in the same run; this covers the runs that come later.
"""

from datetime import date, timedelta
from typing import Any

import dagster as dg

from twotower_assets.partitions import Days

REMEMBERED = 1000
"""Results looked through per check, newest first."""


class RefusedInputError(RuntimeError):
    """An input failed a blocking check."""


def refuse_failed_inputs(instance: dg.DagsterInstance, checks: list[dg.AssetCheckKey], days: Days) -> None:
    """Raise `RefusedInputError` where, for one of the days, the newest result of a blocking check is a failure.

    The result of a table without days counts for all of them.
    """
    for key in checks:
        unjudged = {days.first + timedelta(days=offset) for offset in range((days.last - days.first).days + 1)}
        for record in instance.event_log_storage.get_asset_check_execution_history(key, limit=REMEMBERED):
            evaluation = _evaluation(record)
            if evaluation is None:
                continue
            looked_at = _days_of(evaluation)
            judged = unjudged if looked_at is None else {day for day in unjudged if looked_at[0] <= day <= looked_at[1]}
            if judged and not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR:
                raise RefusedInputError(
                    f"{key.asset_key.to_user_string()} failed its check '{key.name}' for {min(judged)} "
                    f"({evaluation.description}). Repair and materialize it, so that the check passes, then train again"
                )
            unjudged = unjudged - judged
            if not unjudged:
                break


def _evaluation(record: Any) -> dg.AssetCheckEvaluation | None:
    event = record.event.dagster_event if record.event else None
    found = event.event_specific_data if event else None
    return found if isinstance(found, dg.AssetCheckEvaluation) else None


def _days_of(evaluation: dg.AssetCheckEvaluation) -> tuple[date, date] | None:
    if "first_day" not in evaluation.metadata:
        return None
    first, last = (str(evaluation.metadata[name].value) for name in ("first_day", "last_day"))
    return date.fromisoformat(first), date.fromisoformat(last)

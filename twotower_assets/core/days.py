"""Days and trailing windows, as plain dates. Dagster's partitions are in `defs/partitions.py`."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple


class Days(NamedTuple):
    """A range of days, both ends included."""

    first: date
    last: date

    def every(self) -> list[date]:
        """Each day of the range, in order."""
        return [self.first + timedelta(days=offset) for offset in range((self.last - self.first).days + 1)]


def window(day: date, window_days: int) -> Days:
    """The days of the trailing window that ends with `day`."""
    return Days(day - timedelta(days=window_days - 1), day)

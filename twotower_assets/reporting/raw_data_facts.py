"""What is found in raw data before a run: the content of the page and of the text of `twotower check-data`."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

THIN_SHARE = 0.2
"""A day with less than this share of the median day's rows is thin."""


@dataclass(frozen=True)
class CheckedDay:
    """The raw log of a UTC day: rows, rows that would be rejected, and of those kept, clicks, users, items, orphans.

    Orphans are rows whose item is not in the catalogue.
    """

    day: date
    rows: int
    rejected: int
    clicks: int
    users: int
    items: int
    orphaned: int

    @property
    def click_rate(self) -> float | None:
        """Clicks per row that would be kept; None where none would be."""
        kept = self.rows - self.rejected
        return self.clicks / kept if kept else None


@dataclass(frozen=True)
class Reason:
    """Why rows would be rejected, how many, and up to three of them."""

    reason: str
    rows: int
    examples: list[str]


@dataclass(frozen=True)
class FilesOfOneType:
    """Files with the same columns of the same types: how many, one of them, and the type of each column."""

    files: int
    example: str
    types: dict[str, str]


@dataclass(frozen=True)
class Totals:
    """What would be kept of the log and the catalogues: a row of `sql/data_check/totals.sql`."""

    impressions: int
    clicks: int
    users: int
    clicking_users: int
    users_with_one_click: int
    items_shown: int
    items_clicked: int
    top_item: str | None
    clicks_of_top_item: int | None
    with_request: int
    contexts: int
    requests_hold_items: bool
    contexts_hold_items: bool
    catalogue: int
    categories: int
    user_rows: int


@dataclass(frozen=True)
class DataCheck:
    """What was found in the raw data of some days.

    Attributes:
        dataset: name of the data set.
        path: folder of its files.
        days: every day of the range.
        read: rows of the log that were read, those of no day included.
        reasons: why rows would be rejected, the most frequent first.
        catalogue_rejects: rows of `items` and `users` that would be rejected, by table and reason.
        totals: of what would be kept.
        orphaned: kept rows whose item is not in the catalogue.
        orphan_cause: in what most of these ids differ from one of the catalogue, with an example; None if unknown.
        hours: rows kept of each hour of the UTC day.
        files: the files in the folder, by their columns and types.
        unread_files: files whose types were not looked into; the SQL of the data set may read them with options.
        recipes: for each recipe, what the data lack for it; None where it can be trained.
        remarks: what a careful reader would say, the gravest first.
    """

    dataset: str
    path: Path
    days: list[CheckedDay]
    read: int
    reasons: list[Reason]
    catalogue_rejects: dict[str, dict[str, int]]
    totals: Totals
    orphaned: int
    orphan_cause: str | None
    hours: list[int]
    files: list[FilesOfOneType]
    unread_files: list[str]
    recipes: dict[str, str | None]
    remarks: list[str] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        """Rows of the log that would be rejected."""
        return sum(reason.rows for reason in self.reasons)

    @property
    def missing_days(self) -> list[date]:
        """Days without a row."""
        return [day.day for day in self.days if not day.rows]

    @property
    def thin_days(self) -> list[date]:
        """Days with far fewer rows than the median day."""
        present = [day.rows for day in self.days if day.rows]
        least = THIN_SHARE * statistics.median(present) if present else 0
        return [day.day for day in self.days if 0 < day.rows < least]

    @property
    def changed_types(self) -> dict[str, list[str]]:
        """Columns that have several types, by file, and these types."""
        types: dict[str, dict[str, None]] = {}
        for group in self.files:
            for column, kind in group.types.items():
                types.setdefault(f"{stem_of(group.example)}: {column}", {})[kind] = None
        return {column: list(kinds) for column, kinds in types.items() if len(kinds) > 1}


def stem_of(name: str) -> str:
    """What names of files of one table begin with: the folder, else the name, up to the first digit at its end."""
    parts = Path(name).parts
    begins = parts[0] if len(parts) > 1 else parts[0].partition(".")[0]
    return begins.rstrip("0123456789-_. ") or begins

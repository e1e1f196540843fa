"""What a check found: whether it holds, what was observed and what was wanted."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """What an expectation found: passed or not, what was observed, what was wanted, offending values.

    `rows` are the rows of these values, as the columns that identify a row and the value, where that is known.
    """

    passed: bool
    observed: str
    wanted: str
    sample: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)

"""The result of a check."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Outcome:
    """The result of an expectation or a gate.

    Attributes:
        passed: whether it holds.
        observed: what was found, as text.
        expected: what must hold, as text.
        sample: a few offending values.
        rows: the rows of these values, where known: the columns that identify a row, and the value.
    """

    passed: bool
    observed: str
    expected: str
    sample: list[str] = field(default_factory=list)
    rows: list[dict[str, str]] = field(default_factory=list)

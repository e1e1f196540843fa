"""Whether a command printed what the documentation shows, up to the tolerances stated here.

- A line `…` stands for any lines that were left out; `…` within a line for any text.
- Numbers with a decimal point may differ by 5 %, by .015 (15 % of smaller ones), or by half a unit of their last place:
  a model trained on another processor differs by that much. Whole numbers, dates, words are equal.
  In a table that takes a model apart (`tolerance: parts`) by 12 %, or by .04 (30 % of smaller ones).
- Versions are equal up to their hash. Run ids, content hashes, times of day of a run and durations may be any.
- Blank lines, the width of columns and the length of rules do not count.
- In a table that shows what a model ranks (`tolerance: list`), the rows may stand in any order; at least half of them
  are there, by their words, and their numbers with a decimal point differ by at most a quarter.
- Where its cells are wrapped sentences, or compare two trained models item by item (`tolerance: rows`), title, headings
  and the number of entries count: on another processor a training may end an epoch earlier or later.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import NamedTuple

VERSION = re.compile(r"\b\d{4}-\d\d-\d\d-[0-9a-f]{12}\b")
GAP = "…"
_NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d[\d,]*)?\.\d+(?!\w|\.\d)")
_ANY = (
    (re.compile(r"[─━═]+"), "─"),
    (re.compile(r"\b(\d{4}-\d\d-\d\d)-[0-9a-f]{12}\b"), r"\1-<hash>"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"), "<run>"),
    (re.compile(r"\brun [0-9a-f]{8}\b"), "run <run>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{12,64}\b"), "<hash>"),
    (
        re.compile(r"\b(?:202[5-9]|20[3-9]\d)-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|\+00(?::?00)?)?"),
        "<time>",
    ),
    (re.compile(r"^\d\d:\d\d:\d\d "), "<time> "),
    (re.compile(r"\b\d+(?:\.\d+)? (?:s|ms|seconds|minutes|min)\b"), "<duration>"),
    (re.compile(r"\s+"), " "),
)


class Found(NamedTuple):
    """What a comparison gave: why it failed, or nothing; and which printed line stands for which shown one."""

    difference: str | None
    pairs: list[tuple[str, str]]


class Margin(NamedTuple):
    """How far numbers may be apart: by a share of themselves, or by a number, of small ones by a larger share."""

    share: float
    number: float
    of_small: float

    def of(self, number: float, places: int) -> float:
        """For a number that is shown with so many places."""
        small = min(self.number, self.of_small * abs(number))
        return max(self.share * abs(number), small, 0.5 * 10**-places)


WHOLE = Margin(0.05, 0.015, 0.15)
PARTS = Margin(0.12, 0.04, 0.30)


def compared(shown: str, printed: str, tolerance: str = "") -> Found:
    """Compare what a page shows with what was printed. Raises `ValueError` for an unknown tolerance."""
    wanted, got = _lines(shown), _lines(printed)
    if tolerance == "list":
        pairs = _list_pairs(wanted, got)
    elif tolerance == "rows":
        pairs = _pairs(_frame_and_rows(wanted)[0], _frame_and_rows(got)[0])
    elif tolerance in ("", "parts"):
        pairs = _pairs(wanted, got, PARTS if tolerance else WHOLE)
    else:
        raise ValueError(f"the tolerances are 'list', 'parts', 'rows' or none, not '{tolerance}'")
    if pairs is not None:
        return Found(None, pairs)
    diff = difflib.unified_diff(wanted, got, "shown in the documentation", "printed", lineterm="", n=1000)
    return Found("\n".join(diff), [])


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def _pairs(wanted: Sequence[str], got: Sequence[str], margin: Margin = WHOLE) -> list[tuple[str, str]] | None:
    """Each shown line beside the printed one that it stands for, or nothing where some have none."""
    parts: list[list[str]] = [[]]
    for line in wanted:
        if line.strip() == GAP:
            parts.append([])
        else:
            parts[-1].append(line)
    first, *more = parts
    if not more:
        return _same(first, got, margin) if len(first) == len(got) else None
    last = more.pop()
    if len(first) + len(last) > len(got):
        return None
    found = _same(first, got[: len(first)], margin)
    end = _same(last, got[len(got) - len(last) :], margin)
    if found is None or end is None:
        return None
    place, limit = len(first), len(got) - len(last)
    for part in more:
        for start in range(place, limit - len(part) + 1):
            here = _same(part, got[start : start + len(part)], margin)
            if here is not None:
                found, place = found + here, start + len(part)
                break
        else:
            return None
    return found + end


def _same(wanted: Sequence[str], got: Sequence[str], margin: Margin) -> list[tuple[str, str]] | None:
    pairs = list(zip(wanted, got, strict=True))
    return pairs if all(same_line(*pair, margin) for pair in pairs) else None


def same_line(shown: str, printed: str, margin: Margin = WHOLE) -> bool:
    """Whether a printed line is what is shown, up to the tolerances."""
    shown, printed = _plain(shown), _plain(printed)
    numbers = [float(_digits(number)) for number in _NUMBER.findall(shown)]
    places = [len(number.partition(".")[2]) for number in _NUMBER.findall(shown)]
    literal = [".*?".join(re.escape(text) for text in part.split(GAP)) for part in _NUMBER.split(shown)]
    match = re.fullmatch(r"([-+−]?[\d,]*\.?\d+)".join(literal), printed)
    if match is None:
        return False
    return all(
        abs(float(_digits(text)) - number) <= margin.of(number, place) + 1e-12
        for number, place, text in zip(numbers, places, match.groups(), strict=True)
    )


def _plain(line: str) -> str:
    for pattern, replacement in _ANY:
        line = pattern.sub(replacement, line)
    return line.strip()


def _digits(number: str) -> str:
    return number.replace(",", "").replace("−", "-")


def _list_pairs(wanted: Sequence[str], got: Sequence[str]) -> list[tuple[str, str]] | None:
    """As `_pairs`, for tables whose rows are what a model ranks: rows of equal words stand for each other."""
    (wanted_frame, wanted_rows), (got_frame, got_rows) = _frame_and_rows(wanted), _frame_and_rows(got)
    frame = _pairs(wanted_frame, got_frame)
    if frame is None or len(wanted_rows) != len(got_rows):
        return None
    printed = {_words(row): row for row in got_rows}
    pairs = [(row, printed[_words(row)]) for row in wanted_rows if _words(row) in printed]
    if 2 * len(pairs) < len(wanted_rows) or not all(_near(*pair) for pair in pairs):
        return None
    return [*frame, *pairs]


def _frame_and_rows(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """The title, headings and rules of a table; and its rows, which come after the rule below the headings."""
    frame, rows, below_headings = [], [], False
    for line in lines:
        below_headings |= line.startswith(("├", "┡"))
        (rows if below_headings and line.startswith("│") else frame).append(line)
    return frame, rows


def _words(row: str) -> tuple[str, ...]:
    cells = [_plain(cell) for cell in row.strip("│").split("│")]
    return tuple(cell for cell in cells if re.search(r"[^\W\d_]", cell)) or tuple(cells)


def _near(shown: str, printed: str) -> bool:
    numbers = [[float(_digits(number)) for number in _NUMBER.findall(row)] for row in (shown, printed)]
    return len(numbers[0]) != len(numbers[1]) or all(
        abs(one - other) <= 0.25 * max(abs(one), abs(other)) for one, other in zip(*numbers, strict=True)
    )

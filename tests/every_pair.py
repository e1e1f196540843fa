"""Few cases of many: every two values that meet in some case meet in one that is kept.

Here: the choice. The mark `every_pair` in `conftest.py` parametrizes a test with it, and with all cases where pytest
is given `--full-product`.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Sequence

Case = tuple[Hashable, ...]


def pairs_of(case: Case) -> set[tuple[tuple[int, Hashable], ...]]:
    """Every two values of a case, each with its position."""
    return set(itertools.combinations(enumerate(case), min(2, len(case))))


def every_pair(cases: Sequence[Case]) -> list[Case]:
    """The cases to keep, in their order: each is, when it is chosen, the first of those with the most new pairs."""
    pairs = {case: pairs_of(case) for case in cases}
    missing = set().union(*pairs.values())
    kept = set()
    while missing:
        chosen = max(pairs, key=lambda case: len(pairs[case] & missing))
        missing -= pairs.pop(chosen)
        kept.add(chosen)
    return [case for case in dict.fromkeys(cases) if case in kept]

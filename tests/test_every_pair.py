"""The cases that stand for a full product."""

from __future__ import annotations

import itertools

from every_pair import every_pair, pairs_of


def test_every_two_values_that_meet_somewhere_meet_in_a_case_that_is_kept() -> None:
    allowed = [
        (name, size, flag)
        for name, size, flag in itertools.product("abcdef", range(4), (True, False))
        if not (name == "a" and size == 3)
    ]
    kept = every_pair(allowed)
    assert set().union(*map(pairs_of, kept)) == set().union(*map(pairs_of, allowed))
    assert set(kept) <= set(allowed)
    assert len(kept) < len(allowed) * 2 / 3


def test_nothing_is_left_out_of_what_has_no_pairs_to_share() -> None:
    assert every_pair([("a", 1), ("a", 2), ("b", 1), ("a", 1)]) == [("a", 1), ("a", 2), ("b", 1)]
    assert every_pair([("a",), ("b",)]) == [("a",), ("b",)]

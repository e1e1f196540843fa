"""What was probably meant by an unknown name: the nearest of those there are."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean X?` with the nearest of the known names, or a full stop where none is."""
    near = difflib.get_close_matches(str(name), list(known), n=1)
    return f"; did you mean {near[0]}?" if near else "."

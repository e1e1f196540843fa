"""Dense parameters as one row of numbers, so that what passes over all of them is one operation.

Here: moving parameters into a row. Not here: which ones (`compiled_towers.py`), and what passes over them
(`row_adam.py`, `weight_average.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def parts_of(row: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """A row float [n] cut into parts of the shapes of the parameters, which share its memory."""
    parts = torch.split(row, [one.numel() for one in parameters])
    return [part.view(one.shape) for part, one in zip(parts, parameters, strict=True)]


def as_one_row(parameters: Sequence[nn.Parameter]) -> Tensor:
    """A row float [n] with the numbers of the parameters, whose memory it is from now on.

    They may be written to, but not be moved: another row, or `to` another type, would leave this one behind.
    """
    if not parameters:
        return torch.zeros(0)
    row = torch.cat([one.detach().reshape(-1) for one in parameters])
    for one, part in zip(parameters, parts_of(row, parameters), strict=True):
        one.data = part
    return row

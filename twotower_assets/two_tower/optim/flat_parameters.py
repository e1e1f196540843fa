"""Dense parameters stored in one flat vector, so that an update of all of them is one operation.

Here: moving parameters into a vector. Not here: which ones (`towers`), and the operations on the vector
(`row_adam.py`, `weight_average.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def split_like(vector: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """Views of a vector float [n], one with the shape of each parameter."""
    views = torch.split(vector, [parameter.numel() for parameter in parameters])
    return [view.view(parameter.shape) for view, parameter in zip(views, parameters, strict=True)]


def flatten_parameters(parameters: Sequence[nn.Parameter]) -> Tensor:
    """A vector float [n] with the values of the parameters, which share its memory from then on.

    The parameters may be written to but not moved: after another `flatten_parameters`, or `to` another type, they no
    longer share this vector's memory.
    """
    if not parameters:
        return torch.zeros(0)
    vector = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
    for parameter, view in zip(parameters, split_like(vector, parameters), strict=True):
        parameter.data = view
    return vector

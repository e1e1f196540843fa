"""Which device trains: the processor by compiled loops, or a GPU by plain operations of PyTorch.

Here: what a setting means on this machine. Not here: the engines (`loss`), and the settings of an installation.
"""

from __future__ import annotations

import torch

from twotower_assets.core.errors import ExpectedError


class DeviceError(ExpectedError, ValueError):
    """The device that was asked for is not there."""


def training_device(name: str) -> torch.device:
    """The device of `auto`, `cpu`, `cuda`, or any name that PyTorch knows; `auto` is a GPU where there is one.

    Raises `DeviceError` if PyTorch cannot use it here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"PyTorch knows no device '{name}'; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise DeviceError(
            "no GPU can be used: PyTorch finds none, or was built without CUDA. Install its CUDA build, or train with "
            "TWOTOWER_DEVICE=auto or cpu"
        )
    return device

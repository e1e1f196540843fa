"""What a device can do: this machine's processor, or a GPU. What is done with it is decided elsewhere."""

from __future__ import annotations

from functools import cache

import torch


def has_bfloat16_matmul(device: torch.device | str = "cpu") -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware; a processor by AVX-512 BF16 or AMX."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return _processor_has_bfloat16_matmul()


@cache
def _processor_has_bfloat16_matmul() -> bool:
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def runs_compiled_loops(device: torch.device) -> bool:
    """Whether tensors of the device can be worked on by compiled loops: those of the processor alone can."""
    return device.type == "cpu"


def to_device(tensor: torch.Tensor, device: torch.device | str) -> torch.Tensor:
    """A tensor of the processor on a device; a GPU copies it while the processor goes on."""
    if torch.device(device).type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)

"""Which instructions this machine's processor has. What is done with them is decided in the loss."""

from __future__ import annotations

from functools import cache

import torch


@cache
def has_bfloat16_matmul() -> bool:
    """Whether the processor multiplies bfloat16 matrices in hardware (AVX-512 BF16 or AMX)."""
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))

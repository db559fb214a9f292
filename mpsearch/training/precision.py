"""`autocast`: bfloat16 for training where the processor supports it; evaluation is always float32."""

from __future__ import annotations

import torch

__all__ = ["autocast", "is_coarse"]


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """Context of a training step; `auto` is bfloat16 on processors with native bfloat16 arithmetic, else float32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=is_coarse(precision, device), cache_enabled=True)


def is_coarse(precision: str, device: torch.device) -> bool:
    """Whether a training step computes in bfloat16."""
    return precision == "bfloat16" or (precision == "auto" and _native(device))


def _native(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())

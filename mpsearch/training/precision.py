"""Where bfloat16 pays: autocast for training; evaluation is always float32."""

from __future__ import annotations

import torch

__all__ = ["autocast"]


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context a training step runs in: `auto` is bfloat16 on processors with matrix units for it, float32 elsewhere."""
    if precision == "auto":
        native = torch.cuda.is_bf16_supported(including_emulation=False) if device.type == "cuda" else torch.cpu._is_amx_tile_supported()
        precision = "bfloat16" if native else "float32"
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=True)

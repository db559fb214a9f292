"""Multibit weights: a channel is a sum of scaled sign vectors, `value_j = Σ_i α_i · s_ij`; bit i of a code is set where s_ij is +1."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["values"]


def values(codes: Tensor, alphas: Tensor) -> Tensor:
    """`Σ_i ±α_i`, float32 `[C, n]`, of codes int16 `[C, n]` and scales `[C, I]`; summed in the order of the bases."""
    total = torch.zeros(codes.shape, dtype=torch.float32, device=codes.device)
    for base, alpha in enumerate(alphas.float().unsqueeze(2).unbind(1)):
        total += torch.where((codes >> base) & 1 > 0, alpha, -alpha)
    return total

"""Steps proportional to the mean magnitude of their row, with a calibrated ratio (XNOR-Net, arXiv 1603.05279)."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["ratio_to_mean", "step_from_mean"]


def ratio_to_mean(rows: Tensor, steps: Tensor) -> Tensor:
    """`steps / mean|row|`, `[C]`, for rows `[C, n]` and `steps` `[C]`; 1 for a row of zeros."""
    mean = rows.abs().mean(1)
    return torch.where(mean > 0, steps / mean.clamp_min(torch.finfo(mean.dtype).tiny), torch.ones_like(mean))


def step_from_mean(rows: Tensor, ratio: Tensor) -> Tensor:
    """`ratio · mean|row|`, `[C]`, without gradient; 1 for a row of zeros."""
    mean = rows.detach().abs().mean(1)
    return torch.where(mean > 0, ratio * mean, torch.ones_like(mean))

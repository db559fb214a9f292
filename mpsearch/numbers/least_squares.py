"""Grid levels and steps of rows by alternating least squares: `min ‖w − step · v‖²` over the step and the levels v = code + offset.

Both halves of a sweep have a closed form: the nearest levels given the step, then `step = ⟨w, v⟩ / ⟨v, v⟩` given the levels. No sweep
raises the error. At one bit a single sweep is exact from any initial step: `v = ±½`, `step = 2 mean|w|`.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["alternate", "first_steps"]

_TERNARY_THRESHOLD = 0.7
"""Threshold in units of mean|w|: Ternary Weight Networks (arXiv 1605.04711)."""


def first_steps(rows: Tensor, lo: Tensor, hi: Tensor) -> Tensor:
    """Initial steps `[C]` for `[C, n]` rows: `2 max|w| / (2^b − 1)`; with three levels the threshold is at 0.7 mean|w|."""
    ternary = 2 * _TERNARY_THRESHOLD * rows.abs().mean(1)
    return torch.where(hi - lo == 2, ternary, 2 * rows.abs().amax(1) / (2 * hi + 1))


def alternate(rows: Tensor, steps: Tensor, lo: Tensor, hi: Tensor, offset: Tensor, sweeps: int) -> tuple[Tensor, Tensor]:
    """Levels `[C, n]` (code + offset) and steps `[C]` after `sweeps` sweeps; the last refit used these levels.

    Args:
        rows: `[C, n]`.
        steps: `[C]`, initial; the values for rows of zeros do not matter.
        lo: `[]`, lowest code.
        hi: `[]`, highest code.
        offset: `[]`, of the grid.
        sweeps: 1 or more.
    """
    tiny = torch.finfo(rows.dtype).tiny
    levels = rows
    for _ in range(sweeps):
        safe = torch.where(steps > tiny, steps, torch.ones_like(steps))
        scaled = rows * safe.reciprocal().unsqueeze(1)
        levels = torch.clamp((scaled - offset).round(), lo.to(rows.dtype), hi.to(rows.dtype)) + offset
        squares = (levels * levels).sum(1)
        refit = (rows * levels).sum(1) / squares.clamp_min(tiny)
        steps = torch.where(squares > 0, refit, safe).clamp_min(tiny)
    return levels, steps

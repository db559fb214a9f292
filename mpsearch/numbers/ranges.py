"""Range fitting: the step that minimises the squared quantization error, by grid search over clipping ratios.

For every row the step is `ratio · max|x| / largest level`; the ratio with the smallest `Σ (Q(x) − x)²` is taken. Several long rows
are sampled regularly. The error is not convex in the step, so a coarse grid of ratios is searched first and refined around the best. One
bit has a closed form: `s = mean|x|` (XNOR-Net, arXiv 1603.05279, eq. 6).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpsearch.numbers.gradients.affine import codes, dequantize
from mpsearch.numbers.grid import Grid

__all__ = ["fit_step", "fit_steps"]

_COARSE = 20
_FINE = 8
_SAMPLES = 512


def fit_steps(rows: Tensor, grid: Grid) -> Tensor:
    """`[C]` steps for the rows of `[C, n]`, float32, all positive (a row of zeros gets step 1)."""
    rows = rows.detach().float()
    largest = rows.abs().amax(1)
    if rows.shape[1] > 2 * _SAMPLES:  # some thousand values of a row suffice to find its ratio
        rows = rows[:, :: rows.shape[1] // _SAMPLES] if len(rows) > 1 else rows
    safe = torch.where(largest > 0, largest, torch.ones_like(largest))
    if grid.levels == 2:
        mean = rows.abs().mean(1)
        return torch.where(largest > 0, 2 * mean, torch.ones_like(mean)).clamp_min(torch.finfo(torch.float32).tiny)
    top = max(abs(grid.lo + grid.offset), abs(grid.hi + grid.offset))
    full = safe / top
    ratios = [*torch.linspace(0.15, 1.05, _COARSE).tolist(), 1.0]
    best, error = _search(rows, full, [torch.full_like(full, ratio) for ratio in ratios], grid)
    width = (ratios[1] - ratios[0]) / 2
    offsets = torch.linspace(-width, width, _FINE).tolist()
    best, _ = _search(rows, full, [best + offset for offset in offsets], grid, best, error)
    return full * best


def fit_step(values: Tensor, grid: Grid) -> Tensor:
    """`[]` step for all of `values` together."""
    return fit_steps(values.reshape(1, -1), grid)[0]


def _search(
    rows: Tensor, full: Tensor, candidates: list[Tensor], grid: Grid, best: Tensor | None = None, error: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    if best is None or error is None:
        best, error = torch.ones_like(full), torch.full_like(full, torch.inf)
    for ratio in candidates:
        step = (full * ratio).unsqueeze(1)
        difference = dequantize(codes(rows, step, grid), step, grid.offset).sub_(rows)
        squared = torch.einsum("cn,cn->c", difference, difference)
        better = squared < error
        best, error = torch.where(better, ratio, best), torch.where(better, squared, error)
    return best, error

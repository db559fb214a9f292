"""Range fitting: the step that minimises the squared quantization error, by grid search over clipping ratios.

For every row the step is `ratio · max|x| / largest level`; the ratio with the smallest `Σ (Q(x) − x)²` is taken. Several long rows
are sampled (`mpsearch.numbers.sample`). The error is not convex in the step, so a coarse grid of ratios is searched first and refined
around the best. One bit has a closed form: `s = mean|x|` (XNOR-Net, arXiv 1603.05279, eq. 6).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mpsearch.numbers.gradients.affine import codes, dequantize
from mpsearch.numbers.grid import Grid
from mpsearch.numbers.sample import Sample

__all__ = ["best_ratios", "fit_step", "fit_steps", "sampled"]

_COARSE = 20
_FINE = 8
_ALONE, _AMONG_OTHERS = 2**16, 1024
"""Values kept of a row."""


def fit_steps(rows: Tensor | Sample, grid: Grid) -> Tensor:
    """`[C]` steps for the rows of `[C, n]`, float32, all positive (a row of zeros gets step 1); `rows` may be sampled already."""
    sample = rows if isinstance(rows, Sample) else sampled(rows)
    largest = sample.largest
    if grid.levels == 2:
        mean = sample.means(sample.values.abs())
        return torch.where(largest > 0, 2 * mean, torch.ones_like(mean)).clamp_min(torch.finfo(torch.float32).tiny)
    full = torch.where(largest > 0, largest, torch.ones_like(largest)) / max(abs(grid.lo + grid.offset), abs(grid.hi + grid.offset))

    def error(ratio: Tensor) -> Tensor:
        step = (full * ratio).unsqueeze(1)
        difference = dequantize(codes(sample.values, step, grid), step, grid.offset).sub_(sample.values)
        return sample.sums(difference, difference)

    return full * best_ratios(error, full)


def fit_step(values: Tensor, grid: Grid) -> Tensor:
    """`[]` step for all of `values` together."""
    return fit_steps(values.reshape(1, -1), grid)[0]


def sampled(rows: Tensor) -> Sample:
    """What the step of each row of `[C, n]` is fitted on."""
    return Sample.of(rows, _ALONE if len(rows) == 1 else _AMONG_OTHERS)


def best_ratios(error: Callable[[Tensor], Tensor], like: Tensor) -> Tensor:
    """`[C]` clipping ratios of least error, first on a coarse grid, then around the best of it.

    Args:
        error: ratios `[C]` → squared errors `[C]`.
        like: `[C]`, for the type and the device.
    """
    ratios = [*torch.linspace(0.15, 1.05, _COARSE).tolist(), 1.0]
    width = (ratios[1] - ratios[0]) / 2
    best, least = torch.ones_like(like), torch.full_like(like, torch.inf)
    center = torch.zeros_like(like)
    for offsets in (ratios, torch.linspace(-width, width, _FINE).tolist()):
        for ratio in [center + offset for offset in offsets]:
            squared = error(ratio)
            better = squared < least
            best, least = torch.where(better, ratio, best), torch.where(better, squared, least)
        center = best
    return best

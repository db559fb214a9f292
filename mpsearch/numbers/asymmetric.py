"""Asymmetric formats: `value = clamp(round(x/step), lo, lo + 2^b − 1) · step` with an integer zero point `−lo` per row.

The range `[r · min, r · max]` that gives the smallest `Σ (Q(x) − x)²` is taken, with r searched as for symmetric grids
(`mpsearch.numbers.ranges`). Zero is exact.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpsearch.numbers.ranges import best_ratios, sampled
from mpsearch.numbers.sample import Sample

__all__ = ["fake_quantize_between", "fit_asymmetric"]


def fake_quantize_between(rows: Tensor, steps: Tensor, lo: Tensor, levels: int) -> Tensor:
    """Quantize and dequantize `[C, n]`, without gradients.

    Args:
        rows: float `[C, n]`.
        steps: `[C]`, positive.
        lo: `[C]` lowest codes, integers not above zero.
        levels: number of codes, 2^b.
    """
    lowest = lo.unsqueeze(1)
    column = steps.unsqueeze(1)
    return torch.clamp(torch.round(rows / column), lowest, lowest + (levels - 1)).mul_(column)


def fit_asymmetric(rows: Tensor | Sample, bits: int) -> tuple[Tensor, Tensor]:
    """Steps `[C]` and lowest codes `[C]` for the rows of `[C, n]`, which may be sampled already; a row of zeros gets step 1.

    Raises:
        ValueError: fewer than 2 bits, which leave a single level beside an exact zero.
    """
    if bits < 2:
        raise ValueError(f"an asymmetric grid with an exact zero needs 2 bits or more, not {bits}")
    sample = rows if isinstance(rows, Sample) else sampled(rows)
    low, high = sample.low.clamp_max(0), sample.high.clamp_min(0)
    span = torch.where(high > low, high - low, torch.full_like(high, 2**bits - 1))

    def error(ratio: Tensor) -> Tensor:
        steps, lo = _grid(span * ratio, low * ratio, bits)
        difference = fake_quantize_between(sample.values, steps, lo, 2**bits).sub_(sample.values)
        return sample.sums(difference, difference)

    best = best_ratios(error, span)
    return _grid(span * best, low * best, bits)


def _grid(span: Tensor, low: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    steps = span / (2**bits - 1)
    return steps, torch.round(low / steps).clamp(1 - 2**bits, 0)

"""Soft rounding to codes: strictly increasing maps of the real line onto (lo, hi) that approach `clamp(round(x), lo, hi)` as β grows.

| map | soft code of x |
|---|---|
| tanh | `(lo + hi)/2 + ½ Σ_c tanh(β (x − c − ½))`, c = lo … hi−1: one tanh per threshold |
| softmax | `Σ_c u_c · c` with `u = softmax_c(−β (x − c)²)`, c = lo … hi |

With two codes both are `lo + ½ + ½ tanh(β (x − lo − ½))`. β is in units of 1/code.

The sums run over the few thresholds or codes around the nearest one, since all others are saturated in float32: a tanh beyond 9 is 1
in float32, and the share of the code k away is at most exp(−β k(k−1)). So the cost does not grow with the number of codes, and
for large β the result is exactly the nearest code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["softmax_code", "softmax_reach", "tanh_code", "tanh_reach"]

_SATURATED = 9.02
"""float32 tanh is 1 from here on."""

_NEGLIGIBLE = 18.0
"""exp of minus this is below half of float32's last bit."""


def tanh_reach(beta: float) -> int:
    """Number of thresholds on each side of the nearest code that are not saturated."""
    return max(math.ceil(_SATURATED / beta), 1)


def softmax_reach(beta: float) -> int:
    """Number of codes on each side of the nearest one with a non-negligible share: the last k with `β k(k−1) ≤ 18`."""
    return max(math.floor((1 + math.sqrt(1 + 4 * _NEGLIGIBLE / beta)) / 2), 1)


def tanh_code(x: Tensor, beta: Tensor, lo: Tensor, hi: Tensor, reach: int) -> Tensor:
    """Sum of shifted tanhs, same shape as `x`; not meant to be differentiated.

    Args:
        x: any shape, in codes.
        beta: `[]`, hardness.
        lo: `[]`, lowest code.
        hi: `[]`, highest code.
        reach: `tanh_reach` of a β not above `beta`; `hi − lo` is always enough.
    """
    nearest = torch.clamp(x.round(), lo.to(x.dtype), hi.to(x.dtype))
    rest, code, none = x - nearest, nearest, torch.zeros((), dtype=x.dtype, device=x.device)
    for k in range(reach):
        below = torch.tanh(beta * (rest + (k + 0.5))) - 1
        above = torch.tanh(beta * (rest - (k + 0.5))) + 1
        code = code + 0.5 * (torch.where(nearest - k > lo, below, none) + torch.where(nearest + k < hi, above, none))
    return code


def softmax_code(x: Tensor, beta: Tensor, lo: Tensor, hi: Tensor, reach: int) -> Tensor:
    """Mean code under the softmax, same shape as `x`; not meant to be differentiated.

    Args:
        x: any shape, in codes.
        beta: `[]`, hardness.
        lo: `[]`, lowest code.
        hi: `[]`, highest code.
        reach: `softmax_reach` of a β not above `beta`; `hi − lo` is always enough.
    """
    nearest = torch.clamp(x.round(), lo.to(x.dtype), hi.to(x.dtype))
    rest, none = x - nearest, torch.zeros((), dtype=x.dtype, device=x.device)
    shift, total = torch.zeros_like(x), torch.ones_like(x)
    for k in range(1, reach + 1):
        # (x − c)² − (x − nearest)² = k(k ± 2 rest): shares relative to the nearest code, so that nothing overflows inside the range
        below = torch.where(nearest - k >= lo, torch.exp(-beta * (k * (k + 2 * rest))), none)
        above = torch.where(nearest + k <= hi, torch.exp(-beta * (k * (k - 2 * rest))), none)
        shift, total = shift + k * (above - below), total + (above + below)
    return nearest + shift / total

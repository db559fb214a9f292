"""Weights as signed bit planes: `w = step · code`, `code = Σ_j 2^j (p_j − n_j)`, j = 0 the lowest bit.

A weight of b bits, sign included, has b − 1 planes. All tensors hold `PLANES` planes; `places` (`[PLANES]`, 2^j for a plane in use, else 0)
says which are in use, always a contiguous range. A plane keeps its index when an empty plane at either end is dropped. The lowest place
in use is the unit of rounding; `step · lowest place` corresponds to the scale that the paper doubles.

At one bit the single plane has the place ½, `places = (½, 0, …)`, and `code` is ±½, the sign of `p_0 − n_0`.

BSQ, Yang et al., arXiv 2102.10462 (as in the authors' code); there the highest bit comes first, and s = step · Σ places.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

__all__ = ["PLANES", "active_places", "binary_planes", "from_planes", "largest_and_lowest", "occupied", "plane_norms", "plane_sum"]

PLANES = 7
"""Planes of the widest weight: 8 bits, sign included."""

_EPSILON = 1e-8


def active_places(low: int, high: int) -> Tensor:
    """`[PLANES]` float32: 2^j for `low ≤ j < high`, 0 elsewhere; `high = 0` means one-bit weights, with the place ½."""
    if high == 0:
        return torch.tensor([0.5] + [0.0] * (PLANES - 1))
    return torch.tensor([float(2**j) if low <= j < high else 0.0 for j in range(PLANES)])


def binary_planes(integers: Tensor) -> tuple[Tensor, Tensor]:
    """Binary digits of integers `[C, n]` up to ±127: p where positive, n where negative, both `[PLANES, C, n]` of exact 0 and 1."""
    places = torch.arange(PLANES, device=integers.device).view(-1, 1, 1)
    digits = ((integers.abs().to(torch.int64) >> places) & 1).to(torch.float32)
    return digits * (integers > 0), digits * (integers < 0)


def plane_sum(p: Tensor, n: Tensor, places: Tensor) -> Tensor:
    """`[C, n]`: `Σ_j places_j (p_j − n_j)`, in steps, neither clipped nor rounded."""
    return ((p - n) * places.view(-1, 1, 1)).sum(0)  # no matrix product: autocast would compute it in bfloat16


def largest_and_lowest(places: Tensor) -> tuple[Tensor, Tensor]:
    """The largest code, `Σ places`, and the lowest place in use, both `[]`."""
    largest = places.sum()
    return largest, 2 * places.max() - largest  # 2·2^(high−1) − (2^high − 2^low)


def from_planes(p: Tensor, n: Tensor, step: Tensor, places: Tensor, offset: Tensor) -> Tensor:
    """Planes `[PLANES, C, n]` and steps `[C]` → weights `[C, n]`.

    `v = Σ places (p − n)`, clipped to ±Σ places and rounded, half to even, to the lowest place in use; the sign of v where `offset` is ½.
    Gradients pass clip and rounding unchanged (BSQ, section 3): `∂w/∂p_j = step · places_j = −∂w/∂n_j`, `∂w/∂step = code`.
    """
    result: Tensor = _FromPlanes.apply(p, n, step, places, offset)
    return result


def plane_norms(p: Tensor, n: Tensor, places: Tensor) -> Tensor:
    """`[PLANES]`: `√(10⁻⁸ + Σ p_j² + Σ n_j²)` of each plane in use, else 0: the groups of the lasso (BSQ, section 4)."""
    squares = p.square().sum((1, 2)) + n.square().sum((1, 2))
    return torch.where(places > 0, (squares + _EPSILON).sqrt(), torch.zeros_like(squares))


def occupied(integers: Tensor, low: int, high: int) -> tuple[int, int]:
    """`(low, high)` after the empty planes in use are dropped, first at the top, then at the bottom; at least one remains."""
    used = [bool(plane.any()) for plane in (p + n for p, n in zip(*binary_planes(integers), strict=True))]
    while high - low > 1 and not used[high - 1]:
        high -= 1
    while high - low > 1 and not used[low]:
        low += 1
    return low, high


class _FromPlanes(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, p: Tensor, n: Tensor, step: Tensor, places: Tensor, offset: Tensor) -> Tensor:
        v = plane_sum(p, n, places)
        largest, lowest = largest_and_lowest(places)
        rounded = torch.round(torch.clamp(v, -largest, largest) / lowest) * lowest
        code = torch.where(offset > 0, torch.where(v >= 0, offset, -offset), rounded)
        ctx.save_for_backward(code, step, places)
        return code * step.unsqueeze(1)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (dw,) = grads
        code, step, places = ctx.saved_tensors
        dp = (dw * step.unsqueeze(1)) * places.view(-1, 1, 1)
        return dp, -dp, (dw * code).sum(1), None, None

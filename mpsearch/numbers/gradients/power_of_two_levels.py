"""Quantizer to powers of two, so that multiplying by a weight is a shift.

Uhlich et al., Mixed Precision DNNs: All you need is a good parametrization, ICLR 2020, arXiv 1905.11452, eq. 4 to 6 (their P3: smallest and
largest level are learned). With smallest level q and largest level m:

    |Q(x)| = q if |x| < q,   2^⌊½ + log2|x|⌋ if q ≤ |x| < m,   m if |x| ≥ m;      Q(x) = sign(x) · |Q(x)|

There is no zero: sign(0) counts as +1. With `zero`, for outputs of a ReLU, a zero level replaces the sign: `Q(x) = 0` for
x < q/√2 and q from there to q. Gradients:

    ∂Q/∂x = |Q|/|x| for q ≤ |x| < m, else 0;    ∂Q/∂q = sign(x) for |x| < q (0 at the zero level);    ∂Q/∂m = sign(x) for |x| ≥ m

The sign is missing from the paper's eq. 6 and follows from its eq. 4. At |x| = q and |x| = m the gradients are those of the authors' code;
the paper has ≤ and >. If q is no power of two, |x| = q is q. q and m are meant to be powers of two, `m = 2^(2^(b−1) − 1) · q` at b
bits (`mpsearch.numbers.gradients.learned_range.power_of_two` rounds to them with a gradient); the functions take any positive numbers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["quantize_to_powers"]


def quantize_to_powers(x: Tensor, smallest: Tensor, largest: Tensor, *, zero: Tensor | None = None) -> Tensor:
    """`Q(x)`, same shape as `x`, with the gradients above.

    Args:
        x: any shape.
        smallest: q, positive; broadcasts against x (rows: `[C, 1]`; one tensor: `[]`).
        largest: m ≥ q, same.
        zero: bool `[]`, whether a zero level replaces the negative levels (a tensor, so that one compiled network serves both); None: no.
    """
    result: Tensor = _Powers.apply(x, smallest, largest, zero)
    return result


class _Powers(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, smallest: Tensor, largest: Tensor, zero: Tensor | None) -> Tensor:
        size = _magnitude(x, zero)
        within = size.clamp(smallest, largest)
        mantissa, exponent = torch.frexp(within)  # exact borders, as in `mpsearch.numbers.power_of_two`
        levels = torch.ldexp(torch.ones_like(within), torch.where(mantissa < math.sqrt(0.5), exponent - 1, exponent))
        levels = torch.where(size >= largest, largest, torch.where(size <= smallest, smallest, levels))
        y = torch.where(x < 0, -levels, levels)
        if zero is not None:
            y = torch.where(zero, levels * (size >= smallest * math.sqrt(0.5)), y)
        ctx.save_for_backward(x, y, smallest, largest, zero)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (dy,) = grads
        x, y, smallest, largest, zero = ctx.saved_tensors
        size = _magnitude(x, zero)
        above = size >= largest
        below = (size < smallest) & ~above
        none = torch.zeros((), dtype=dy.dtype, device=dy.device)
        dx = torch.where(below | above, none, dy * y / torch.where(below, smallest, x))
        signed = dy * y.sign()
        return (
            dx,
            torch.where(below, signed, none).sum_to_size(smallest.shape),
            torch.where(above, signed, none).sum_to_size(largest.shape),
            None,
        )


def _magnitude(x: Tensor, zero: Tensor | None) -> Tensor:
    return x.abs() if zero is None else torch.where(zero, x.clamp_min(0), x.abs())

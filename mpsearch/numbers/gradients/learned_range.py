"""Uniform quantizer with independent step and range, and the bits that both imply.

Uhlich et al., Mixed Precision DNNs: All you need is a good parametrization, ICLR 2020, arXiv 1905.11452, section 2. With step d, top of the
range m (a free number, not a multiple of d) and bottom l (0 for an unsigned activation, −m on a symmetric grid, −(m + d) in two's
complement):

    c = min(max(x, l), m),    code = round(c/d − offset),    Q = (code + offset) · d

Half a code goes to the even one, as everywhere in the library; the authors' code takes the one away from zero. Gradients, with
straight-through rounding: `∂Q/∂x = 1` strictly inside and 0 elsewhere, `∂Q/∂m = 1` where c = m (−1 where c = −m),
`∂Q/∂d = (Q − c)/d`. Both partial derivatives are bounded for all bits and, with m on a level, never both nonzero; those of
(bits, d) grow like 2^bits. The paper therefore learns (d, m) and derives the bits from them.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["implied_bits", "power_of_two", "quantize_in_range", "range_codes", "round_straight"]


def round_straight(x: Tensor) -> Tensor:
    """`round(x)`, half to even, with the gradient of x."""
    return x + (x.round() - x).detach()


def power_of_two(x: Tensor) -> Tensor:
    """`y = 2^round(log2 x)` of positive x, same shape; straight-through rounding, so `∂y/∂x = y/x`, from 0.707 to 1.414."""
    value = x.detach()
    snapped = torch.ldexp(torch.ones_like(value), value.log2().round())
    return snapped + (x - value) * (snapped / value)


def range_codes(x: Tensor, low: Tensor, top: Tensor, step: Tensor, lo: Tensor, hi: Tensor, offset: Tensor) -> Tensor:
    """Codes of `x` as floats with the gradients above, same shape as `x`.

    Args:
        x: any shape.
        low: bottom of the range, in units of x; broadcasts against x, as do the next two.
        top: top of the range.
        step: positive.
        lo: `[]`, lowest code; a code below it is clipped and passes no gradient.
        hi: `[]`, highest code.
        offset: `[]`, of the grid, 0 or ½.
    """
    kept = torch.where(x >= top, top, torch.where(x <= low, low, x))
    code = round_straight(kept / step - offset)
    return torch.where(code > hi, hi, torch.where(code < lo, lo, code))  # clamp would halve the gradient at the outermost codes


def quantize_in_range(x: Tensor, low: Tensor, top: Tensor, step: Tensor, lo: Tensor, hi: Tensor, offset: Tensor) -> Tensor:
    """`Q` of the module's docstring; arguments as in `range_codes`."""
    return (range_codes(x, low, top, step, lo, hi, offset) + offset) * step


def implied_bits(top: Tensor, step: Tensor, offset: Tensor, *, signed: bool, lowest: int) -> Tensor:
    """Bits needed for all codes of a range: `⌈log2(k + 1)⌉ + signed`, at least `lowest`, with `k = round(m/d − offset)` (section 2.2).

    The value is exact (`k.bit_length()`), without the rounding errors of a logarithm. The gradient passes round and ⌈·⌉ straight
    through, `∂b/∂m = 1/(ln 2 · (k + 1) · d)` and `∂b/∂d = −m/(ln 2 · (k + 1) · d²)`; at `lowest` it is 0.

    Args:
        top: m, any shape.
        step: d, same shape.
        offset: `[]`, of the grid.
        signed: whether there are negative values.
        lowest: minimum of the bits.
    """
    k = round_straight(top / step - offset).clamp_min(0)
    smooth = torch.log2(k + 1) + float(signed)
    exact = torch.frexp(k.detach()).exponent.to(k.dtype) + float(signed)
    return torch.where(exact > lowest, exact + (smooth - smooth.detach()), torch.full_like(exact, float(lowest)))

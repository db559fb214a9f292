"""Powers of two: a code of b bits is a sign and an exponent, `value = ±2^−k · scale` with k from 0 to 2^(b−1) − 1; there is no zero.

In two's complement of b bits the code is k for a positive and −1 − k for a negative value, so all 2^b codes are in use and
multiplying by a weight is a shift. Rounding is in the logarithm, `k = −⌊½ + log2(|x|/scale)⌋` within its range: Uhlich et al., Mixed
Precision DNNs, arXiv 1905.11452, eq. 4, with qmax = scale and qmin = 2^−(2^(b−1) − 1) · scale.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["DEEPEST", "codes", "fit_scales", "values"]

DEEPEST = 15
"""Largest exponent k in use: smaller levels are negligible in a sum."""


def codes(x: Tensor, scale: Tensor, bits: int) -> Tensor:
    """Codes int16 of `x` `[C, n]` for positive scales `[C]`; zero gets the code of the smallest positive value.

    The exponent comes from `frexp`, so borders are exact.
    """
    mantissa, exponent = torch.frexp(x.abs() / scale.unsqueeze(1))
    rounded = torch.where(mantissa < math.sqrt(0.5), exponent - 1, exponent)  # mantissa in [½, 1): |x|/scale = mantissa · 2^exponent
    largest = 2 ** (bits - 1) - 1
    k = torch.where(x == 0, largest, -rounded).clamp(0, largest)
    return torch.where(x < 0, -1 - k, k).to(torch.int16)


def fit_scales(x: Tensor, start: Tensor, bits: int, rounds: int = 3) -> Tensor:
    """Scales `[C]` of small squared error: codes and their least-squares scales alternate from `start`; the best scales are returned.

    `s = Σ x_j u_j / Σ u_j²` per channel, u = ±2^−k. Rounding in the logarithm is not to the nearest level, so a round can raise the error.
    A zero channel keeps its initial scale.
    """
    best = scales = start
    least = torch.full_like(start, torch.inf)
    for _ in range(rounds + 1):
        units = values(codes(x, scales, bits), torch.ones_like(scales))
        error = (x - units * scales.unsqueeze(1)).square().sum(1)
        best, least = torch.where(error < least, scales, best), torch.minimum(error, least)
        fitted = (x * units).sum(1) / units.square().sum(1)
        scales = torch.where(fitted > 0, fitted, scales)
    return best


def values(codes: Tensor, scale: Tensor) -> Tensor:
    """`±2^−k · scale`, float32 `[C, n]`, of codes `[C, n]` and scales `[C]`."""
    powers = torch.tensor([2.0**-k for k in range(128)] + [-(2.0**-k) for k in reversed(range(128))], device=codes.device)
    return powers[codes.long()] * scale.float().unsqueeze(1)  # code −1 is the last entry, −2⁰

"""Categorical quantizer: a weight under logistic noise falls into bin i with probability π_i; the value is the mode, π gives the gradient.

With levels `g_i = a · h_i` (h integer, or half-integer on mid-rise grids), noise scale s and the logistic function σ:

    π_i(x) = σ(u⁺) − σ(u⁻),   u± = (a (h_i ± ½) − x)/s

The mode of π is the level nearest to x, so the value is `a · (clamp(round(x/a − offset), lo, hi) + offset)` for every s. The multi-class
straight-through estimator sends a gradient through the chosen bin alone, `∂L/∂π_{i*} = g_{i*} ∂L/∂value`, on top of `∂value/∂a = h_{i*}`.

Semi-Relaxed Quantization / Cluster-Promoting Quantization, Lee et al., arXiv 2109.02100, section 3; the form of π is that of Relaxed
Quantization (Louizos et al., arXiv 1810.01875). UNVERIFIED: written from memory, not checked against the papers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["Limits", "Shape", "log_mass", "mode", "mode_of_masked"]


class Limits(NamedTuple):
    """Codes of a grid, or of K nested ones; h = code + offset.

    Args:
        lo: lowest code, `[]` or `[K]`.
        hi: highest code, `[]` or `[K]`.
        offset: 0 or ½, `[]`.
    """

    lo: Tensor
    hi: Tensor
    offset: Tensor


class Shape(NamedTuple):
    """Parameters of the gradient.

    Args:
        gain: factor on the gradient through π, `[]`; 1 in the paper.
        straight: share of the straight-through gradient, 0 to 1; 0 in the paper.
        zero_passes: whether weights in the bin of zero, where g = 0 and π gives no gradient, get the straight-through gradient alone.
    """

    gain: Tensor
    straight: float = 0.0
    zero_passes: bool = False

    def straight_at(self, h: Tensor) -> Tensor:
        """The share for each level, in the shape of `h`."""
        share = torch.full_like(h, self.straight)
        return share.masked_fill(h == 0, 1.0) if self.zero_passes else share


def mode(x: Tensor, step: Tensor, spread: Tensor, grid: Limits, shape: Shape) -> Tensor:
    """Most probable level for each weight `[C, n]`, with the multi-class straight-through gradient.

    With `G = ∂L/∂value`, `S' = σ(1 − σ)`, `W = gain · G · g`, and the share β of the straight-through gradient (`shape.straight`; 1 in the
    bin of zero if `shape.zero_passes`), which acts where `inside = |x/a − h| ≤ ½`:

        ∂L/∂x = (1 − β) · −W/s (S'(u⁺) − S'(u⁻)) + β · G · inside
        ∂L/∂s = Σ_n (1 − β) · −W/s (u⁺ S'(u⁺) − u⁻ S'(u⁻))
        ∂L/∂a = Σ_n G h + (1 − β) · W/s ((h + ½) S'(u⁺) − (h − ½) S'(u⁻)) − β · G · x/a · inside

    Args:
        x: `[C, n]`.
        step: a, `[C]`.
        spread: s, `[C]`, in the units of x.
        grid: codes.
        shape: of the gradient.
    """
    result: Tensor = _Mode.apply(x, step, spread, *grid, shape.gain, shape.straight, shape.zero_passes)
    return result


def log_mass(x: Tensor, low: Tensor, high: Tensor, spread: Tensor) -> Tensor:
    """`ln(σ((high − x)/s) − σ((low − x)/s))`: log probability of the interval, finite however far x is; arguments broadcast."""
    upper, lower = (high - x) / spread, (low - x) / spread
    return logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))


def mode_of_masked(x: Tensor, step: Tensor, spread: Tensor, keep: Tensor, grids: Limits, shape: Shape) -> Tensor:
    """`mode` of the masked distribution `e_i π_i / Σ_j e_j π_j`, in which groups of outer levels are attenuated or dropped.

    The K grids are nested; level i belongs to the smallest grid that contains it and takes that grid's mask. Since masks never increase
    outward, the mode is among the K clipped roundings, and the normaliser telescopes: `Σ_k (e_k − e_{k+1}) · mass of grid k`. The
    computation is in log space, since every π underflows far outside the kept levels. Gradients also reach `keep`.

    Args:
        x: `[C, n]`.
        step: a, `[C]`.
        spread: s, `[C]`.
        keep: e, `[K]` from 1 for the innermost grid, never increasing; 0 drops.
        grids: codes, `[K]` each.
        shape: of the gradient.
    """
    a, s = step.unsqueeze(1), spread.unsqueeze(1)
    log_keep = _log(keep)
    with torch.no_grad():
        h, mask_index = _masked_levels(x, a, s, log_keep, grids)
    log_share = _log(keep - torch.cat([keep[1:], torch.zeros_like(keep[:1])]))
    low, high = grids.lo + grids.offset - 0.5, grids.hi + grids.offset + 0.5
    masses = torch.stack([log_share[k] + log_mass(x, a * low[k], a * high[k], s) for k in range(len(keep))])
    chosen = log_keep[mask_index] + log_mass(x, a * (h - 0.5), a * (h + 0.5), s)
    probability = torch.exp(chosen - torch.logsumexp(masses, 0))
    value = h * a
    straight = shape.straight_at(h)
    through = (1 - straight) * (shape.gain * value).detach() * (probability - probability.detach())
    scaled = x / a
    passed = torch.where((scaled - h).abs() <= 0.5, straight, torch.zeros_like(h)) * a.detach() * (scaled - scaled.detach())
    return value + through + passed


def _masked_levels(x: Tensor, a: Tensor, s: Tensor, log_keep: Tensor, grids: Limits) -> tuple[Tensor, Tensor]:
    """Most probable level h and the index of the grid whose mask it takes, both `[C, n]`."""
    rounded = _rounded(x, a, grids.offset)
    best = torch.full_like(x, -torch.inf)
    h, mask_index = torch.zeros_like(x), torch.zeros_like(x, dtype=torch.long)
    for k in range(len(log_keep)):
        level = torch.clamp(rounded, grids.lo[k], grids.hi[k]) + grids.offset
        score = log_keep[k] + log_mass(x, a * (level - 0.5), a * (level + 0.5), s)
        better = score > best
        best = torch.where(better, score, best)
        h, mask_index = torch.where(better, level, h), mask_index.masked_fill(better, k)
    return h, mask_index


def _log(x: Tensor) -> Tensor:
    """ln, −∞ at 0 and below, where its gradient is 0."""
    return torch.where(x > 0, x.clamp_min(torch.finfo(x.dtype).tiny).log(), -torch.inf)


def _rounded(x: Tensor, a: Tensor, offset: Tensor) -> Tensor:
    return torch.round(x * a.reciprocal() - offset)


def _slope(u: Tensor) -> Tensor:
    probability = torch.sigmoid(u)
    return probability * (1 - probability)


class _Mode(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        step: Tensor,
        spread: Tensor,
        lo: Tensor,
        hi: Tensor,
        offset: Tensor,
        gain: Tensor,
        straight: float,
        zero_passes: bool,
    ) -> Tensor:
        a = step.unsqueeze(1)
        h = torch.clamp(_rounded(x, a, offset), lo, hi) + offset
        ctx.save_for_backward(x, h, step, spread, gain)
        ctx.straight, ctx.zero_passes = straight, zero_passes
        return h * a

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (dy,) = grads
        x, h, step, spread, gain = ctx.saved_tensors
        straight = Shape(gain, ctx.straight, ctx.zero_passes).straight_at(h)
        a, s = step.unsqueeze(1), spread.unsqueeze(1)
        scaled = x / a
        upper, lower = (a * (h + 0.5) - x) / s, (a * (h - 0.5) - x) / s
        rise, fall = _slope(upper), _slope(lower)
        weight = (1 - straight) * gain * dy * (a * h) / s
        passed = torch.where((scaled - h).abs() <= 0.5, straight * dy, torch.zeros_like(dy))
        dx = weight * (fall - rise) + passed
        dspread = (weight * (lower * fall - upper * rise)).sum(1)
        dstep = (dy * h + weight * ((h + 0.5) * rise - (h - 0.5) * fall) - passed * scaled).sum(1)
        return dx, dstep, dspread, None, None, None, None, None, None

"""Multibit weights: a channel is a sum of scaled sign vectors, `value_j = Σ_i α_i · s_ij`; bit i of a code is set where s_ij is +1.

Fitting follows Qu, Zhou, Cheng, Thiele: Adaptive Loss-aware Quantization for Multi-bit Networks, CVPR 2020, arXiv 1912.08883, as in
their code, with channels as groups (section numbers UNVERIFIED). `present [C, I]` says which bases a channel has; an absent base has
scale 0.

The loss around the weights w is modelled as `f(Δ) = gᵀΔ + ½ Δᵀ diag(h) Δ`. Sums over a channel are first taken per level, of which
there are at most 2^I, so sign vectors are never materialised.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["along", "assign", "code_of", "fit", "normalized", "scores", "sketch", "values", "weakest"]

_EXACT = 1e-6
"""Share of a channel's energy below which the residual needs no further base."""

_RIDGE = 1e-6


def values(codes: Tensor, alphas: Tensor) -> Tensor:
    """`Σ_i ±α_i`, float32 `[C, n]`, of codes int16 `[C, n]` and scales `[C, I]`."""
    return _levels(alphas).gather(1, codes.long())


def assign(rows: Tensor, alphas: Tensor, present: Tensor) -> Tensor:
    """Codes int16 `[C, n]` of the levels nearest to `rows`; the upper level at a tie; bits of absent bases are 0.

    The minimum over all sign vectors of `|Σ_i s_i α_i − w|`, found by bisection among the sorted levels: I comparisons per weight.
    """
    levels, order = _levels(alphas).sort(dim=1, stable=True)
    borders = (levels[:, 1:] + levels[:, :-1]) / 2
    below = torch.zeros(rows.shape, dtype=torch.int64, device=rows.device)
    for base in reversed(range(alphas.shape[1])):
        below += (rows >= borders.gather(1, below + (2**base - 1))).long() << base
    return order.gather(1, below).to(torch.int16) & code_of(present)


def code_of(chosen: Tensor) -> Tensor:
    """int16 `[C, 1]`: the code whose bits are the chosen bases, bool `[C, I]`."""
    bits = chosen.to(torch.int16) << torch.arange(chosen.shape[1], dtype=torch.int16, device=chosen.device)
    return bits.sum(1, keepdim=True, dtype=torch.int16)


def fit(rows: Tensor, codes: Tensor, present: Tensor, curvature: Tensor | None = None) -> Tensor:
    """Scales `[C, I]` that minimise `Σ_j h_j (w_j − Σ_i s_ij α_i)²` for given signs; `curvature` h `[C, n]` is 1 by default.

    `α = (BᵀHB + λ)^{-1} BᵀHw`, in double precision. λ is a millionth of the mean diagonal, so the fit does not depend on the scale of the
    weights. The equation of an absent base is α = 0.
    """
    signs = _signs(present.shape[1], rows.device)
    weighted = rows if curvature is None else curvature * rows
    counted = _by_level(codes, torch.ones_like(rows) if curvature is None else curvature, len(signs))
    gram = (counted.unsqueeze(1) * signs.t()) @ signs
    both = present.unsqueeze(1) & present.unsqueeze(2)
    ridge = _RIDGE * counted.sum(1, keepdim=True)  # every diagonal entry is Σ_j h_j
    gram = gram * both + torch.diag_embed(torch.where(present & (ridge > 0), ridge, 1.0))
    right = (_by_level(codes, weighted, len(signs)) @ signs) * present
    solution: Tensor = torch.linalg.solve(gram, right)
    return solution.float()


def sketch(rows: Tensor, bases: int) -> tuple[Tensor, Tensor]:
    """Up to `bases` bases for each channel, greedily: `s_i = sign(r)`, then all scales are refitted, `r = w − Σ_i s_i α_i`.

    A channel is finished when `|r|² < 10^−6 |w|²`, or when it has as many bases as weights.

    Args:
        rows: float32 `[C, n]`.
        bases: I.

    Returns:
        Codes int16 `[C, n]` and scales `[C, I]`: positive, the largest first, absent ones 0.
    """
    codes = torch.zeros(rows.shape, dtype=torch.int16, device=rows.device)
    alphas = torch.zeros(len(rows), bases, device=rows.device)
    present = torch.zeros(alphas.shape, dtype=torch.bool, device=rows.device)
    energy = rows.square().sum(1)
    for base in range(min(bases, rows.shape[1])):
        residual = rows - values(codes, alphas)
        present[:, base] = (residual.square().sum(1) > _EXACT * energy) & (present[:, base - 1] | (base == 0))
        codes |= ((residual >= 0) & present[:, base : base + 1]).to(torch.int16) << base
        alphas[:, : base + 1] = fit(rows, codes, present[:, : base + 1])
    codes, alphas = normalized(codes, alphas)
    alphas, order = alphas.sort(dim=1, descending=True, stable=True)
    moved = torch.zeros_like(codes)
    for base, source in enumerate(order.to(torch.int16).unsqueeze(2).unbind(1)):
        moved |= ((codes >> source) & 1) << base
    return moved & code_of(alphas > 0), alphas


def normalized(codes: Tensor, alphas: Tensor) -> tuple[Tensor, Tensor]:
    """The same values with non-negative scales: a negative scale is negated together with its signs."""
    return codes ^ code_of(alphas < 0), alphas.abs()


def along(codes: Tensor, x: Tensor, bases: int) -> Tensor:
    """`Σ_j s_ij x_j`, double `[C, I]`, for `x` `[C, n]`: the gradient of the scales, where `x` is that of the weights."""
    signs = _signs(bases, codes.device)
    return _by_level(codes, x, len(signs)) @ signs


def scores(codes: Tensor, alphas: Tensor, gradient: Tensor, curvature: Tensor) -> Tensor:
    """`[C, I]`: change of the modelled loss when one base is removed, `f(−α_i s_i) = −α_i gᵀs_i + ½ α_i² H_i`.

    Args:
        codes: int16 `[C, n]`.
        alphas: `[C, I]`.
        gradient: of the weights, `[C, n]`.
        curvature: H of the scales, `[C, I]` or `[C, 1]`; that of f is `Σ_j h_j`, for every base.
    """
    slope = along(codes, gradient, alphas.shape[1])
    return (-slope * alphas + curvature.double() * alphas.double().square() / 2).float()


def weakest(found: Sequence[Tensor], present: Sequence[Tensor], sizes: Sequence[float], surplus: float) -> list[Tensor]:
    """The bases of least score, over all layers, whose removal makes the removed `Σ sizes` reach `surplus`.

    Args:
        found: scores `[C, I]` of each layer.
        present: bool `[C, I]` of each layer; absent bases are ignored.
        sizes: size of one base of each layer.
        surplus: total size to remove.

    Returns:
        Bool `[C, I]` for each layer: the bases to remove; the first of equal scores.
    """
    merged = torch.cat([score[held] for score, held in zip(found, present, strict=True)])
    counts = [int(held.sum()) for held in present]
    size = torch.repeat_interleave(torch.tensor(sizes, dtype=torch.float64), torch.tensor(counts)).to(merged.device)
    order = merged.argsort(stable=True)
    gone = torch.zeros_like(merged, dtype=torch.bool)
    gone[order] = size[order].cumsum(0) - size[order] < surplus
    return [torch.zeros_like(held).masked_scatter_(held, part) for held, part in zip(present, torch.split(gone, counts), strict=True)]


def _levels(alphas: Tensor) -> Tensor:
    """Float32 `[C, 2^I]`: the value of every code, summed in the order of the bases."""
    codes = torch.arange(2 ** alphas.shape[1], device=alphas.device)
    total = torch.zeros(len(alphas), len(codes), device=alphas.device)
    for base, alpha in enumerate(alphas.float().unsqueeze(2).unbind(1)):
        total = total + torch.where((codes >> base) & 1 > 0, alpha, -alpha)
    return total


def _signs(bases: int, device: torch.device) -> Tensor:
    """Double `[2^I, I]`: the signs of every code."""
    codes = torch.arange(2**bases, device=device)
    return ((codes.unsqueeze(1) >> torch.arange(bases, device=device)) & 1).double() * 2 - 1


def _by_level(codes: Tensor, x: Tensor, levels: int) -> Tensor:
    """Double `[C, levels]`: Σ of `x` over the weights at each level."""
    sums = torch.zeros(len(codes), levels, dtype=torch.float64, device=codes.device)
    return sums.scatter_add_(1, codes.long(), x.double())

"""Rounding that weighs errors by a second moment: each weight makes up for what rounding did to the weights before it.

A layer that sees inputs x with second moments `H = E[x xᵀ]` suffers from codes q instead of weights w

    E[((v − w)·x)²] = (v − w)ᵀ H (v − w),   v = (q + offset)·step

which couples the weights of a row, so rounding each to its nearest code is far from the best. With the Cholesky factor `H = RᵀR`, R upper
triangular, the error is `Σ_i (R_ii (v_i − w_i) + Σ_{k>i} R_ik (v_k − w_k))²`: from the last weight to the first, round

    c_i = w_i − Σ_{k>i} R_ik/R_ii (v_k − w_k)

(the nearest plane of Babai, Combinatorica 6, 1986). Weights of large moment go first, when all others are still free. Then single weights
move to their best code given all others until a sweep changes little, and the step is refitted in closed form:
`step = (uᵀ H w)/(uᵀ H u)` for `u = q + offset`. Rows do not touch each other, so all of them, each under several steps at once, are columns
of the same few matrix products.

Sources: Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, ICLR 2023, arXiv 2210.17323 (the same rounding in another form); Frantar, Singh,
Alistarh: Optimal Brain Compression, NeurIPS 2022, arXiv 2208.11580.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mpsearch.numbers.grid import Grid

__all__ = ["compensated_codes", "fit_compensated", "quadratic_error"]

_SMALLEST = 1e-12


def fit_compensated(
    target: Tensor, moments: Tensor, steps: Tensor, grid: Grid, *, factors: Sequence[float] = (1.0,), sweeps: int = 2, damping: float = 0.01
) -> tuple[Tensor, Tensor]:
    """Codes and steps of little error under `moments`, the best of all starting steps row by row.

    Args:
        target: `[G, C, d]`, the weights to stand for.
        moments: `[G, d, d]`, symmetric and positive semidefinite, shared by the C rows of a group.
        steps: `[G, C]`, positive, where the search starts.
        grid: codes.
        factors: on `steps`, tried all.
        sweeps: of single moves, each followed by a refit of the step.
        damping: added to the diagonal, as a share of its mean.

    Returns:
        codes `[G, C, d]` in float, steps `[G, C]`.
    """
    groups, channels, d = target.shape
    moments = damped(moments, damping)
    tries = torch.tensor(list(factors), dtype=steps.dtype, device=steps.device)
    wanted, scale = target.repeat_interleave(len(tries), 1), (steps.unsqueeze(2) * tries).reshape(groups, -1)
    codes = compensated_codes(wanted, moments, scale, grid)
    error = quadratic_error((codes + grid.offset) * scale.unsqueeze(2) - wanted, moments).reshape(groups, channels, -1)
    best = error.argmin(2, keepdim=True)
    codes = codes.reshape(groups, channels, -1, d).gather(2, best.unsqueeze(3).expand(-1, -1, -1, d)).squeeze(2)
    steps = scale.reshape(groups, channels, -1).gather(2, best).squeeze(2)
    for _ in range(sweeps):
        steps = _refit(codes, target, moments, steps, grid)
        codes = _swept(codes, target, moments, steps, grid)
    return codes, _refit(codes, target, moments, steps, grid)


def compensated_codes(target: Tensor, moments: Tensor, steps: Tensor, grid: Grid) -> Tensor:
    """Codes by nearest planes, float `[G, C, d]`.

    Args:
        target: `[G, C, d]`.
        moments: `[G, d, d]`, positive definite.
        steps: `[G, C]`.
        grid: codes.
    """
    order = moments.diagonal(dim1=1, dim2=2).argsort(dim=1, stable=True)
    columns = order.unsqueeze(1).expand_as(target)
    moments = moments.gather(1, order.unsqueeze(2).expand_as(moments)).gather(2, order.unsqueeze(1).expand_as(moments))
    factor = torch.linalg.cholesky(moments).mT  # H = RᵀR
    share = factor / factor.diagonal(dim1=1, dim2=2).unsqueeze(2)
    wanted = target.gather(2, columns)
    codes, errors = torch.zeros_like(wanted), torch.zeros_like(wanted)
    for i in reversed(range(wanted.shape[2])):
        pushed = torch.einsum("gck,gk->gc", errors[:, :, i + 1 :], share[:, i, i + 1 :])
        code = _nearest((wanted[:, :, i] - pushed) / steps, grid)
        codes[:, :, i] = code
        errors[:, :, i] = (code + grid.offset) * steps - wanted[:, :, i]
    return torch.empty_like(codes).scatter_(2, columns, codes)


def quadratic_error(difference: Tensor, moments: Tensor) -> Tensor:
    """`dᵀ H d` by row: `[G, C, d]`, `[G, d, d]` → `[G, C]`."""
    return (torch.bmm(difference, moments) * difference).sum(2)


def damped(moments: Tensor, share: float) -> Tensor:
    """`H + share · mean(diag H) · 1`, so that directions never seen cost something; a moment of zeros becomes the identity."""
    mean = moments.diagonal(dim1=1, dim2=2).mean(1)
    extra = torch.where(mean > _SMALLEST, share * mean, torch.ones_like(mean))
    return moments + extra[:, None, None] * torch.eye(moments.shape[1], dtype=moments.dtype, device=moments.device)


def _nearest(x: Tensor, grid: Grid) -> Tensor:
    return (x - grid.offset).round_().clamp_(grid.lo, grid.hi)


def _swept(codes: Tensor, target: Tensor, moments: Tensor, steps: Tensor, grid: Grid) -> Tensor:
    """One pass over the weights, each to its best code given the others."""
    codes = codes.clone()
    values = (codes + grid.offset) * steps.unsqueeze(2)
    slope = torch.bmm(values - target, moments)
    diagonal = moments.diagonal(dim1=1, dim2=2)
    for i in range(codes.shape[2]):
        best = values[:, :, i] - slope[:, :, i] / diagonal[:, i : i + 1]
        code = _nearest(best / steps, grid)
        value = (code + grid.offset) * steps
        slope.baddbmm_((value - values[:, :, i]).unsqueeze(2), moments[:, i : i + 1])
        codes[:, :, i], values[:, :, i] = code, value
    return codes


def _refit(codes: Tensor, target: Tensor, moments: Tensor, steps: Tensor, grid: Grid) -> Tensor:
    """The steps of least error for the codes; where that is not positive, those there are."""
    units = codes + grid.offset
    weighted = torch.bmm(units, moments)
    best = (weighted * target).sum(2) / (weighted * units).sum(2).clamp_min(_SMALLEST)
    return torch.where(best > _SMALLEST, best, steps)

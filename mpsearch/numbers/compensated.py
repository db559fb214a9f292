"""Rounding under a second moment of the inputs: each weight compensates for the rounding errors of the weights before it.

With inputs x of second moment `H = E[x xᵀ]`, the squared output error of codes q in place of weights w is

    E[((v − w)·x)²] = (v − w)ᵀ H (v − w),   v = (q + offset)·step

which couples the weights of a row, so rounding each weight to its nearest code is far from optimal. With the Cholesky factor `H = RᵀR`,
R upper triangular, the error is `Σ_i (R_ii (v_i − w_i) + Σ_{k>i} R_ik (v_k − w_k))²`: from the last weight to the first, round

    c_i = w_i − Σ_{k>i} R_ik/R_ii (v_k − w_k)

(Babai's nearest plane, Combinatorica 6, 1986). Weights with large moments are rounded first, while all others are still free. Then, in a
few sweeps of coordinate descent, each weight moves to its best code given all others, and the step is refitted in closed form:
`step = (uᵀ H w)/(uᵀ H u)` for `u = q + offset`. Rows are independent, so all rows, each with several candidate steps, are columns
of the same matrix products.

Sources: Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, ICLR 2023, arXiv 2210.17323 (the same rounding in another form); Frantar, Singh,
Alistarh: Optimal Brain Compression, NeurIPS 2022, arXiv 2208.11580.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from mpsearch.numbers.grid import Grid

__all__ = ["Factored", "compensated_codes", "damped", "fit_compensated", "quadratic_error"]

_SMALLEST = 1e-12


@dataclass(frozen=True, kw_only=True)
class Factored:
    """Second moments with their Cholesky factor, which every grid and step of a layer shares.

    Args:
        moments: `[G, d, d]`, positive definite.
        order: `[G, d]`, the weights by rising moment.
        share: `[G, d, d]`, `R_ik/R_ii` in that order.
    """

    moments: Tensor
    order: Tensor
    share: Tensor

    @classmethod
    def of(cls, moments: Tensor) -> Self:
        """Factor moments `[G, d, d]`, which must be positive definite."""
        order = moments.diagonal(dim1=1, dim2=2).argsort(dim=1, stable=True)
        ordered = moments.gather(1, order.unsqueeze(2).expand_as(moments)).gather(2, order.unsqueeze(1).expand_as(moments))
        factor = torch.linalg.cholesky(ordered).mT  # H = RᵀR
        return cls(moments=moments, order=order, share=factor / factor.diagonal(dim1=1, dim2=2).unsqueeze(2))


def fit_compensated(
    target: Tensor,
    moments: Tensor | Factored,
    steps: Tensor,
    grid: Grid,
    *,
    factors: Sequence[float] = (1.0,),
    sweeps: int = 2,
    damping: float = 0.01,
) -> tuple[Tensor, Tensor]:
    """Codes and steps of small error under `moments`; each row keeps the best of the candidate steps.

    Args:
        target: `[G, C, d]`, the weights to approximate.
        moments: `[G, d, d]`, symmetric and positive semidefinite, shared by the C rows of a group; or damped and factored.
        steps: `[G, C]`, positive, initial values.
        grid: codes.
        factors: multipliers of `steps` that give the candidates.
        sweeps: sweeps of coordinate descent; the step is refitted before each sweep and after the last.
        damping: added to the diagonal, as a share of its mean; of moments that are factored already nothing.

    Returns:
        codes `[G, C, d]` in float, steps `[G, C]`.
    """
    groups, channels, d = target.shape
    factored = moments if isinstance(moments, Factored) else Factored.of(damped(moments, damping))
    moments = factored.moments
    multipliers = torch.tensor(list(factors), dtype=steps.dtype, device=steps.device)
    desired, scale = target.repeat_interleave(len(multipliers), 1), (steps.unsqueeze(2) * multipliers).reshape(groups, -1)
    codes = compensated_codes(desired, factored, scale, grid)
    error = quadratic_error((codes + grid.offset) * scale.unsqueeze(2) - desired, moments).reshape(groups, channels, -1)
    best = error.argmin(2, keepdim=True)
    codes = codes.reshape(groups, channels, -1, d).gather(2, best.unsqueeze(3).expand(-1, -1, -1, d)).squeeze(2)
    steps = scale.reshape(groups, channels, -1).gather(2, best).squeeze(2)
    for _ in range(sweeps):
        steps = _refit(codes, target, moments, steps, grid)
        codes = _swept(codes, target, moments, steps, grid)
    return codes, _refit(codes, target, moments, steps, grid)


def compensated_codes(target: Tensor, moments: Tensor | Factored, steps: Tensor, grid: Grid) -> Tensor:
    """Codes by Babai's nearest planes, float `[G, C, d]`.

    Args:
        target: `[G, C, d]`.
        moments: `[G, d, d]`, positive definite; or factored.
        steps: `[G, C]`.
        grid: codes.
    """
    factored = moments if isinstance(moments, Factored) else Factored.of(moments)
    columns, share = factored.order.unsqueeze(1).expand_as(target), factored.share
    desired = target.gather(2, columns)
    codes, errors = torch.zeros_like(desired), torch.zeros_like(desired)
    for i in reversed(range(desired.shape[2])):
        compensation = torch.einsum("gck,gk->gc", errors[:, :, i + 1 :], share[:, i, i + 1 :])
        code = _nearest((desired[:, :, i] - compensation) / steps, grid)
        codes[:, :, i] = code
        errors[:, :, i] = (code + grid.offset) * steps - desired[:, :, i]
    return torch.empty_like(codes).scatter_(2, columns, codes)


def quadratic_error(difference: Tensor, moments: Tensor) -> Tensor:
    """`dᵀ H d` by row: `[G, C, d]`, `[G, d, d]` → `[G, C]`."""
    return (torch.bmm(difference, moments) * difference).sum(2)


def damped(moments: Tensor, share: float) -> Tensor:
    """`H + share · mean(diag H) · 1`, so that directions absent from the inputs have a cost; a zero moment becomes the identity."""
    mean = moments.diagonal(dim1=1, dim2=2).mean(1)
    extra = torch.where(mean > _SMALLEST, share * mean, torch.ones_like(mean))
    return moments + extra[:, None, None] * torch.eye(moments.shape[1], dtype=moments.dtype, device=moments.device)


def _nearest(x: Tensor, grid: Grid) -> Tensor:
    return (x - grid.offset).round_().clamp_(grid.lo, grid.hi)


def _swept(codes: Tensor, target: Tensor, moments: Tensor, steps: Tensor, grid: Grid) -> Tensor:
    """One sweep of coordinate descent: each weight takes its best code given the others."""
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
    """Least-squares steps for the codes; a row without a positive solution keeps its step."""
    units = codes + grid.offset
    weighted = torch.bmm(units, moments)
    best = (weighted * target).sum(2) / (weighted * units).sum(2).clamp_min(_SMALLEST)
    return torch.where(best > _SMALLEST, best, steps)

"""Compensated rounding with a step for each group of inputs, in blocks of columns, for weights of many inputs.

The rounding is that of `mpsearch.numbers.compensated`: from the last weight of a row to the first, each is rounded to where it makes up
best for the errors of those rounded before it,

    c_i = w_i − Σ_{k>i} R_ik/R_ii (v_k − w_k),     H = RᵀR.

Only the order of the sums differs: errors inside a block of columns are passed on at once, those of a finished block to all that is left
by one matrix product, which is where nearly all the arithmetic is. Columns are visited by rising moment, so the columns of a group are not
neighbours in that order; each has the step of its own group.

For codes u of a row, the best steps s of its groups solve `(UᵀHU) s = UᵀHw`, U `[d, groups]` with u in the rows of each group's own column:
a least-squares fit of a handful of numbers, of which rounding with other steps would be the alternative.

Source of the blocks: Frantar, Ashkboos, Hoefler, Alistarh: GPTQ, ICLR 2023, arXiv 2210.17323, section 3.3 (lazy batch updates).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mpsearch.numbers.compensated import Factored, quadratic_error
from mpsearch.numbers.grid import Grid

__all__ = ["blocked_codes", "fit_blocked", "refitted"]

_BLOCK = 64
_RIDGE = 1e-6
"""Added to the diagonal of the normal equations, as a share of its mean: a group whose codes are all zero keeps its step."""


def fit_blocked(
    target: Tensor,
    factored: Factored,
    steps: Tensor,
    grid: Grid,
    *,
    offset: Tensor | None = None,
    factors: Sequence[float] = (1.0,),
    refits: int = 1,
) -> tuple[Tensor, Tensor]:
    """Codes and steps of small error under the moments; each row keeps the best it has met.

    Args:
        target: `[C, d]`, the weights to approximate.
        factored: moments `[1, d, d]`.
        steps: `[C, n]`, positive, of n groups of d/n neighbouring inputs each.
        grid: codes.
        offset: `[C, n]`, added to the codes of a group; that of the grid if not given.
        factors: multipliers of `steps` that are tried.
        refits: how often the steps are refitted to the codes and the weights rounded again.

    Returns:
        codes `[C, d]` in float, steps `[C, n]`.
    """
    offset = torch.full_like(steps, grid.offset) if offset is None else offset
    best_codes, best_steps = torch.zeros_like(target), steps
    least = torch.full((len(target),), torch.inf, dtype=target.dtype, device=target.device)
    starts = [steps * factor for factor in factors]
    for attempt in range(len(starts) + refits):
        tried = starts[attempt] if attempt < len(starts) else best_steps
        codes = blocked_codes(target, factored, tried, grid, offset)
        tried = refitted(codes, target, factored.moments[0], tried, offset)
        error = quadratic_error((_values(codes, tried, offset) - target).unsqueeze(0), factored.moments)[0]
        better = error < least
        best_codes = torch.where(better[:, None], codes, best_codes)
        best_steps = torch.where(better[:, None], tried, best_steps)
        least = torch.where(better, error, least)
    return best_codes, best_steps


def blocked_codes(target: Tensor, factored: Factored, steps: Tensor, grid: Grid, offset: Tensor, block: int = _BLOCK) -> Tensor:
    """Codes by Babai's nearest planes, float `[C, d]`; arguments as of `fit_blocked`.

    Args:
        target: `[C, d]`.
        factored: moments `[1, d, d]`.
        steps: `[C, n]`.
        grid: codes.
        offset: `[C, n]`.
        block: columns whose errors are passed on one by one.
    """
    order, share = factored.order[0], factored.share[0]
    group = order // (target.shape[1] // steps.shape[1])
    wanted, step, shift = target.t()[order], steps.t()[group], offset.t()[group]  # each [d, C]: a column lies in one piece of memory
    codes, errors = torch.empty_like(wanted), torch.empty_like(wanted)
    for stop in range(len(wanted), 0, -block):
        start = max(stop - block, 0)
        centre = wanted[start:stop] - share[start:stop, stop:] @ errors[stop:]
        for i in range(stop - 1, start - 1, -1):
            code = (centre[i - start] / step[i]).sub_(shift[i]).round_().clamp_(grid.lo, grid.hi)
            codes[i] = code
            errors[i] = (code + shift[i]) * step[i] - wanted[i]
            if i > start:
                centre[: i - start].addr_(share[start:i, i], errors[i], alpha=-1)
    return torch.empty_like(codes).index_copy_(0, order, codes).t().contiguous()


def refitted(codes: Tensor, target: Tensor, moments: Tensor, steps: Tensor, offset: Tensor) -> Tensor:
    """Least-squares steps of the codes, `[C, n]`; a row whose solution has a step that is not positive keeps its steps.

    Args:
        codes: `[C, d]`.
        target: `[C, d]`.
        moments: `[d, d]`.
        steps: `[C, n]`.
        offset: `[C, n]`.
    """
    channels, groups = steps.shape
    units = _values(codes, torch.ones_like(steps), offset).reshape(channels, groups, -1)
    size = units.shape[2]
    normal = torch.empty(channels, groups, groups, dtype=target.dtype, device=target.device)
    for number in range(groups):
        reached = units[:, number] @ moments[number * size : (number + 1) * size]  # [C, d]
        normal[:, number] = (reached.reshape(channels, groups, size) * units).sum(2)
    right = ((target @ moments).reshape(channels, groups, size) * units).sum(2)
    ridge = _RIDGE * normal.diagonal(dim1=1, dim2=2).mean(1, keepdim=True).clamp_min(1e-30)
    normal.diagonal(dim1=1, dim2=2).add_(ridge)
    found = torch.linalg.solve(normal, right + ridge * steps)
    return torch.where((torch.isfinite(found) & (found > 0)).all(1, keepdim=True), found, steps)


def _values(codes: Tensor, steps: Tensor, offset: Tensor) -> Tensor:
    size = codes.shape[1] // steps.shape[1]
    return (codes + offset.repeat_interleave(size, 1)) * steps.repeat_interleave(size, 1)

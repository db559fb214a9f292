"""Exact solution of a multiple-choice knapsack by its core.

The linear relaxation gives a bound and dual prices of the limits. A column whose reduced cost exceeds the distance between the bound and
a known solution is in no better solution. The columns that remain are the core. It is enumerated, or given to branch and bound when it
is too large, and widened until its best solution is proven optimal (Pisinger, "A minimal algorithm for the multiple-choice knapsack
problem", EJOR 83, 1995, for one limit).
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.child_process import branch_and_bound_in_child
from mpsearch.allocate.enumeration import CoreTooLarge, enumerate_core
from mpsearch.allocate.highs import dual_prices
from mpsearch.allocate.knapsack import Core, Knapsack
from mpsearch.core.arrays import Floats, Picks

__all__ = ["KnapsackSolution", "solve_knapsack"]

_FIRST_COLUMNS = 16
"""Columns of the first core, beside the anchor."""
_GROWTH = 1.3
_SLOP = 1e-13
_FEW_LIMITS = 8
"""Up to as many limits are all held from the start; of more, most never matter."""


@dataclass(frozen=True, kw_only=True)
class KnapsackSolution:
    """The best picks found.

    Args:
        picks: int `[G]`, column of each group.
        gap: at most this much better is possible, in the objective's unit; 0.0 when proven optimal.
    """

    picks: Picks
    gap: float


def solve_knapsack(program: Knapsack, *, time_limit: float = 60.0) -> KnapsackSolution | None:
    """Minimise the objective within all limits; of picks with equal objectives the cheaper ones are preferred.

    Args:
        program: what to solve.
        time_limit: seconds that branch and bound may take where enumeration does not suffice.

    Returns:
        The solution, or None when nothing meets every limit.

    Raises:
        TimeoutError: neither picks nor a proof that there are none were found in time.
    """
    return _solve(program, time_limit) if len(program.limits) <= _FEW_LIMITS else _solve_by_limits(program, time_limit)


def _solve_by_limits(program: Knapsack, time_limit: float) -> KnapsackSolution | None:
    """The same with the limits alone that turn out to matter.

    An answer under some of the limits that breaks none of the others is an answer under all; if there is none under some, there is none.
    """
    deadline = time.monotonic() + time_limit
    held: list[int] = []
    while True:
        rows = np.array(held, dtype=np.intp)
        few = replace(program, costs=program.costs[rows], base=program.base[rows], limits=program.limits[rows])
        found = _solve(few, max(0.1, deadline - time.monotonic()))
        if found is None:
            return None
        over = -program.room(found.picks) / np.maximum(np.abs(program.limits), np.finfo(np.float64).tiny)
        if over.max() <= 0:
            return found
        held.append(int(over.argmax()))


def _solve(program: Knapsack, time_limit: float) -> KnapsackSolution | None:
    deadline = time.monotonic() + time_limit
    core = _core(program)
    if core is None:
        return None
    beyond = np.sort(core.reduced[np.isfinite(core.reduced) & (core.reduced > 0)])
    width = float(beyond[_FIRST_COLUMNS]) if len(beyond) > _FIRST_COLUMNS else math.inf
    listing, empty = True, 0.0
    while True:
        try:
            if listing:
                found = enumerate_core(program, core, width)
            else:
                found = branch_and_bound_in_child(program, core, width, deadline - time.monotonic())
        except CoreTooLarge:
            listing = False
            continue
        if found is None:
            if width == math.inf:
                return None
            # Enumeration without a result proves that none lies within the width; branch and bound only says so of its columns.
            empty = width if listing else empty
            width *= _GROWTH
        else:
            above = core.above(found.picks)
            if above <= width or found.unproven > 0:
                # A better solution is in the core, or has a column from outside it and so lies at least `width` above the bound.
                bound = max(empty, min(above - found.unproven, width))
                return KnapsackSolution(picks=found.picks, gap=max(0.0, above - bound) * core.scale)
            width = min(above * (1 + 1e-9), _GROWTH * width if listing else math.inf)
        if width >= beyond[-1]:
            width = math.inf


def _core(program: Knapsack) -> Core | None:
    """Drop columns that no optimum needs and solve the linear relaxation; None when nothing meets the limits."""
    outside = ~program.allowed
    objective = program.objective - np.where(outside, np.inf, program.objective).min(axis=1, keepdims=True)
    floors = np.where(outside, np.inf, program.costs).min(axis=2)
    costs = program.costs - floors[:, :, None]
    slop = _SLOP * np.abs(program.limits)
    rooms = np.array(
        [math.fsum([limit, -base, *(-floor).tolist()]) for limit, base, floor in zip(program.limits, program.base, floors, strict=True)]
    )
    if (rooms < -slop).any():
        return None
    rooms = np.maximum(rooms, 0.0)
    kept = program.allowed & (costs <= (rooms + slop)[:, None, None]).all(axis=0)
    kept &= _dominators(objective, costs, kept) <= len(program.excluded)
    if not kept.any(axis=1).all():
        return None
    scale = float(objective[kept].max()) or 1.0
    objective = np.where(kept, objective / scale, np.inf)
    price = np.zeros(0) if not len(rooms) else dual_prices(np.where(kept, objective, 0.0), costs, rooms, kept)
    if price is None:
        return None
    priced = np.where(kept, objective + np.tensordot(price, np.where(kept, costs, 0.0), axes=1), np.inf)
    anchor = priced.argmin(axis=1)
    groups = np.arange(len(anchor))
    return Core(
        anchor=anchor,
        reduced=priced - priced[groups, anchor][:, None],
        objective=np.where(kept, objective - objective[groups, anchor][:, None], 0.0),
        costs=np.where(kept, program.dearer(anchor), 0.0),
        rooms=program.room(anchor),
        prices=price,
        slop=slop,
        scale=scale,
    )


def _dominators(objective: Floats, costs: Floats, kept: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Number of columns that dominate each column, int `[G, K]`: kept, of the same group, and no worse in anything.

    Of equal columns, the earlier dominates the later. With n picks excluded, there is an optimum without any column that more than n
    others dominate.
    """
    values = np.concatenate([objective[None], costs])
    count = np.zeros(objective.shape, dtype=np.intp)
    for column in range(objective.shape[1]):
        other = values[:, :, [column]]
        no_worse = (other <= values).all(axis=0) & kept[:, [column]]
        same = (other == values).all(axis=0)
        count += no_worse & (~same | (np.arange(objective.shape[1]) > column))
    return count

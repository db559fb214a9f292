"""HiGHS as scipy offers it: dual prices by the linear relaxation, and branch and bound."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Core, Found, Knapsack
from mpsearch.core.arrays import Floats

if TYPE_CHECKING:
    from scipy.sparse import csr_array

__all__ = ["branch_and_bound", "dual_prices"]

_OBJECTIVE_RANGE = 1e4
"""The objective is stretched to this range: HiGHS stops at an absolute gap of 1e-6, which is then 1e-10 of the largest difference."""
_LEAST_SPREAD = 1e-290
"""Scores that differ by less count as equal; stretching them would overflow."""
_MOST_NODES = 5_000
"""Branch and bound over some of the columns stops after so many nodes, at the same place every time; the remaining gap is reported."""
_INFEASIBLE = 2


def dual_prices(objective: Floats, costs: Floats, rooms: Floats, kept: NDArray[np.bool_]) -> Floats | None:
    """Dual prices of the limits in the linear relaxation.

    Args:
        objective: float64 `[G, K]`, ≥ 0 where kept, largest 1.
        costs: float64 `[M, G, K]`, ≥ 0 where kept.
        rooms: float64 `[M]`, ≥ 0.
        kept: bool `[G, K]`, columns of the program.

    Returns:
        float64 `[M]`, ≥ 0, objective per unit of cost; None when the relaxation is infeasible.
    """
    from scipy.optimize import linprog

    groups, columns = np.nonzero(kept)
    unit = np.where(rooms > 0, rooms, 1.0)
    answer = linprog(
        objective[groups, columns],
        A_ub=costs[:, groups, columns] / unit[:, None],
        b_ub=np.where(rooms > 0, 1.0, 0.0),
        A_eq=_one_each(groups),  # type: ignore[call-overload]  # the stubs know no sparse matrices, which scipy documents
        b_eq=np.ones(len(kept)),
        method="highs",
    )
    if answer.status == _INFEASIBLE:
        return None
    marginals = np.zeros(len(rooms)) if answer.x is None else -np.asarray(answer.ineqlin.marginals)
    return np.maximum(marginals, 0.0) / unit


def branch_and_bound(program: Knapsack, core: Core, width: float, time_limit: float) -> Found | None:
    """Branch and bound over the columns within `width`.

    HiGHS satisfies rows up to a tolerance. A solution that breaks a limit in exact arithmetic is cut off by a cover inequality (at most
    n − 1 of its n picks, or of costlier ones, may be chosen together), which every feasible solution satisfies, and HiGHS solves again.

    Args:
        program: decides exactly whether picks are accepted, and says which are excluded.
        core: the same program, reduced.
        width: in units of `core.scale`.
        time_limit: seconds.

    Returns:
        The best picks found; None when there are none, or when none were found among some of the columns.

    Raises:
        TimeoutError: no picks among all columns were found in time.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    deadline = time.monotonic() + time_limit
    within = core.within(width)
    free = np.flatnonzero(within.sum(axis=1) > 1)
    rows, columns = np.nonzero(within[free])
    groups = free[rows]
    costs = core.costs[:, groups, columns]
    floors = np.where(within, core.costs, np.inf).min(axis=2)[:, free]
    rooms = core.rooms - floors.sum(axis=1)
    if (rooms < -core.slop).any():
        return None
    if not len(free):
        return Found(picks=core.anchor) if program.accepts(core.anchor) else None
    unit = np.where(rooms > 0, rooms, 1.0)[:, None]
    objective = core.objective[groups, columns]
    spread = float(np.ptp(objective))
    stretch = _OBJECTIVE_RANGE / max(spread, _LEAST_SPREAD) if spread else 1.0
    constraints = [LinearConstraint(_one_each(rows), 1, 1)]
    if len(rooms):
        relative = (costs - floors[:, rows]) / unit
        constraints.append(LinearConstraint(csr_array(relative), -np.inf, np.where(rooms > 0, 1.0, 0.0)))
    constraints += [
        LinearConstraint((np.array(picks)[groups] == columns).astype(np.float64)[None], -np.inf, len(free) - 1)
        for picks in sorted(program.excluded)
        if within[np.arange(len(within)), picks].all()
    ]
    nodes = _MOST_NODES if width < math.inf else 2**31 - 1
    while True:
        answer = milp(
            objective * stretch,
            integrality=np.ones(len(groups), dtype=np.intp),
            bounds=Bounds(0, 1),
            constraints=constraints,
            options={"mip_rel_gap": 0.0, "node_limit": nodes, "time_limit": max(0.1, deadline - time.monotonic())},
        )
        if answer.status == _INFEASIBLE or (answer.x is None and width < math.inf):
            return None
        if answer.x is None:
            raise TimeoutError(f"no allocation was found within {time_limit:.0f} s; allow more time or a smaller menu")
        picks = core.anchor.copy()
        chosen = np.flatnonzero(answer.x > 0.5)
        picks[groups[chosen]] = columns[chosen]
        m = program.broken(picks)
        if m is None:
            proven = answer.status == 0
            return Found(picks=picks, unproven=0.0 if proven else max(0.0, answer.fun - answer.mip_dual_bound) / stretch)
        if time.monotonic() > deadline:
            raise TimeoutError(f"no allocation was found within {time_limit:.0f} s; allow more time or a smaller menu")
        cover = costs[m] >= core.costs[m, groups, picks[groups]]
        constraints.append(LinearConstraint(cover.astype(np.float64)[None], -np.inf, len(free) - 1))


def _one_each(groups: NDArray[np.intp]) -> csr_array:
    """Rows of the constraint that every group takes one column."""
    from scipy.sparse import csr_array

    return csr_array((np.ones(len(groups)), (groups, np.arange(len(groups)))))

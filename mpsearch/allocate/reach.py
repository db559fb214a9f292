"""How small and how large a cost can get in a space, and how small under budgets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.allocate.program import allocation_of, grouped, knapsack
from mpsearch.core.budget import Budget
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

__all__ = ["reachable", "smallest_under"]

_TIME = 60.0
_NEAR = 1e-3
"""Relative distance of the bounds below which bisection gives way to single steps down."""
_BELOW = 16
"""Units in the last place by which a peak must fall; a limit is read with four of them."""


def reachable(space: ResolvedSpace, cost: CostTable) -> tuple[float, float]:
    """Smallest and largest total of a cost, exact sums rounded once, in the cost's unit.

    Raises:
        ValueError: a table without a number where a layer's menu has a choice, or without the space's layers or choices.
    """
    cells = [grouped(space, row) for row in cost.rows]
    lowest = [np.nanmin(values, axis=1) for values in cells]
    largest = max(_sum(row, np.nanmax(values, axis=1).tolist()) for row, values in zip(cost.rows, cells, strict=True))
    is_lowest = np.array([values == low[:, None] for values, low in zip(cells, lowest, strict=True)], dtype=np.bool_)
    if np.all(np.any(np.all(is_lowest, axis=0), axis=1)):  # one choice of each group is the smallest in every row
        return max(_sum(row, low.tolist()) for row, low in zip(cost.rows, lowest, strict=True)), largest
    smallest = smallest_under(space, cost, {}, (), _TIME)
    return largest if smallest is None else smallest, largest


def smallest_under(
    space: ResolvedSpace, cost: CostTable, costs: Mapping[str, CostTable], budgets: Sequence[Budget], time_limit: float
) -> float | None:
    """Smallest total of one cost under budgets; None when they cannot be met.

    For a peak, `min_x max_r row_r(x)`: each program minimises the row that was the largest, below a limit for all of them. The optimum
    of such a program bounds the smallest peak from below, the peak it attains from above; the limit bisects the two.

    Args:
        space: L layers, their menus and ties.
        cost: what is to be small.
        costs: a table for every budget.
        budgets: all hold.
        time_limit: seconds for each program.
    """
    lowest, smallest, limit = -math.inf, math.inf, math.inf
    row = cost.rows[0]
    while True:
        # Under a name that no budget has, so that a budget on the same cost stays in force.
        held = [*budgets, Budget("", limit, "")] if math.isfinite(limit) else budgets
        program = knapsack(space, row, {**costs, "": cost}, held)
        packing = solve_knapsack(program, time_limit=time_limit)
        if packing is not None:
            allocation = allocation_of(space, packing.picks)
            lowest = max(lowest, row.total(allocation) - packing.gap)
            totals = [other.total(allocation) for other in cost.rows]
            smallest = min(smallest, max(totals))
            row = cost.rows[totals.index(max(totals))]
        elif not math.isfinite(smallest):
            return None
        else:
            lowest = max(lowest, limit)
        step = smallest - _BELOW * math.ulp(smallest)
        if len(cost.rows) == 1 or lowest >= step:
            return smallest
        limit = (lowest + smallest) / 2 if smallest - lowest > _NEAR * abs(smallest) else step


def _sum(row: Table, cells: list[float]) -> float:
    return math.fsum([row.base, *cells])

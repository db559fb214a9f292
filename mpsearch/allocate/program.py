"""Tables as the solver reads them: in the space's order, summed over ties, totals exact."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mpsearch.allocate.knapsack import Knapsack
from mpsearch.core.allocation import Allocation
from mpsearch.core.arrays import Floats, Picks
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

__all__ = ["admitted", "aligned", "allocation_of", "cost_of", "grouped", "knapsack"]


def admitted(budget: Budget, cost: CostTable) -> float:
    """The limit with its rounding, cut to a whole number where the cost comes in whole numbers; the same for all rows of a cost."""
    slop = 4 * math.ulp(budget.limit)
    whole = all(_whole(row) for row in cost.rows)
    return float(math.floor(budget.limit + min(slop, 0.25))) if whole else budget.limit + slop


def aligned(space: ResolvedSpace, table: Table) -> Floats:
    """`[L, C]` in the space's order, NaN off the menus.

    Raises:
        ValueError: a layer or choice of the space is missing, or a value on a menu is no finite number.
    """
    choices = space.choices
    rows = {name: row for row, name in enumerate(table.layers)}
    columns = {choice: column for column, choice in enumerate(table.choices)}
    missing: list[object] = [name for name in space.names if name not in rows] + [c for c in choices if c not in columns]
    if missing:
        raise ValueError(f"table '{table.name}' lacks {', '.join(map(str, missing))}; compute it for this space")
    values = table.values[np.ix_([rows[name] for name in space.names], [columns[choice] for choice in choices])]
    if (wrong := np.argwhere(space.allowed & ~np.isfinite(values))).size:
        row, column = wrong[0]
        raise ValueError(
            f"table '{table.name}' has {values[row, column]} for layer '{space.names[row]}' at {choices[column]}; "
            "every choice on a menu needs a finite number"
        )
    return np.where(space.allowed, values, np.nan)


def allocation_of(space: ResolvedSpace, picks: Picks) -> Allocation:
    """Columns `[G]` as an allocation."""
    group_of = {index: g for g, group in enumerate(space.groups) for index in group}
    choices = space.choices
    return Allocation({name: choices[picks[group_of[index]]] for index, name in enumerate(space.names)})


def cost_of(costs: Mapping[str, CostTable], budget: Budget) -> CostTable:
    """The cost a budget limits.

    Raises:
        BudgetError: it was not computed.
    """
    if budget.cost not in costs:
        raise BudgetError(
            f"budget '{budget}' limits '{budget.cost}', which was not computed; computed: {', '.join(sorted(costs)) or 'none'}"
        )
    return costs[budget.cost]


def grouped(space: ResolvedSpace, table: Table) -> Floats:
    """`[G, C]`: sums over tied layers, NaN where one of them lacks the choice."""
    values = aligned(space, table)
    sums = np.array([values[group[0]] for group in space.groups])
    for row, group in enumerate(space.groups):
        if len(group) > 1:
            sums[row] = [math.fsum(column) for column in values[list(group)].T.tolist()]
    return sums


def knapsack(
    space: ResolvedSpace, objective: Table, costs: Mapping[str, CostTable], budgets: Sequence[Budget], exclude: Sequence[Allocation] = ()
) -> Knapsack:
    """The program of `solve`: one group of columns for each group of tied layers, one limit for each row of each budget's cost.

    Raises:
        BudgetError: a budget on a cost that was not computed.
        SpaceError: an excluded allocation that is none of this space's.
        ValueError: see `aligned`.
    """
    cells = grouped(space, objective)
    rows = [(row, admitted(budget, cost)) for budget in budgets for cost in [cost_of(costs, budget)] for row in cost.rows]
    return Knapsack(
        objective=np.nan_to_num(cells),
        costs=np.nan_to_num(np.array([grouped(space, row) for row, _ in rows])).reshape(len(rows), *cells.shape),
        base=np.array([row.base for row, _ in rows]),
        limits=np.array([limit for _, limit in rows]),
        allowed=~np.isnan(cells),
        excluded=frozenset(_picks(space, allocation) for allocation in exclude),
    )


def _picks(space: ResolvedSpace, allocation: Allocation) -> tuple[int, ...]:
    """Column of each group; `SpaceError` where the allocation is none of this space's."""
    checked = space.check(allocation)
    column = {choice: c for c, choice in enumerate(space.choices)}
    return tuple(column[checked[space.names[group[0]]]] for group in space.groups)


def _whole(table: Table) -> bool:
    present = table.values[~np.isnan(table.values)]
    return float(table.base).is_integer() and bool((present == np.floor(present)).all())

"""Exact allocation: the least total of one table under budgets on others, for layers, menus and ties."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpsearch.allocate.infeasible import infeasible_error, out_of_reach
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.allocate.program import admitted, aligned, allocation_of, cost_of, knapsack
from mpsearch.allocate.reach import reachable
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.peak import CostTable
from mpsearch.core.running_maximum import running_maximum
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.costs.budgets import format_amount

__all__ = ["Solution", "check_budgets", "meets", "monotone", "solve"]


@dataclass(frozen=True, kw_only=True)
class Solution:
    """The best allocation under the budgets.

    Args:
        allocation: in layer order.
        objective: its total, in the objective's unit.
        amounts: its total by budgeted cost, in the cost's unit.
        slack: what each budget leaves unused, ≥ 0, in the cost's unit.
        gap: at most this much better is possible, in the objective's unit; 0.0 when proven optimal.
        optimal: whether the proof is complete.
    """

    allocation: Allocation
    objective: float
    amounts: Mapping[str, float]
    slack: Mapping[str, float]
    gap: float
    optimal: bool


def solve(
    space: ResolvedSpace,
    objective: Table,
    costs: Mapping[str, CostTable],
    budgets: Sequence[Budget],
    *,
    exclude: Sequence[Allocation] = (),
    time_limit: float = 60.0,
) -> Solution:
    """Allocation that minimises `objective` while every budget holds.

    `min Σ_l objective[l, x_l]` subject to `cost_m(x) ≤ limit_m`; a multiple-choice knapsack over the groups of tied layers. A cost that
    is the largest of several sums gives a constraint for each of them. Totals of whole numbers (bytes, bit operations) are compared
    exactly, others correctly rounded; see `meets`.

    Args:
        space: L layers, their menus and ties.
        objective: `[L, C]`, any unit and scale.
        costs: at least those the budgets limit.
        budgets: all hold at once.
        exclude: allocations not to return, for the next best.
        time_limit: seconds branch and bound may take where plain enumeration does not suffice.

    Raises:
        BudgetError: no allocation meets the budgets, or all that do are excluded.
        ValueError: a table without a number where a layer's menu has a choice, or without the space's layers or choices.
        TimeoutError: nothing found in time.

    Source:
        Sinha and Zoltners, "The multiple-choice knapsack problem", Operations Research 27(3), 1979.
    """
    program = knapsack(space, objective, costs, budgets, exclude)
    packing = solve_knapsack(program, time_limit=time_limit)
    if packing is None:
        raise infeasible_error(space, costs, budgets, excluded=len(exclude), time_limit=time_limit)
    allocation = allocation_of(space, packing.picks)
    amounts = {budget.cost: costs[budget.cost].total(allocation) for budget in budgets}
    return Solution(
        allocation=allocation,
        objective=objective.total(allocation),
        amounts=amounts,
        slack={budget.cost: max(0.0, budget.limit - amounts[budget.cost]) for budget in budgets},
        gap=packing.gap,
        optimal=packing.gap == 0.0,
    )


def meets(allocation: Allocation, costs: Mapping[str, CostTable], budgets: Sequence[Budget]) -> bool:
    """Whether every budget holds.

    Totals are exact sums rounded once. A limit such as 2.2 bit, and table values that are fractions, carry rounding of their own,
    so a limit is read with four units in its last place; that never admits another whole number.
    """
    return all(cost_of(costs, budget).total(allocation) <= admitted(budget, costs[budget.cost]) for budget in budgets)


def check_budgets(space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget], *, binding: bool = True) -> None:
    """Refuse budgets that cannot be met, and budgets that leave nothing to search; the latter only if they are to be `binding`.

    Raises:
        BudgetError: one is below the smallest total the space reaches, some exclude each other, or none of them binds: all are at or
            above the largest total, though there are choices. Carries `smallest` and `largest` of the cost it speaks of.
    """
    if (refused := out_of_reach(space, costs, budgets)) is not None:
        raise refused
    ranges = [reachable(space, cost_of(costs, budget)) for budget in budgets]
    loose = [(budget.least or budget.limit) >= largest for budget, (_, largest) in zip(budgets, ranges, strict=True)]
    if binding and budgets and all(loose):
        smallest, largest = ranges[0]
        if all(len(menu) == 1 for menu in space.menus):
            return  # a run of one allocation, such as plain uniform bits
        asked = " and ".join(f"{b} ≥ {format_amount(b.cost, top)}" for b, (_, top) in zip(budgets, ranges, strict=True))
        least, most = (format_amount(budgets[0].cost, amount) for amount in (smallest, largest))
        advice = (
            f"ask for less than {most}, down to {least}" if smallest < largest else "no choice in this space changes it; limit another cost"
        )
        raise BudgetError(
            f"nothing to search: even the most bits this space allows meet the budget ({asked}); {advice}",
            smallest=smallest,
            largest=largest,
        )
    if len(budgets) > 1:
        solve(space, costs[budgets[0].cost].rows[0], costs, budgets)


def monotone(table: Table, space: ResolvedSpace) -> Table:
    """The table with each layer's score raised so that fewer bits never score lower; see `running_maximum`.

    Args:
        table: `[L, C]` of a score that more bits should lower.
        space: its layers and menus.

    Raises:
        ValueError: see `mpsearch.allocate.program.aligned`.
    """
    values = running_maximum(aligned(space, table), space.choices)
    return space.table(table.name, table.unit, values, base=table.base, cost=table.cost)

"""Why budgets cannot be met, in one line with the numbers a person needs to correct them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.allocate.program import admitted, allocation_of, cost_of, knapsack, reachable, total
from mpsearch.core.budget import Budget, format_amount
from mpsearch.core.errors import BudgetError
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

__all__ = ["exhausted", "infeasible_error", "out_of_reach"]


def exhausted() -> BudgetError:
    """The error where nothing is left to try."""
    return BudgetError("every allocation within the budget has been tried; raise the budget, widen the space, or ask for fewer trials")


def out_of_reach(space: ResolvedSpace, costs: Mapping[str, Table], budgets: Sequence[Budget]) -> BudgetError | None:
    """The error for the first budget below the smallest total of its cost, if there is one."""
    for budget in budgets:
        table = cost_of(costs, budget)
        smallest, largest = reachable(space, table)
        if admitted(budget, table) < smallest:
            low, high = format_amount(budget.cost, smallest), format_amount(budget.cost, largest)
            return BudgetError(
                f"budget {budget} is below the smallest {budget.cost} this space can reach, {low} (it reaches up to {high}); "
                "raise the budget or allow fewer bits",
                smallest=smallest,
                largest=largest,
            )
    return None


def infeasible_error(
    space: ResolvedSpace, costs: Mapping[str, Table], budgets: Sequence[Budget], *, excluded: int, time_limit: float
) -> BudgetError:
    """The error for budgets that no allocation meets: one out of reach, every answer excluded, or budgets that exclude each other.

    Args:
        space: L layers, their menus and ties.
        costs: a table for every budget.
        budgets: those that failed.
        excluded: number of allocations that were not to be returned.
        time_limit: seconds for each program solved to find out.
    """
    alone = out_of_reach(space, costs, budgets)
    if alone is not None:
        return alone
    if excluded and (not budgets or _least(space, costs, budgets[0], budgets, time_limit) is not None):
        met = f"that meets {_listed(budgets)}" if budgets else "of this space"
        return BudgetError(f"no allocation is left: every one {met} is among the {excluded} excluded; raise a budget or widen the menu")
    reach = ", ".join(f"{b.cost} {format_amount(b.cost, reachable(space, costs[b.cost])[0])}" for b in budgets)
    for pair in combinations(budgets, 2):
        if _least(space, costs, pair[0], pair, time_limit) is None:
            bounds = [
                f"under {held} the smallest {asked.cost} is {format_amount(asked.cost, least)}"
                for held, asked in (pair, pair[::-1])
                if (least := _least(space, costs, asked, (held,), time_limit)) is not None
            ]
            return BudgetError(
                f"budgets {_listed(pair)} exclude each other: {', '.join(bounds)} (smallest alone: {reach}); raise one of them"
            )
    return BudgetError(
        f"budgets {_listed(budgets)} cannot hold together, though any two of them can (smallest alone: {reach}); raise one of them"
    )


def _least(space: ResolvedSpace, costs: Mapping[str, Table], asked: Budget, held: Sequence[Budget], time_limit: float) -> float | None:
    """Smallest total of one cost under budgets; None when they cannot be met."""
    packing = solve_knapsack(knapsack(space, costs[asked.cost], costs, held), time_limit=time_limit)
    return None if packing is None else total(costs[asked.cost], allocation_of(space, packing.picks))


def _listed(budgets: Sequence[Budget]) -> str:
    return " and ".join(map(str, budgets))

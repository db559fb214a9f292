"""Why budgets cannot be met, in one line with the numbers a person needs to correct them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

from mpsearch.allocate.program import admitted, cost_of
from mpsearch.allocate.reach import reachable, smallest_under
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.unquantized import bytes_of, largest_named
from mpsearch.costs.budgets import format_amount

__all__ = ["exhausted", "infeasible_error", "out_of_reach"]

_MUCH = 0.1


def exhausted() -> BudgetError:
    """The error where nothing is left to try."""
    return BudgetError("every allocation within the budget has been tried; raise the budget, widen the space, or ask for fewer trials")


def out_of_reach(space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget]) -> BudgetError | None:
    """The error for the first budget below the smallest total of its cost, if there is one."""
    for budget in budgets:
        cost = cost_of(costs, budget)
        smallest, largest = reachable(space, cost)
        if admitted(budget, cost) < smallest:
            low, high = format_amount(budget.cost, smallest), format_amount(budget.cost, largest)
            hopeless = budget.cost == "size" and budget.limit < max(space.file_overhead, bytes_of(space.unquantized))
            advice = (
                f" (it reaches up to {high}); raise the budget{', for no bits can meet it' if hopeless else ' or allow fewer bits'}"
                if smallest < largest
                else ", and no choice in this space changes it; raise the budget"
            )
            return BudgetError(
                f"budget {budget} is below the smallest {budget.cost} this space can reach, {low}{advice}{_fixed(space, budget, smallest)}",
                smallest=smallest,
                largest=largest,
            )
    return None


def _fixed(space: ResolvedSpace, budget: Budget, smallest: float) -> str:
    """Which bytes no bits can reduce, if they are much of the least file."""
    fixed = bytes_of(space.unquantized)
    if budget.cost != "size" or fixed < _MUCH * smallest:
        return ""
    return f"; {fixed:,} B of it stay float whatever the bits, the largest: {largest_named(space.unquantized)}"


def infeasible_error(
    space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget], *, excluded: int, time_limit: float
) -> BudgetError:
    """The error for budgets that no allocation meets: one out of reach, every answer excluded, or budgets that exclude each other.

    Args:
        space: L layers, their menus and ties.
        costs: the cost of every budget.
        budgets: those that failed.
        excluded: number of allocations that were not to be returned.
        time_limit: seconds for each program solved to find out.
    """
    alone = out_of_reach(space, costs, budgets)
    if alone is not None:
        return alone
    if excluded and (not budgets or smallest_under(space, costs[budgets[0].cost], costs, budgets, time_limit) is not None):
        met = f"that meets {_listed(budgets)}" if budgets else "of this space"
        return BudgetError(f"no allocation is left: every one {met} is among the {excluded} excluded; raise a budget or widen the menu")
    reach = ", ".join(f"{b.cost} {format_amount(b.cost, reachable(space, costs[b.cost])[0])}" for b in budgets)
    for pair in combinations(budgets, 2):
        if smallest_under(space, costs[pair[0].cost], costs, pair, time_limit) is None:
            bounds = [
                f"under {held} the smallest {asked.cost} is {format_amount(asked.cost, least)}"
                for held, asked in (pair, pair[::-1])
                if (least := smallest_under(space, costs[asked.cost], costs, (held,), time_limit)) is not None
            ]
            return BudgetError(
                f"budgets {_listed(pair)} exclude each other: {', '.join(bounds)} (smallest alone: {reach}); raise one of them"
            )
    return BudgetError(
        f"budgets {_listed(budgets)} cannot hold together, though any two of them can (smallest alone: {reach}); raise one of them"
    )


def _listed(budgets: Sequence[Budget]) -> str:
    return " and ".join(map(str, budgets))

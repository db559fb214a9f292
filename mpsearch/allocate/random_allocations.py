"""Random allocations near the budgets: what signals are weighted and judged by.

They depend on no signal. Each is the optimum, under the budgets times a factor of its own, of a random sensitivity:

    objective[g, k] = exp(σ_group z_g + σ_cell z_{g,k}) · (4^−weight_bits + 4^−act_bits)      z standard normal

that is, rounding errors fall with bits by their usual law, and importances are random. So the budgets hold by construction, they are
used as fully as by a solver, and every layer takes many different bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mpsearch.allocate.solve import solve
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget, tightness
from mpsearch.core.errors import BudgetError
from mpsearch.core.number_format import NumberFormat
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table

__all__ = ["LEAST_FILL", "fill", "random_allocations"]

LEAST_FILL = 0.8
"""Share of the fullest budget that an allocation uses at least, where the space allows it."""

_GROUP_NOISE = 1.5
_CELL_NOISE = 0.5
_ATTEMPTS = 8


def random_allocations(
    space: ResolvedSpace, costs: Mapping[str, CostTable], budgets: Sequence[Budget], count: int, seed: int
) -> list[Allocation]:
    """Distinct allocations that meet every budget and use 0.8 to 1.0 of the fullest one, unless the space is too coarse for that.

    The i-th depends only on the seed and on those before it, so a shorter list is the beginning of a longer one.

    Args:
        space: layers, menus and ties.
        costs: at least those the budgets limit.
        budgets: all hold.
        count: how many; fewer come back where the space has no more.
        seed: of the random sensitivities.

    Raises:
        BudgetError: no allocation meets the budgets.
    """
    found: list[Allocation] = []
    for index in range(count):
        fullest: tuple[float, Allocation] | None = None
        for attempt in range(_ATTEMPTS):
            random = np.random.default_rng([seed, index, attempt])
            factor = 1.0 if attempt == _ATTEMPTS - 1 else random.uniform(LEAST_FILL, 1.0)
            aimed = [Budget(budget.cost, budget.limit * factor, budget.text) for budget in budgets]
            try:
                allocation = solve(space, _imagined(space, random), costs, aimed).allocation
            except BudgetError:
                if factor == 1.0:
                    raise
                continue
            full = fill(allocation, costs, budgets)
            if allocation not in found and (fullest is None or full > fullest[0]):
                fullest = full, allocation
            if fullest is not None and fullest[0] >= LEAST_FILL:
                break
        if fullest is not None:
            found.append(fullest[1])
    return found


def fill(allocation: Allocation, costs: Mapping[str, CostTable], budgets: Sequence[Budget]) -> float:
    """Largest share of a budget that an allocation uses."""
    return tightness({budget.cost: costs[budget.cost].total(allocation) for budget in budgets}, budgets)


def _imagined(space: ResolvedSpace, random: np.random.Generator) -> Table:
    errors = np.array([_error(choice.weight) + _error(choice.activation) for choice in space.choices])
    values = np.empty(space.allowed.shape)
    for group in space.groups:
        importance = np.exp(_GROUP_NOISE * random.standard_normal() + _CELL_NOISE * random.standard_normal(len(errors)))
        values[list(group)] = importance * errors / len(group)
    return space.table("imagined", "nats", values)


def _error(format: NumberFormat) -> float:
    return 0.0 if format.is_float else 4.0**-format.bits_per_value

"""`Budget`: an upper limit on one cost, or a range of limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Budget", "ranged", "tightness"]


@dataclass(frozen=True)
class Budget:
    """`cost(allocation) ≤ limit`.

    Args:
        cost: name of the cost, see `mpsearch list costs`.
        limit: in the cost's own unit.
        text: the budget as the user wrote it, such as `2MB` or `1MB..8MB`.
        least: lower end of a range of limits over which a front is wanted, `limit` being its upper end; None for a single limit.
    """

    cost: str
    limit: float
    text: str
    least: float | None = None

    def __str__(self) -> str:
        return self.text


def ranged(budgets: Sequence[Budget]) -> Budget | None:
    """The budget that is a range; None if none is."""
    return next((budget for budget in budgets if budget.least is not None), None)


def tightness(amounts: Mapping[str, float], budgets: Sequence[Budget]) -> float:
    """Largest used share of a budget: `max_m amounts[m] / limit_m`; above 1 if a budget is exceeded, 0 without budgets.

    Args:
        amounts: by cost name, each in the cost's own unit.
        budgets: the limits.
    """
    return max((amounts[budget.cost] / budget.limit for budget in budgets), default=0.0)

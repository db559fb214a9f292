"""Uniform allocations that fit the budgets: what mixed precision is compared with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.space import ResolvedSpace
from mpsearch.methods.base import Method
from mpsearch.trials.problem import Problem

__all__ = ["uniform_candidates"]


def uniform_candidates(problem: Problem, method: Method | None = None) -> list[tuple[str, Allocation]]:
    """The uniform allocations that fit as `method` writes them and that no other fitting one tops in both weight and activation bits.

    Two kinds: the same bits everywhere, and the papers' custom of leaving the first and the last layer at the most bits on their menus.
    """
    space = problem.space
    found: dict[Allocation, str] = {}
    fitting = [choice for choice in space.choices if problem.fits(space.uniform(choice), method)]
    for choice in _topmost(fitting):
        allocation = space.uniform(choice)
        found.setdefault(allocation, f"uniform {_commonest(allocation)}")
    ends = [choice for choice in space.choices if problem.fits(_with_ends(space, choice), method)]
    for choice in _topmost(ends):
        allocation = _with_ends(space, choice)
        found.setdefault(allocation, f"uniform {_commonest(allocation)}, ends at most bits")
    return [(origin, allocation) for allocation, origin in found.items()]


def _commonest(allocation: Allocation) -> Choice:
    """What most layers take: where menus differ, not what was asked for."""
    return Counter(allocation.values()).most_common(1)[0][0]


def _topmost(choices: Sequence[Choice]) -> list[Choice]:
    def tops(a: Choice, b: Choice) -> bool:
        return a != b and a.at_least(b)

    return [choice for choice in choices if not any(tops(other, choice) for other in choices)]


def _with_ends(space: ResolvedSpace, choice: Choice) -> Allocation:
    choices = dict(space.uniform(choice))
    for group in space.groups:
        if 0 in group or len(space.layers) - 1 in group:
            menu = [c for c in space.menus[group[0]] if not c.weight.is_float] or list(space.menus[group[0]])
            for index in group:
                choices[space.names[index]] = max(menu, key=lambda c: (c.activation, c.weight))
    return Allocation(choices)

"""Uniform allocations within the budgets, the baseline of mixed precision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.space import ResolvedSpace
from mpsearch.methods.base import Method
from mpsearch.trials.problem import Problem

__all__ = ["uniform_candidates"]


def uniform_candidates(problem: Problem, method: Method | None = None) -> list[tuple[str, Allocation]]:
    """(origin, allocation) of the uniform allocations within the budgets for `method`; only the non-dominated ones.

    Two kinds: the same choice everywhere, or, as in many papers, the first and the last layer at the most bits on their menus. An
    allocation is left out if another one of its kind has at least its weight bits and its activation bits.
    """
    space = problem.space
    found: dict[Allocation, str] = {}
    for allocate, ends in ((space.uniform, ""), (partial(_with_ends, space), ", ends at most bits")):
        for choice in _non_dominated([choice for choice in space.choices if problem.fits(allocate(choice), method)]):
            allocation = allocate(choice)
            found.setdefault(allocation, f"uniform {_commonest(allocation)}{ends}")
    return [(origin, allocation) for allocation, origin in found.items()]


def _commonest(allocation: Allocation) -> Choice:
    """The most frequent choice, which differs from the requested one if menus do."""
    return Counter(allocation.values()).most_common(1)[0][0]


def _non_dominated(choices: Sequence[Choice]) -> list[Choice]:
    return [choice for choice in choices if not any(other != choice and other.at_least(choice) for other in choices)]


def _with_ends(space: ResolvedSpace, choice: Choice) -> Allocation:
    choices = dict(space.uniform(choice))
    for group in space.groups:
        if 0 in group or len(space.layers) - 1 in group:
            menu = [c for c in space.menus[group[0]] if not c.weight.is_float] or list(space.menus[group[0]])
            for index in group:
                choices[space.names[index]] = max(menu, key=lambda c: (c.activation, c.weight))
    return Allocation(choices)

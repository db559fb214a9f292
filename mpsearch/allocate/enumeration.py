"""Exact enumeration of a knapsack's core, group by group; partial picks that cannot become the optimum are dropped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Core, Found, Knapsack
from mpsearch.core.arrays import Floats, Picks

__all__ = ["CoreTooLarge", "enumerate_core"]

_MOST_STATES = 150_000
_MERGE_ABOVE = 20_000


class CoreTooLarge(Exception):
    """The enumeration would hold too many partial picks; branch and bound takes over."""


def enumerate_core(program: Knapsack, core: Core, width: float) -> Found | None:
    """Enumerate all picks whose objective lies at most `width` above the bound, and return the best that the program accepts.

    A partial pick is dropped when no completion of it meets the limits or stays within `width`. Groups whose columns differ most in cost
    come first: the groups that remain can then change little, and hopeless partial picks are dropped early.

    Args:
        program: decides exactly whether picks are accepted.
        core: the same program, reduced.
        width: columns with a larger reduced cost are left out, in units of `core.scale`.

    Returns:
        The best accepted picks, and of equal ones the cheapest; None when there are none within `width`.

    Raises:
        CoreTooLarge: there are too many partial picks.
    """
    within = core.within(width)
    free = np.flatnonzero(within.sum(axis=1) > 1)
    moves = np.where(within, np.abs(core.costs), 0.0)
    unit = np.maximum(moves.max(axis=(1, 2), initial=0.0), np.finfo(np.float64).tiny)
    moves = (moves / unit[:, None, None]).max(axis=(0, 2), initial=0.0)
    free = free[np.argsort(-moves[free], kind="stable")]
    columns = [np.flatnonzero(within[group]) for group in free]
    falls = _still_to_come([core.costs[:, g, c].min(axis=1) for g, c in zip(free, columns, strict=True)], len(core.rooms))
    rises = _still_to_come([core.costs[:, g, c].max(axis=1) for g, c in zip(free, columns, strict=True)], len(core.rooms))

    spent = np.zeros((len(core.rooms), 1))
    reduced = np.zeros(1)
    trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]] = []
    for step, (group, menu) in enumerate(zip(free, columns, strict=True)):
        parent = np.repeat(np.arange(len(reduced)), len(menu))
        taken = np.tile(menu, len(reduced))
        reduced = reduced[parent] + core.reduced[group, taken]
        spent = spent[:, parent] + core.costs[:, group, taken]
        left = core.rooms[:, None] - spent
        alive = (left - falls[step + 1][:, None] >= -core.slop[:, None]).all(axis=0)
        alive &= reduced + core.prices @ np.maximum(left - rises[step + 1][:, None], 0.0) <= width * (1 + 1e-12)
        kept = np.flatnonzero(alive)
        if len(kept) > _MERGE_ABOVE and not program.excluded:
            kept = kept[_cheapest_of_equal_cost(spent[:, kept], reduced[kept])]
        if len(kept) > _MOST_STATES:
            raise CoreTooLarge
        reduced, spent = reduced[kept], spent[:, kept]
        trail.append((parent[kept], taken[kept]))

    above = reduced + core.prices @ (core.rooms[:, None] - spent)
    expense = (spent / unit[:, None]).sum(axis=0)
    for state in np.lexsort((expense, np.round(above, 14))):
        picks = _walk_back(core.anchor, free, trail, int(state))
        if program.accepts(picks):
            return Found(picks=picks)
    return None


def _still_to_come(steps: list[Floats], limits: int) -> Floats:
    """Sum of the steps from each position to the end, float64 `[len(steps) + 1, M]`."""
    rows = np.array([*steps, np.zeros(limits)]).reshape(len(steps) + 1, limits)
    return np.cumsum(rows[::-1], axis=0)[::-1]


def _cheapest_of_equal_cost(spent: Floats, reduced: Floats) -> NDArray[np.intp]:
    """Indices of the states to keep: of those with the same costs, the one with the least reduced cost."""
    order = np.lexsort((reduced, *spent))
    ordered = spent[:, order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return np.sort(order[first])


def _walk_back(anchor: Picks, free: NDArray[np.intp], trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]], state: int) -> Picks:
    """The picks of a final state, read from the last group to the first."""
    picks = anchor.copy()
    for group, (parent, taken) in zip(free[::-1], reversed(trail), strict=True):
        picks[group] = taken[state]
        state = int(parent[state])
    return picks

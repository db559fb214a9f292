"""Exact enumeration of a knapsack's core, group by group, keeping only partial picks that can still win."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Core, Found, Knapsack

__all__ = ["TooWide", "enumerate_core"]

_MOST_STATES = 150_000
_MERGE_ABOVE = 20_000


class TooWide(Exception):
    """More partial picks than memory should hold; branch and bound takes over."""


def enumerate_core(program: Knapsack, core: Core, width: float) -> Found | None:
    """All picks within `width` above the bound, in a list that is cut wherever no completion meets a limit or stays within it.

    Groups with costly moves come first, so that the cheap ones left can hardly bring a hopeless state back.

    Args:
        program: for the exact verdict.
        core: reduced view of the same program.
        width: columns with a larger reduced cost are left out, in units of `core.scale`.

    Returns:
        The best accepted picks, the cheaper ones among equals; None when there are none within `width`.

    Raises:
        TooWide: the list outgrew its bound.
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
            raise TooWide
        reduced, spent = reduced[kept], spent[:, kept]
        trail.append((parent[kept], taken[kept]))

    above = reduced + core.prices @ (core.rooms[:, None] - spent)
    expense = (spent / unit[:, None]).sum(axis=0)
    for state in np.lexsort((expense, np.round(above, 14))):
        picks = _walk_back(core.anchor, free, trail, int(state))
        if program.accepts(picks):
            return Found(picks=picks)
    return None


def _still_to_come(steps: list[NDArray[np.float64]], limits: int) -> NDArray[np.float64]:
    """`[len(steps) + 1, M]`: sum of the steps from each position on."""
    rows = np.array([*steps, np.zeros(limits)]).reshape(len(steps) + 1, limits)
    return np.cumsum(rows[::-1], axis=0)[::-1]


def _cheapest_of_equal_cost(spent: NDArray[np.float64], reduced: NDArray[np.float64]) -> NDArray[np.intp]:
    order = np.lexsort((reduced, *spent))
    ordered = spent[:, order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return np.sort(order[first])


def _walk_back(
    anchor: NDArray[np.intp], free: NDArray[np.intp], trail: list[tuple[NDArray[np.intp], NDArray[np.intp]]], state: int
) -> NDArray[np.intp]:
    picks = anchor.copy()
    for group, (parent, taken) in zip(free[::-1], reversed(trail), strict=True):
        picks[group] = taken[state]
        state = int(parent[state])
    return picks

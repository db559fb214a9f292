"""What is left to try: whether there is anything, and the best of it by a table."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.infeasible import exhausted
from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack

__all__ = ["any_unvisited", "best_unvisited"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]


def any_unvisited(program: Knapsack, seen: Set[tuple[int, ...]], near: Iterable[Picks], *, time_limit: float) -> bool:
    """Whether picks within the limits were not seen; an exact solution is only asked for where nothing near by answers.

    Args:
        program: limits.
        seen: picks that do not count.
        near: picks, seen or not; they and what lies one group away are looked at first.
        time_limit: of the exact solution, seconds.
    """
    for picks in near:
        if tuple(picks.tolist()) not in seen:
            return True
        if program.broken(picks) is not None:
            continue
        dearer = program.costs - program.costs[:, np.arange(len(picks)), picks][:, :, None]
        fits = program.allowed & (dearer <= program.room(picks)[:, None, None]).all(axis=0)
        for group, choice in np.argwhere(fits):
            moved = picks.copy()
            moved[group] = choice
            if tuple(moved.tolist()) not in seen and program.broken(moved) is None:
                return True
    return solve_knapsack(replace(program, excluded=frozenset(seen)), time_limit=time_limit) is not None


def best_unvisited(program: Knapsack, objective: Floats, seen: Set[tuple[int, ...]], *, time_limit: float) -> Picks:
    """The picks of least objective within the limits that were not seen.

    Raises:
        BudgetError: all were.
    """
    packing = solve_knapsack(replace(program, objective=objective, excluded=frozenset(seen)), time_limit=time_limit)
    if packing is None:
        raise exhausted()
    return packing.picks

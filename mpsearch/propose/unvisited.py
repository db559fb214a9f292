"""Allocations that were not visited: whether there are any, and the best of them by a table."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import replace

import numpy as np

from mpsearch.allocate.infeasible import exhausted
from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.core.arrays import Floats, Picks

__all__ = ["any_unvisited", "best_unvisited"]


def any_unvisited(program: Knapsack, seen: Set[tuple[int, ...]], near: Iterable[Picks], *, time_limit: float) -> bool:
    """Whether any picks within the limits are not in `seen`. An exact solution is computed only if none is found near known picks.

    Args:
        program: limits.
        seen: picks that were visited.
        near: picks, visited or not; they and those that differ from them in one group are checked first.
        time_limit: of the exact solution, seconds.
    """
    for picks in near:
        if tuple(picks.tolist()) not in seen:
            return True
        if program.broken(picks) is not None:
            continue
        for group, choice in np.argwhere(program.affordable(picks)):
            moved = picks.copy()
            moved[group] = choice
            if tuple(moved.tolist()) not in seen and program.broken(moved) is None:
                return True
    return solve_knapsack(replace(program, excluded=frozenset(seen)), time_limit=time_limit) is not None


def best_unvisited(program: Knapsack, objective: Floats, seen: Set[tuple[int, ...]], *, time_limit: float) -> Picks:
    """The picks with the least objective within the limits that are not in `seen`.

    Raises:
        BudgetError: all are.
    """
    solution = solve_knapsack(replace(program, objective=objective, excluded=frozenset(seen)), time_limit=time_limit)
    if solution is None:
        raise exhausted()
    return solution.picks

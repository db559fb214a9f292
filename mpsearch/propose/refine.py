"""Local changes of an allocation: use up what it leaves of the budgets, or swap one group up against another down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.core.arrays import Floats, Picks
from mpsearch.propose.indexed_space import IndexedSpace

__all__ = ["filled_exactly", "filled_greedily", "swaps"]

_WIDTH = 64
"""Moves up, and moves down, that are paired with each other."""
_WAYS = 16
"""Solutions looked at where the best ones are excluded."""
_TIME = 5.0
"""Seconds for one exact solution; after that the best found so far is taken."""


def filled_greedily(indexed: IndexedSpace, program: Knapsack, picks: Picks, linear: Floats) -> Picks:
    """Raise groups of `picks`, the most promising first, until none can be raised without exceeding a limit.

    Args:
        indexed: the space.
        program: limits, which `picks` meets.
        picks: int `[G]`.
        linear: what each choice is expected to add to log loss, float64 `[G, C]`.
    """
    picks, groups = picks.copy(), np.arange(len(picks))
    refused: set[tuple[int, int]] = set()
    while True:
        options = indexed.richer[picks] & program.affordable(picks)
        for move in refused:
            options[move] = False
        if not options.any():
            return picks
        gains = np.where(options, linear - linear[groups, picks][:, None], np.inf)
        group, choice = divmod(int(gains.argmin()), gains.shape[1])
        before, picks[group] = picks[group], choice
        if program.broken(picks) is not None:  # rounding of fractions: differences fit, the exact sum does not
            picks[group] = before
            refused.add((group, choice))


def filled_exactly(indexed: IndexedSpace, program: Knapsack, picks: Picks, linear: Floats) -> Picks:
    """The best allocation within the limits that lowers no group of `picks` and in which no group can be raised any more.

    It is the better of two: the exact optimum with the rest of the budgets filled greedily, and `picks` filled greedily. The second can
    win where more bits are expected to do harm.

    Args:
        indexed: the space.
        program: limits, which `picks` meets, and excluded picks.
        picks: int `[G]`; returned as they are when only excluded allocations are found.
        linear: see `filled_greedily`.
    """
    kept = indexed.richer[picks] | (np.arange(len(indexed.space.choices)) == picks[:, None])
    excluded = program.excluded
    for _ in range(_WAYS):
        solution = solve_knapsack(replace(program, objective=linear, allowed=program.allowed & kept, excluded=excluded), time_limit=_TIME)
        partial = [picks] if solution is None else [solution.picks, picks]
        full = [filled_greedily(indexed, program, each, linear) for each in partial]
        found = [each for each in full if tuple(each.tolist()) not in program.excluded]
        if found:
            return min(found, key=lambda each: float(linear[np.arange(len(each)), each].sum()))
        if solution is None:
            break
        excluded |= {tuple(solution.picks.tolist())}
    return picks


def swaps(indexed: IndexedSpace, program: Knapsack, picks: Picks, linear: Floats, most: int) -> Picks:
    """Allocations that raise one group of `picks`, lower another and use up what that leaves of the limits, int `[M, G]`, distinct.

    Args:
        indexed: the space.
        program: limits.
        picks: int `[G]`, within the limits.
        linear: see `filled_greedily`; the most promising swaps come first.
        most: largest M.
    """
    groups = np.arange(len(picks))
    gains = linear - linear[groups, picks][:, None]
    dearer = program.dearer(picks)
    up, down = (_promising(moves & indexed.allowed, gains) for moves in (indexed.richer[picks], indexed.richer.T[picks]))
    both = gains[up][:, None] + gains[down][None]
    both[up[0][:, None] == down[0][None]] = np.inf
    both[(dearer[:, *up][:, :, None] + dearer[:, *down][:, None] > program.room(picks)[:, None, None]).any(axis=0)] = np.inf
    found: dict[tuple[int, ...], Picks] = {}
    for index in np.argsort(both, axis=None, kind="stable")[: int(np.isfinite(both).sum())]:
        one, other = divmod(int(index), both.shape[1])
        moved = picks.copy()
        moved[up[0][one]], moved[down[0][other]] = up[1][one], down[1][other]
        if program.broken(moved) is None:
            moved = filled_greedily(indexed, program, moved, linear)
            found.setdefault(tuple(moved.tolist()), moved)
            if len(found) == most:
                break
    return np.array(list(found.values()), dtype=np.intp).reshape(len(found), len(picks))


def _promising(moves: NDArray[np.bool_], gains: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(groups, choices) of the moves that lower the expected loss most."""
    groups, choices = np.nonzero(moves)
    best = np.argsort(gains[groups, choices], kind="stable")[:_WIDTH]
    return groups[best], choices[best]

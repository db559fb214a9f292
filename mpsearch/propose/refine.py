"""Spend what a budget leaves, and swap at equal budget: one group up, another down."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.propose.indexed_space import IndexedSpace

__all__ = ["filled", "spent", "swaps"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]

_WIDTH = 64
"""Moves up and moves down that are paired."""
_WAYS = 16
"""Ways to spend a budget that are looked at where the best ones are excluded."""
_TIME = 5.0
"""Seconds for an exact solution; the best found counts then."""


def filled(indexed: IndexedSpace, program: Knapsack, picks: Picks, linear: Floats) -> Picks:
    """`picks` with groups raised, the most promising first, until no single one can go up without breaking a limit.

    Args:
        indexed: menus.
        program: limits; `picks` meets them.
        picks: int `[G]`.
        linear: what each choice is expected to add to log loss, float64 `[G, C]`.
    """
    picks, groups = picks.copy(), np.arange(len(picks))
    refused: set[tuple[int, int]] = set()
    while True:
        dearer = program.costs - program.costs[:, groups, picks][:, :, None]
        options = indexed.richer[picks] & indexed.allowed & (dearer <= program.room(picks)[:, None, None]).all(axis=0)
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


def spent(indexed: IndexedSpace, program: Knapsack, picks: Picks, linear: Floats) -> Picks:
    """The best allocation within the limits that takes bits from no group of `picks`, with nothing left that a group could go up by.

    Where more bits are expected to do harm, using up what the exact optimum leaves may cost more than going up one by one: then that is it.

    Args:
        indexed: menus.
        program: limits, which `picks` meets, and what must not come out; if all that is found is among that, `picks` comes back.
        picks: int `[G]`.
        linear: see `filled`.
    """
    kept = indexed.richer[picks] | (np.arange(len(indexed.space.choices)) == picks[:, None])
    excluded = program.excluded
    for _ in range(_WAYS):
        packing = solve_knapsack(replace(program, objective=linear, allowed=program.allowed & kept, excluded=excluded), time_limit=_TIME)
        starts = [picks] if packing is None else [packing.picks, picks]
        found = [full for start in starts if tuple((full := filled(indexed, program, start, linear)).tolist()) not in program.excluded]
        if found:
            return min(found, key=lambda full: float(linear[np.arange(len(full)), full].sum()))
        if packing is None:
            break
        excluded |= {tuple(packing.picks.tolist())}
    return picks


def swaps(indexed: IndexedSpace, program: Knapsack, picks: Picks, linear: Floats, most: int) -> Picks:
    """Allocations within the limits that raise one group of `picks`, lower another and spend what that leaves, int `[M, G]`, distinct.

    Args:
        indexed: menus.
        program: limits.
        picks: int `[G]`, within the limits.
        linear: see `filled`; the promising swaps come first.
        most: M at most.
    """
    groups = np.arange(len(picks))
    gains = linear - linear[groups, picks][:, None]
    dearer = program.costs - program.costs[:, groups, picks][:, :, None]
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
            moved = filled(indexed, program, moved, linear)
            found.setdefault(tuple(moved.tolist()), moved)
            if len(found) == most:
                break
    return np.array(list(found.values()), dtype=np.intp).reshape(len(found), len(picks))


def _promising(moves: NDArray[np.bool_], gains: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """(groups, choices) of the moves with the least gains."""
    groups, choices = np.nonzero(moves)
    best = np.argsort(gains[groups, choices], kind="stable")[:_WIDTH]
    return groups[best], choices[best]

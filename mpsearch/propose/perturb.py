"""Proposals without a surrogate: exact optima of perturbed signals, random swaps around the best; what the surrogate is compared with."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.propose.indexed_space import IndexedSpace
from mpsearch.propose.refine import swaps

__all__ = ["perturbed", "swapped"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]

_NOISE = 0.5
_ATTEMPTS = 12
_SWAPS = 200


def perturbed(program: Knapsack, signals: Floats, seen: Set[tuple[int, ...]], random: np.random.Generator) -> Picks | None:
    """The exact optimum of one of the signals `[T, G, C]`, its numbers multiplied by log-normal noise until it is one not seen."""
    for attempt in range(_ATTEMPTS):
        values = signals[int(random.integers(len(signals)))]
        noise = np.exp(_NOISE * (1 + attempt / 2) * random.standard_normal(values.shape))
        packing = solve_knapsack(replace(program, objective=values * noise))
        if packing is not None and tuple(packing.picks.tolist()) not in seen:
            return packing.picks
    return None


def swapped(indexed: IndexedSpace, program: Knapsack, best: Picks, seen: Set[tuple[int, ...]], random: np.random.Generator) -> Picks | None:
    """A random swap around `best`, its budget spent."""
    around = swaps(indexed, program, best, random.standard_normal(indexed.allowed.shape), _SWAPS)
    return next((row for row in around if tuple(row.tolist()) not in seen), None)

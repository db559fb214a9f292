"""The search without its surrogate: exact optima of perturbed signals, and random swaps around the best allocation so far.

This is the baseline of the ablations. It shows what the surrogate adds to signals and an exact solver.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.core.budget import Budget
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.propose.indexed_space import IndexedSpace
from mpsearch.propose.model_averaging import prior_model
from mpsearch.propose.observation import Observation, Proposal
from mpsearch.propose.prior_signals import informative_signals, uninformative_signal
from mpsearch.propose.refine import swaps
from mpsearch.propose.unvisited import best_unvisited

__all__ = ["SignalSearch"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]

_NOISE = 0.5
_ATTEMPTS = 12
_SWAPS = 200
_TIME = 5.0


class SignalSearch:
    """Proposes like `Searcher`, but learns only which allocation is the best so far.

    The first proposals are the optimum of each signal and that of the error of a uniform grid. After that, swaps around the best
    allocation and optima of perturbed signals take turns.

    Args:
        space: layers, menus, ties.
        tables: at most two signals.
        costs: tables by name; at least those the budgets limit.
        budgets: all hold.
        seed: of the noise and the swaps.
    """

    def __init__(
        self, space: ResolvedSpace, tables: Sequence[Table], costs: Mapping[str, CostTable], budgets: Sequence[Budget], *, seed: int = 0
    ) -> None:
        self._seed = seed
        self._indexed = IndexedSpace(space=space, costs=costs, budgets=tuple(budgets))
        self._program = self._indexed.program
        grid = uninformative_signal(self._indexed)
        signals = informative_signals(self._indexed, tables) or [grid]
        first = {signal.origin: best_unvisited(self._program, signal.values, set(), time_limit=60.0) for signal in (*signals, grid)}
        self._first = list(first.items())
        self._signals = prior_model(signals, [first[signal.origin] for signal in signals], self._indexed, odds=1.0).signals

    def propose(self, observations: Sequence[Observation]) -> Proposal:
        """The next allocation, given the finished trials.

        Raises:
            BudgetError: every allocation within the budgets was tried.
        """
        losses = {tuple(self._indexed.picks(o.allocation).tolist()): list(o.losses.values())[-1] for o in observations}
        for origin, picks in self._first:
            if tuple(picks.tolist()) not in losses:
                return self._proposal(origin, picks)
        random = np.random.default_rng([self._seed, len(observations)])
        if len(observations) % 2:
            best = np.array(min(losses, key=lambda key: losses[key]), dtype=np.intp)
            if (found := self._swapped(best, losses.keys(), random)) is not None:
                return self._proposal("swap", found)
        if (found := self._perturbed(losses.keys(), random)) is not None:
            return self._proposal("perturbed", found)
        return self._proposal("left", best_unvisited(self._program, self._signals[0], losses.keys(), time_limit=_TIME))

    def _perturbed(self, seen: Set[tuple[int, ...]], random: np.random.Generator) -> Picks | None:
        """The exact optimum of one signal, its numbers multiplied by log-normal noise, which grows until the optimum is a new one."""
        for attempt in range(_ATTEMPTS):
            values = self._signals[int(random.integers(len(self._signals)))]
            noise = np.exp(_NOISE * (1 + attempt / 2) * random.standard_normal(values.shape))
            solution = solve_knapsack(replace(self._program, objective=values * noise))
            if solution is not None and tuple(solution.picks.tolist()) not in seen:
                return solution.picks
        return None

    def _swapped(self, best: Picks, seen: Set[tuple[int, ...]], random: np.random.Generator) -> Picks | None:
        """A random swap around `best` that uses up the budget."""
        around = swaps(self._indexed, self._program, best, random.standard_normal(self._indexed.allowed.shape), _SWAPS)
        return next((row for row in around if tuple(row.tolist()) not in seen), None)

    def _proposal(self, origin: str, picks: Picks) -> Proposal:
        return Proposal(origin=origin, allocation=self._indexed.allocation(picks))

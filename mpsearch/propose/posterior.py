"""`Posterior`: what a search that has ended expects of any allocation, and the best one it knows of under any budgets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mpsearch.allocate.infeasible import infeasible_error
from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.core.allocation import Allocation
from mpsearch.core.arrays import Floats, Picks
from mpsearch.core.budget import Budget
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.propose.indexed_space import IndexedSpace
from mpsearch.propose.observation import Observation
from mpsearch.propose.refine import filled_exactly, swaps
from mpsearch.propose.searcher import Searcher
from mpsearch.propose.surrogate.model import Surrogate

__all__ = ["Posterior"]

_BEST = 3
"""Best measured allocations within the budgets that the search for the best allocation starts from."""
_SWAPS = 200
_MOST_STEPS = 12
_TIME = 5.0
"""Seconds for one exact solution; after that the best found so far is taken."""


class Posterior:
    """The surrogates of a search, given all its trials.

    Args:
        searcher: of the search; its budgets need not hold for what is asked.
        observations: its trials, in the order they finished.
    """

    def __init__(self, searcher: Searcher, observations: Sequence[Observation]) -> None:
        self._indexed = searcher.indexed
        self._models = searcher.models(observations, ())
        self._measured = searcher.indexed.stacked(list(dict.fromkeys(o.allocation for o in observations if o.losses)))

    @property
    def space(self) -> ResolvedSpace:
        """Whose allocations it knows."""
        return self._indexed.space

    @property
    def noise(self) -> float:
        """Standard deviation of one measurement at the deepest rung, nats of log loss."""
        return self._models[0][1].noise

    def predict(self, allocations: Sequence[Allocation]) -> tuple[Floats, Floats]:
        """(mean, deviation) of the log loss of M allocations at the deepest rung, float64 `[M]`; without the noise of a measurement.

        Of the mixture of the prior models, by their posterior probability.
        """
        return self._moments(self._indexed.stacked(allocations))

    def best(self, costs: Mapping[str, CostTable], budgets: Sequence[Budget]) -> Allocation:
        """The allocation of least expected loss within budgets, as far as exact optima of the linearised mean and swaps around them find.

        Args:
            costs: tables of the budgets.
            budgets: all hold.

        Raises:
            BudgetError: no allocation meets the budgets.
        """
        indexed = IndexedSpace(space=self._indexed.space, costs=costs, budgets=tuple(budgets))
        program = indexed.program
        points = np.array(list(self._starting_points(indexed, program)), dtype=np.intp)
        if not len(points):
            raise infeasible_error(indexed.space, costs, budgets, excluded=0, time_limit=_TIME)
        means = self._moments(points)[0]
        here, least = points[int(means.argmin())], float(means.min())
        for _ in range(_MOST_STEPS):
            options = swaps(indexed, program, here, _tangent(self._models[0][1], here), _SWAPS)
            if not len(options):
                break
            means = self._moments(options)[0]
            if means.min() >= least:
                break
            here, least = options[int(means.argmin())], float(means.min())
        return indexed.allocation(here)

    def _starting_points(self, indexed: IndexedSpace, program: Knapsack) -> Iterator[Picks]:
        """Exact optima under each model, and the best measured allocations with the rest of the budgets spent."""
        for _, model in self._models:
            at = float(model.damages.min()) if len(model.damages) else 1.0
            picks: Picks | None = None
            for _ in range(2):  # the tangent of the second lies at the optimum of the first
                solution = solve_knapsack(replace(program, objective=model.linear(at)), time_limit=_TIME)
                if solution is None:
                    return
                picks = solution.picks
                at = float(model.total_damage(picks[None])[0])
            if picks is not None:
                yield filled_exactly(indexed, program, picks, model.linear(at))
        inside = np.array([picks for picks in self._measured if program.broken(picks) is None], dtype=np.intp)
        if len(inside):
            for near in inside[np.argsort(self._moments(inside)[0], kind="stable")[:_BEST]]:
                yield near
                yield filled_exactly(indexed, program, near, _tangent(self._models[0][1], near))

    def _moments(self, picks: Picks) -> tuple[Floats, Floats]:
        weights = np.array([weight for weight, _ in self._models])
        means, deviations = (np.array(each) for each in zip(*(model.predict(picks) for _, model in self._models), strict=True))
        shares = (weights / weights.sum())[:, None]
        mean = (shares * means).sum(axis=0)
        return mean, np.sqrt((shares * (deviations**2 + means**2)).sum(axis=0) - mean**2)


def _tangent(model: Surrogate, picks: Picks) -> Floats:
    return model.linear(float(model.total_damage(picks[None])[0]))

"""The acquisition function: expected improvement of the Pareto front of cost and loss, at limits around the budget.

    E(x) = Σ_j w_j · EI_j(x) · [x meets limit j],      EI_j: expected improvement on the least loss within limit j,      Σ_j w_j = 1

An allocation within one limit is within every larger one. So with the distances between limits as weights, this sum is the expected
hypervolume improvement in cost and log loss. The cost is known beforehand, so the sum is exact and needs no samples. Half of all weight
is on the budget itself, which the winner has to meet. With a single limit, it is expected improvement.

Source of expected hypervolume improvement: Emmerich, Giannakoglou and Naujoks, "Single- and Multiobjective Evolutionary Optimization
Assisted by Gaussian Random Field Metamodels", IEEE Trans. Evolutionary Computation 10(4), 2006 (UNVERIFIED: the paper was not read; the
sum follows from the definition).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.core.arrays import Floats, Picks
from mpsearch.core.budget import ranged
from mpsearch.propose.indexed_space import IndexedSpace
from mpsearch.propose.surrogate.evidence import Evidence

__all__ = ["Frontier", "Levels", "expected_improvement"]

_EMPHASIS = 0.5
"""Weight of the budget itself. With less, the winner is found later; with more, the front has fewer points."""


def expected_improvement(mean: Floats, deviation: Floats, best: Floats | float) -> Floats:
    """Expected improvement below `best`, in the unit of the mean; shapes broadcast.

        EI = σ · (z Φ(z) + φ(z)),   z = (best − μ) / σ

    Source: Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", J. Global Optimization 13, 1998,
    section 4.1.
    """
    from scipy.special import ndtr

    z = (best - mean) / deviation
    return np.asarray(deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)))


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The limits at which the front is improved, from tight to loose, the budget among them.

    Args:
        factors: on every budget, ascending; 1 is the budget itself.
        programs: the knapsack at each.
        weights: w, float64 `[J]`.
    """

    factors: tuple[float, ...]
    programs: tuple[Knapsack, ...]
    weights: Floats

    @classmethod
    def wanted(cls, indexed: IndexedSpace, sweep: tuple[float, float], count: int) -> Levels:
        """Those over the range of the budgets, if one is a range; else those around the budgets."""
        area = ranged(indexed.budgets)
        if area is None or area.least is None:
            return cls.around(indexed, sweep, count)
        return cls.over(indexed, area.least / area.limit, count)

    @classmethod
    def around(cls, indexed: IndexedSpace, sweep: tuple[float, float], count: int) -> Levels:
        """Up to `count` limits between the two factors, evenly spaced in cost, and the budget; limits that nothing meets are left out."""
        spread = np.linspace(*sweep, count).round(6).tolist() if sweep[0] < sweep[1] else []
        programs = {factor: indexed.program_at(factor) for factor in sorted({1.0, *spread})}
        met = {factor: program for factor, program in programs.items() if factor == 1.0 or solve_knapsack(program) is not None}
        return cls(factors=tuple(met), programs=tuple(met.values()), weights=_weights(np.array(list(met))))

    @classmethod
    def over(cls, indexed: IndexedSpace, least: float, count: int) -> Levels:
        """Up to `count` limits from the factor `least` to 1, evenly spaced in the logarithm of the cost, without those that nothing meets.

        None is emphasised: the weights are the distances of the logarithms, so halves of a budget count alike at its every size.
        """
        spread = sorted({1.0, *np.geomspace(least, 1.0, count).round(6).tolist()})
        programs = {factor: indexed.program_at(factor) for factor in spread}
        met = {factor: program for factor, program in programs.items() if factor == 1.0 or solve_knapsack(program) is not None}
        widths = _widths(np.log(list(met))) if len(met) > 1 else np.ones(1)
        return cls(factors=tuple(met), programs=tuple(met.values()), weights=widths / widths.sum())

    @property
    def budget(self) -> Knapsack:
        """The knapsack at the budget itself."""
        return self.programs[self.factors.index(1.0)]

    def alone(self) -> Levels:
        """The budget without the limits around it."""
        return Levels(factors=(1.0,), programs=(self.budget,), weights=np.ones(1))

    def fitting(self, options: Picks) -> NDArray[np.bool_]:
        """Whether each limit is met by allocations int `[K, G]`, bool `[J, K]`."""
        loosest = self.programs[-1]
        amounts = loosest.base[:, None] + loosest.costs[:, np.arange(options.shape[1]), options].sum(axis=2)
        limits = np.array([program.limits for program in self.programs])
        return np.asarray((amounts[None] <= limits[:, :, None]).all(axis=1))

    def leaders(self, evidence: Evidence, count: int) -> list[int]:
        """Indices of the measurements of least loss within each limit, `count` of each rung."""
        found: set[int] = set()
        for inside in self.fitting(evidence.picks):
            for rung in np.unique(evidence.rungs):
                mine = np.flatnonzero(inside & (evidence.rungs == rung))
                found.update(mine[np.argsort(evidence.values[mine], kind="stable")[:count]].tolist())
        return sorted(found)

    def tightest(self, picks: Picks) -> float:
        """The factor of the tightest limit that an allocation int `[G]` meets; the largest factor if it meets none."""
        met = (factor for factor, program in zip(self.factors, self.programs, strict=True) if program.broken(picks) is None)
        return next(met, self.factors[-1])


def _weights(factors: Floats) -> Floats:
    """One half on factor 1, the other half by the distance to the next larger limit."""
    if len(factors) == 1:
        return np.ones(1)
    widths = _widths(factors)
    return np.asarray(_EMPHASIS * (factors == 1.0) + (1 - _EMPHASIS) * widths / widths.sum())


def _widths(places: Floats) -> Floats:
    """Distance to the next larger place; the last one as the one before."""
    steps = np.diff(places)
    return np.append(steps, steps[-1])


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """The incumbents: the least log loss within each limit.

    Args:
        levels: J limits.
        best: float64 `[J]`.
    """

    levels: Levels
    best: Floats

    @property
    def program(self) -> Knapsack:
        """The loosest limits."""
        return self.levels.programs[-1]

    @classmethod
    def with_reference(cls, reference: float, levels: Levels, best: Sequence[float]) -> Frontier:
        """With a reference point: losses above it do not count. A single limit spans no area and needs none."""
        return cls(levels=levels, best=np.minimum(best, reference) if len(best) > 1 else np.array(best))

    def improvement(self, options: Picks, mean: Floats, deviation: Floats) -> Floats:
        """E, float64 `[K]`, nats of log loss, of allocations int `[K, G]` with predicted mean and deviation, `[K]` each."""
        expected = expected_improvement(mean, deviation, self.best[:, None])
        return np.asarray(self.levels.weights @ (expected if len(self.best) == 1 else expected * self.levels.fitting(options)))

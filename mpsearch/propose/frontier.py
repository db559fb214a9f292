"""The front that is searched for: limits around the budget, the least losses within them, and what a measurement is expected to take off.

    E(x) = Σ_j w_j · EI_j(x) · [x meets limit j],      EI_j: expected improvement on the least loss within limit j,      Σ_j w_j = 1

A loss within one limit holds within every larger one. So with distances in cost for weights this is the expected gain of the area that
trials dominate in cost and log loss; of the two objectives one is known beforehand, and nothing has to be sampled. Half of all weight
is the budget's own, which the winner has to meet. With a single limit it is expected improvement.

Source of the expected gain of area: Emmerich, Giannakoglou and Naujoks, "Single- and Multiobjective Evolutionary Optimization Assisted by
Gaussian Random Field Metamodels", IEEE Trans. Evolutionary Computation 10(4), 2006 (UNVERIFIED: not looked at; the sum follows from the
definition).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.propose.indexed_space import IndexedSpace

__all__ = ["Frontier", "Levels", "expected_improvement"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]

_EMPHASIS = 0.5
"""Weight of the budget itself; with less the winner comes later, with more the front is thinner."""


def expected_improvement(mean: Floats, deviation: Floats, best: Floats | float) -> Floats:
    """EI below `best`, in the unit of the mean; shapes broadcast.

        EI = σ · (z Φ(z) + φ(z)),   z = (best − μ) / σ

    Source: Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", J. Global Optimization 13, 1998,
    section 4.1.
    """
    from scipy.special import ndtr

    z = (best - mean) / deviation
    return np.asarray(deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)))


@dataclass(frozen=True, kw_only=True)
class Levels:
    """The limits a front is wanted at, from tight to loose, the budget's own among them.

    Args:
        factors: on every budget, rising; 1 is the budget itself.
        programs: the costs under each.
        weights: w, float64 `[J]`.
    """

    factors: tuple[float, ...]
    programs: tuple[Knapsack, ...]
    weights: Floats

    @classmethod
    def around(cls, indexed: IndexedSpace, sweep: tuple[float, float], count: int) -> Levels:
        """Up to `count` limits between the two factors, evenly in cost, and the budget; those that nothing meets are left out."""
        spread = np.linspace(*sweep, count).round(6).tolist() if sweep[0] < sweep[1] else []
        programs = {factor: indexed.program_at(factor) for factor in sorted({1.0, *spread})}
        met = {factor: program for factor, program in programs.items() if factor == 1.0 or solve_knapsack(program) is not None}
        return cls(factors=tuple(met), programs=tuple(met.values()), weights=_weights(np.array(list(met))))

    @property
    def budget(self) -> Knapsack:
        """The budget's own limits."""
        return self.programs[self.factors.index(1.0)]

    def alone(self) -> Levels:
        """The budget and nothing around it."""
        return Levels(factors=(1.0,), programs=(self.budget,), weights=np.ones(1))

    def fitting(self, options: Picks) -> NDArray[np.bool_]:
        """Which limits allocations int `[K, G]` meet, bool `[J, K]`."""
        loosest = self.programs[-1]
        amounts = loosest.base[:, None] + loosest.costs[:, np.arange(options.shape[1]), options].sum(axis=2)
        limits = np.array([program.limits for program in self.programs])
        return np.asarray((amounts[None] <= limits[:, :, None]).all(axis=1))

    def tightest(self, picks: Picks) -> float:
        """The factor of the first limit that an allocation int `[G]` meets, of the last if none."""
        met = (factor for factor, program in zip(self.factors, self.programs, strict=True) if program.broken(picks) is None)
        return next(met, self.factors[-1])


def _weights(factors: Floats) -> Floats:
    """Half for factor 1, half by the distance in cost to the next larger limit."""
    if len(factors) == 1:
        return np.ones(1)
    steps = np.diff(factors)
    widths = np.append(steps, steps[-1])
    return np.asarray(_EMPHASIS * (factors == 1.0) + (1 - _EMPHASIS) * widths / widths.sum())


@dataclass(frozen=True, kw_only=True)
class Frontier:
    """What is to be improved on.

    Args:
        levels: J limits.
        best: least log loss within each, float64 `[J]`.
    """

    levels: Levels
    best: Floats

    @classmethod
    def above(cls, nothing: float, levels: Levels, best: Sequence[float]) -> Frontier:
        """With losses from `nothing` on counting as nothing; a single limit has no area, so there any improvement counts."""
        return cls(levels=levels, best=np.minimum(best, nothing) if len(best) > 1 else np.array(best))

    def improvement(self, options: Picks, mean: Floats, deviation: Floats) -> Floats:
        """E, float64 `[K]`, nats of log loss, of allocations int `[K, G]` with these predictions `[K]`."""
        expected = expected_improvement(mean, deviation, self.best[:, None])
        return np.asarray(self.levels.weights @ (expected if len(self.best) == 1 else expected * self.levels.fitting(options)))

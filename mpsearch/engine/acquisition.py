"""Expected improvement, and the climb to an allocation within the budgets that has the most of it, by moving one or two groups at a time.

    EI(x) = σ(x) · (z Φ(z) + φ(z)),   z = (best − μ(x)) / σ(x)

Source: Jones, Schonlau and Welch, "Efficient Global Optimization of Expensive Black-Box Functions", J. Global Optimization 13, 1998,
section 4.1.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mpsearch.engine.knapsack import Knapsack
from mpsearch.engine.surrogate.model import Surrogate

__all__ = ["Candidate", "Climber", "expected_improvement"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]

_MOST_STEPS = 12
_MOST_MOVES = 320
"""Neighbours weighed exactly at each step."""
_WORK = 4e7
"""Neighbours times squared measurements a step may take; fewer neighbours are looked at where there are many measurements."""


def expected_improvement(mean: Floats, deviation: Floats, best: float) -> Floats:
    """EI, float64 `[M]`, below `best`, in the unit of the mean."""
    from scipy.special import ndtr

    z = (best - mean) / deviation
    return np.asarray(deviation * (z * ndtr(z) + np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)))


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An allocation that was not tried, and what is expected of it.

    Args:
        picks: int `[G]`.
        improvement: EI, nats of log loss.
        mean: predicted log loss.
    """

    picks: Picks
    improvement: float
    mean: float


class Climber:
    """Climbs under one surrogate, inside one set of limits.

    Args:
        surrogate: what predicts.
        program: limits.
        best: log loss to improve on.
        seen: picks not to propose.
        random: breaks the choice among too many moves.
    """

    def __init__(
        self, surrogate: Surrogate, program: Knapsack, best: float, seen: Set[tuple[int, ...]], random: np.random.Generator
    ) -> None:
        self._surrogate = surrogate
        self._program = program
        self._best = best
        self._seen = seen
        self._random = random
        self._costs = np.where(program.allowed, program.costs, np.inf)

    def climb(self, start: Picks, *, steps: int = _MOST_STEPS) -> Candidate | None:
        """The best untried allocation met on the way up from `start`; None if there is none around it."""
        here, found = start, self.weigh(start[None])
        for _ in range(steps):
            neighbours = self.neighbours(here)
            better = self.weigh(neighbours) if len(neighbours) else None
            if better is None or (found is not None and better.improvement <= found.improvement):
                break
            found, here = better, better.picks
        return found

    def neighbours(self, picks: Picks) -> Picks:
        """Allocations within the limits that differ in one or two groups, int `[M, G]`, the promising ones if there are too many."""
        groups = np.arange(len(picks))
        linear = self._surrogate.linear(float(self._surrogate.total_damage(picks[None])[0]))
        gains = np.where(self._program.allowed, linear - linear[groups, picks][:, None], np.inf)
        dearer = self._costs - self._costs[:, groups, picks][:, :, None]
        room = self._program.room(picks)
        g, c = np.nonzero(self._program.allowed & (np.arange(gains.shape[1]) != picks[:, None]))
        gain, cost = gains[g, c], dearer[:, g, c]
        most = self._most()
        single = np.flatnonzero((cost <= room[:, None]).all(axis=0))
        up, down = self._halves(gain, cost, most)
        one, two = np.repeat(up, len(down)), np.tile(down, len(up))
        kept = (g[one] != g[two]) & (cost[:, one] + cost[:, two] <= room[:, None]).all(axis=0)
        one, two = one[kept], two[kept]
        if len(one) > most:
            first = np.argpartition(gain[one] + gain[two], most // 2)[: most // 2]
            others = self._random.permutation(len(one))[: most - len(first)]
            chosen = np.unique(np.concatenate([first, others]))
            one, two = one[chosen], two[chosen]
        if len(single) > most:
            single = single[np.argpartition(gain[single], most)[:most]]
        moved = np.repeat(picks[None], len(single) + len(one), axis=0)
        moved[np.arange(len(single)), g[single]] = c[single]
        rows = len(single) + np.arange(len(one))
        moved[rows, g[one]] = c[one]
        moved[rows, g[two]] = c[two]
        return moved

    def _halves(self, gain: Floats, cost: Floats, most: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Moves that cost more, or at least not less, and moves that save: the best of each for their cost."""
        unit = np.maximum(np.abs(cost).max(axis=1, initial=0.0), 1e-300)[:, None]
        price = (cost / unit).sum(axis=0)
        up, down = np.flatnonzero(price >= 0), np.flatnonzero(price < 0)
        wide = int(np.sqrt(4 * most)) + 1
        if len(up) > wide:
            up = up[np.argsort(gain[up] / (price[up] + 1e-9), kind="stable")[:wide]]
        if len(down) > wide:
            down = down[np.argsort(gain[down] / -price[down], kind="stable")[:wide]]
        return up, down

    def _most(self) -> int:
        return int(np.clip(_WORK / max(1, len(self._surrogate.residuals)) ** 2, 60, _MOST_MOVES))

    def weigh(self, options: Picks) -> Candidate | None:
        """The best of allocations int `[M, G]` that was not tried and meets the limits."""
        fresh = np.array([tuple(row) not in self._seen for row in options.tolist()], dtype=np.bool_)
        options = options[fresh]
        if not len(options):
            return None
        mean, deviation = self._surrogate.predict(options)
        # A measurement comes out the same when repeated: what the kernel calls noise is the allocation's own, and may be for the better.
        deviation = np.hypot(deviation, self._surrogate.noise)
        improvement = expected_improvement(mean, deviation, self._best)
        for index in np.lexsort((mean, -improvement)):
            if self._program.broken(options[index]) is None:
                return Candidate(picks=options[index], improvement=float(improvement[index]), mean=float(mean[index]))
        return None

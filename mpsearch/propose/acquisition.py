"""Local search of the acquisition function: from an allocation to better ones, changing one or two groups at a time."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.knapsack import Knapsack
from mpsearch.core.arrays import Floats, Picks
from mpsearch.propose.surrogate.model import Surrogate

__all__ = ["Acquisition", "Candidate", "LocalSearch", "best_on_average"]

_MOST_STEPS = 12
_MOST_MOVES = 320
"""Neighbours whose expected improvement is computed in each step."""
_WORK = 4e7
"""Bound on neighbours times squared measurements in a step: where there are many measurements, fewer neighbours are looked at."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An allocation that was not visited, and its predictions.

    Args:
        picks: int `[G]`.
        improvement: expected gain, in the unit of the acquisition function, such as nats of log loss.
        mean: predicted log loss.
    """

    picks: Picks
    improvement: float
    mean: float


class Acquisition(Protocol):
    """What a measurement is expected to gain."""

    @property
    def program(self) -> Knapsack:
        """The limits of all candidates."""

    def improvement(self, options: Picks, mean: Floats, deviation: Floats) -> Floats:
        """Expected gain, float64 `[K]`, of allocations int `[K, G]` with predicted log loss, `[K]` each."""


class LocalSearch:
    """Maximises the expected improvement under one surrogate, within the limits of the acquisition function.

    Args:
        surrogate: predicts the loss.
        acquisition: what is maximised.
        seen: picks not to propose.
        random: samples the pairs of moves where there are too many.
    """

    def __init__(self, surrogate: Surrogate, acquisition: Acquisition, seen: Set[tuple[int, ...]], random: np.random.Generator) -> None:
        self._surrogate = surrogate
        self._acquisition = acquisition
        self._program = acquisition.program
        self._seen = seen
        self._random = random

    def run(self, start: Picks) -> Candidate | None:
        """The local optimum that is reached from `start`, as far as it was not visited; None if everything around `start` was."""
        here, found = start, self.best_of(start[None])
        for _ in range(_MOST_STEPS):
            better = self._best_move(here)
            if better is None or (found is not None and better.improvement <= found.improvement):
                break
            found, here = better, better.picks
        return found

    def best_of(self, options: Picks) -> Candidate | None:
        """The best of allocations int `[K, G]` that was not visited and meets the limits; None if there is none."""
        return self._chosen(options, *self._surrogate.predict(options)) if len(options) else None

    def improvement(self, options: Picks) -> Floats:
        """Expected improvement, float64 `[K]`, nats of log loss, of allocations int `[K, G]`."""
        return self._expected(options, *self._surrogate.predict(options))

    def _best_move(self, here: Picks) -> Candidate | None:
        moves, steps = self._moves(here)
        if not len(steps):
            return None
        options = np.repeat(here[None], len(steps), axis=0)
        rows = np.arange(len(steps))
        padded = np.concatenate([moves, moves[:1]])
        for step in steps.T:
            taken = step < len(moves)
            options[rows[taken], padded[step[taken], 0]] = padded[step[taken], 1]
        return self._chosen(options, *self._surrogate.predict_moves(here, moves, steps))

    def _chosen(self, options: Picks, mean: Floats, deviation: Floats) -> Candidate | None:
        improvement = self._expected(options, mean, deviation)
        for index in np.lexsort((mean, -improvement)):
            picks = options[index]
            if tuple(picks.tolist()) not in self._seen and self._program.broken(picks) is None:
                return Candidate(picks=picks, improvement=float(improvement[index]), mean=float(mean[index]))
        return None

    def _expected(self, options: Picks, mean: Floats, deviation: Floats) -> Floats:
        # A measurement gives the same value when repeated: what the kernel calls noise belongs to the allocation and may improve it.
        return self._acquisition.improvement(options, mean, np.hypot(deviation, self._surrogate.noise))

    def _moves(self, picks: Picks) -> tuple[Picks, Picks]:
        """(moves (group, choice), `[U, 2]`; the one or two moves to each neighbour within the limits, `[K, 2]`, where U is no move)."""
        linear = self._surrogate.linear(float(self._surrogate.total_damage(picks[None])[0]))
        g, c = np.nonzero(self._program.allowed & (np.arange(linear.shape[1]) != picks[:, None]))
        gain = linear[g, c] - linear[g, picks[g]]
        cost = self._program.dearer(picks)[:, g, c]
        room = self._program.room(picks)[:, None]
        most = int(np.clip(_WORK / max(1, len(self._surrogate.residuals)) ** 2, 60, _MOST_MOVES))
        single = np.flatnonzero((cost <= room).all(axis=0))
        if len(single) > most:
            single = single[np.argpartition(gain[single], most)[:most]]
        up, down = self._halves(gain, cost, most)
        one, two = np.repeat(up, len(down)), np.tile(down, len(up))
        kept = (g[one] != g[two]) & (cost[:, one] + cost[:, two] <= room).all(axis=0)
        one, two = one[kept], two[kept]
        if len(one) > most:
            first = np.argpartition(gain[one] + gain[two], most // 2)[: most // 2]
            chosen = np.unique(np.concatenate([first, self._random.permutation(len(one))[: most - len(first)]]))
            one, two = one[chosen], two[chosen]
        used, index = np.unique(np.concatenate([single, one, two]), return_inverse=True)
        alone, pair = index[: len(single)], index[len(single) :].reshape(2, -1).T
        steps = np.concatenate([np.stack([alone, np.full(len(alone), len(used))], axis=1), pair])
        return np.stack([g[used], c[used]], axis=1), steps

    def _halves(self, gain: Floats, cost: Floats, most: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The best moves for their cost: of those that do not save, and of those that save."""
        unit = np.maximum(np.abs(cost).max(axis=1, initial=0.0), 1e-300)[:, None]
        price = (cost / unit).sum(axis=0)
        up, down = np.flatnonzero(price >= 0), np.flatnonzero(price < 0)
        wide = int(np.sqrt(4 * most)) + 1
        if len(up) > wide:
            up = up[np.argsort(gain[up] / (price[up] + 1e-9), kind="stable")[:wide]]
        if len(down) > wide:
            down = down[np.argsort(gain[down] / -price[down], kind="stable")[:wide]]
        return up, down


def best_on_average(results: Sequence[tuple[float, LocalSearch, Candidate]]) -> Candidate | None:
    """The best of the candidates of all models, by expected improvement averaged over the models; None without candidates.

    Args:
        results: (posterior probability, search, what it found) of each model.
    """
    found = [candidate for _, _, candidate in results]
    if len(found) < 2:
        return found[0] if found else None
    options = np.array([candidate.picks for candidate in found])
    expected = np.sum([weight * search.improvement(options) for weight, search, _ in results], axis=0)
    best = int(expected.argmax())
    return replace(found[best], improvement=float(expected[best]))

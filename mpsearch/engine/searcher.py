"""`Searcher`: which allocation to measure next, always inside the budgets, never twice. No torch, no optuna.

1. The exact optimum of each signal, then whatever starts it was given.
2. The surrogate's expected improvement: exact optima of posterior samples (and of its mean) and the best so far are climbed from.
3. Budgets around the asked one take turns by what each would add to the dominated hypervolume.

Deterministic in (seed, observations, pending): an interrupted study proposes what it would have proposed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.engine.acquisition import Candidate, Climber
from mpsearch.engine.informed import Signal, informative
from mpsearch.engine.knapsack import Knapsack
from mpsearch.engine.lattice import Lattice
from mpsearch.engine.packing import pack
from mpsearch.engine.refusal import refusal
from mpsearch.engine.surrogate.kernel import Metric
from mpsearch.engine.surrogate.model import Evidence, Surrogate, fit_surrogate

__all__ = ["Observation", "Proposal", "Searcher"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]

_SAMPLES = 4
"""Posterior samples solved for each proposal."""
_BEST = 3
_TIME = 5.0
"""Seconds for one exact solution; the best found counts then."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """A finished trial.

    Args:
        allocation: its bits.
        losses: validation loss by rung, shallow to deep; empty if it failed.
    """

    allocation: Allocation
    losses: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """What to measure next.

    Args:
        origin: who proposed it: `milp:fisher`, `ei`, `ei@0.85`, `refine`, `sample`.
        allocation: its bits.
        improvement: expected improvement of log loss, nats; infinite before the surrogate has a say.
        noise: deviation of one measurement, nats of log loss.
    """

    origin: str
    allocation: Allocation
    improvement: float = np.inf
    noise: float = 0.0


class Searcher:
    """Proposes allocations.

    Args:
        space: layers, menus, ties.
        tables: signals; those that say nothing are left out.
        costs: tables by name; at least those the budgets limit.
        budgets: all hold.
        seed: of posterior samples.
        sweep: factors on every budget that proposals aim at; 1 is the budget itself.
        starts: (origin, allocation) of further first proposals.
        surrogate: False: exact optima of perturbed signals and random swaps instead, for comparison.

    Raises:
        BudgetError: no allocation meets the budgets.
    """

    def __init__(
        self,
        space: ResolvedSpace,
        tables: Sequence[Table],
        costs: Mapping[str, Table],
        budgets: Sequence[Budget],
        *,
        seed: int = 0,
        sweep: Sequence[float] = (1.0,),
        starts: Sequence[tuple[str, Allocation]] = (),
        surrogate: bool = True,
    ) -> None:
        self.lattice = Lattice(space=space, costs=costs, budgets=tuple(budgets))
        self._seed = seed
        self._sweep = tuple(sweep)
        self._starts = tuple(starts)
        self._surrogate = surrogate
        self._programs = {factor: self.lattice.program_at(factor) for factor in {1.0, *self._sweep}}
        self._signals = informative(self.lattice, tables)
        self._optima = [(signal.origin, self._solved(signal.values, self._programs[1.0])) for signal in self._signals]
        self._units = np.array([_unit(signal, picks) for signal, (_, picks) in zip(self._signals, self._optima, strict=True)])
        scaled = np.array([signal.values for signal in self._signals]) / self._units[:, None, None]
        self._scaled = np.where(self.lattice.allowed, scaled, 0.0)
        self._metric = Metric(coordinates=self.lattice.coordinates, shares=_shares(self._scaled.mean(axis=0), self.lattice.allowed))

    def propose(self, observations: Sequence[Observation], pending: Sequence[Allocation] = (), *, refine: bool = False) -> Proposal:
        """The next allocation, given everything that finished and what is under way.

        Args:
            observations: in the order they finished.
            pending: being measured elsewhere; believed to come out as predicted.
            refine: only swap moves around the best, at equal budget.

        Raises:
            BudgetError: every allocation within the budgets was tried.
        """
        seen = self._seen(observations, pending)
        for origin, picks in [*self._optima, *((origin, self.lattice.picks(a)) for origin, a in self._starts)]:
            if tuple(picks.tolist()) not in seen:
                return Proposal(origin=origin, allocation=self.lattice.allocation(picks))
        random = np.random.default_rng([self._seed, len(observations), len(pending)])
        surrogate = self.surrogate(observations, pending)
        factor, found = self._aimed(surrogate, seen, random, number=len(observations) + len(pending))
        if found is not None:
            origin = "ei" + ("" if factor == 1 else f"@{factor:g}")
            return Proposal(
                origin=origin,
                allocation=self.lattice.allocation(found.picks),
                improvement=found.improvement,
                noise=surrogate.noise,
            )
        program = replace(self._programs[1.0], objective=surrogate.linear(1.0), excluded=frozenset(seen))
        packing = pack(program, time_limit=_TIME)
        if packing is None:
            raise BudgetError(
                "every allocation within the budget has been tried; raise the budget, widen the space, or ask for fewer trials"
            )
        return Proposal(origin="left", allocation=self.lattice.allocation(packing.picks))

    def surrogate(self, observations: Sequence[Observation], pending: Sequence[Allocation] = ()) -> Surrogate:
        """Fitted to the observations, with `pending` as if they had come out as predicted."""
        evidence, rungs = self._evidence(observations)
        fitted = fit_surrogate(self._metric, self._scaled, evidence, rungs)
        if not pending:
            return fitted
        return fitted.believing(self.lattice.stacked(pending))

    def _aimed(
        self, surrogate: Surrogate, seen: set[tuple[int, ...]], random: np.random.Generator, number: int
    ) -> tuple[float, Candidate | None]:
        others = sorted(set(self._sweep) - {1.0})
        factors = others if number % 2 and others else [1.0]
        best: tuple[float, float, Candidate | None] = (-1.0, 1.0, None)
        for factor in factors:
            found = self._sought(surrogate, self._programs[factor], seen, random)
            if found is not None and found.improvement > best[0]:
                best = (found.improvement, factor, found)
        return best[1], best[2]

    def _sought(self, surrogate: Surrogate, program: Knapsack, seen: set[tuple[int, ...]], random: np.random.Generator) -> Candidate | None:
        starts = [self._optimum(surrogate, program, None)]
        starts += [self._optimum(surrogate, program, random) for _ in range(_SAMPLES)]
        tried = surrogate.evidence.picks
        inside = [row for row in np.unique(tried, axis=0) if program.broken(row) is None]
        best = np.inf
        if inside:
            means, _ = surrogate.predict(np.array(inside))
            best = float(means.min())
            starts += [inside[index] for index in np.argsort(means, kind="stable")[:_BEST]]
        else:
            means, _ = surrogate.predict(np.array([s for s in starts if s is not None]))
            best = float(means.min())
        climber = Climber(surrogate, program, best, seen, random)
        found = [climber.climb(start) for start in starts if start is not None]
        return max((candidate for candidate in found if candidate is not None), key=lambda c: c.improvement, default=None)

    def _optimum(self, surrogate: Surrogate, program: Knapsack, random: np.random.Generator | None) -> Picks | None:
        """The exact optimum of the linearised posterior (of a sample of it), linearised again where it lies."""
        state = None if random is None else random.bit_generator.state
        at = float(surrogate.damages.min()) if len(surrogate.damages) else 1.0
        picks: Picks | None = None
        for _ in range(2):
            if random is not None:
                random.bit_generator.state = state
            packing = pack(replace(program, objective=surrogate.linear(at, random)), time_limit=_TIME)
            if packing is None:
                return None
            picks = packing.picks
            at = float(surrogate.total_damage(picks[None])[0])
        return picks

    def _solved(self, objective: Floats, program: Knapsack) -> Picks:
        packing = pack(replace(program, objective=objective))
        if packing is None:
            raise refusal(self.lattice.space, self.lattice.costs, self.lattice.budgets, excluded=0, time_limit=60.0)
        return packing.picks

    def _seen(self, observations: Sequence[Observation], pending: Sequence[Allocation]) -> set[tuple[int, ...]]:
        return {tuple(self.lattice.picks(a).tolist()) for a in [*(o.allocation for o in observations), *pending]}

    def _evidence(self, observations: Sequence[Observation]) -> tuple[Evidence, int]:
        names: dict[str, int] = {}
        rows: list[tuple[Picks, int, float]] = []
        for observation in observations:
            picks = self.lattice.picks(observation.allocation)
            for name, loss in observation.losses.items():
                rows.append((picks, names.setdefault(name, len(names)), loss))
        losses = np.array([loss for _, _, loss in rows])
        evidence = Evidence(
            picks=np.array([picks for picks, _, _ in rows], dtype=np.intp).reshape(len(rows), len(self.lattice.space.groups)),
            rungs=np.array([rung for _, rung, _ in rows], dtype=np.intp),
            values=_logarithm(losses),
        )
        return evidence, max(1, len(names))


def _logarithm(losses: Floats) -> Floats:
    """log loss; where a loss is not above zero, of the distance from just below the lowest."""
    if not len(losses) or losses.min() > 0:
        return np.log(losses)
    spread = float(np.ptp(losses)) or 1.0
    return np.log(losses - losses.min() + 0.01 * spread)


def _unit(signal: Signal, optimum: Picks) -> float:
    """The least total within the budgets, unless that is next to nothing beside what the signal can tell."""
    values = signal.values
    least = float(values[np.arange(len(optimum)), optimum].sum())
    return max(least, 1e-3 * float(np.nanmax(np.where(np.isfinite(values), values, np.nan), axis=1).sum()))


def _shares(damage: Floats, allowed: NDArray[np.bool_]) -> Floats:
    """Weight of each group in the kernel: half alike for all that can vary, half as the root of what the signals say is at stake."""
    free = (allowed.sum(axis=1) > 1).astype(np.float64)
    if not free.any():
        return np.full(len(free), 1.0 / len(free))
    stake = np.sqrt(np.where(allowed, damage, 0.0).max(axis=1)) * free
    stake = stake / stake.sum() if stake.sum() > 0 else free / free.sum()
    return np.asarray(0.5 * free / free.sum() + 0.5 * stake)

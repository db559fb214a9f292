"""`Searcher`: which allocation to measure next, always inside the budgets it aims at, never twice. No torch, no optuna.

1. The exact optimum of each signal, of more than two of all of them together, and of the grid's error alone; then whatever starts it was
   given.
2. The surrogate's expected improvement, its mean over what may be believed, with signals and without (`prior.py`): under each, exact
   optima of posterior samples (and of its mean) and the best so far are climbed from.
3. Improvement counts at the budget and at limits around it, half and half (`frontier.py`): the front is searched for with the winner.

Deterministic in (seed, observations, pending): an interrupted study proposes what it would have proposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.allocate.infeasible import infeasible_error
from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.propose.acquisition import Candidate, Climber
from mpsearch.propose.frontier import Frontier, Levels, expected_improvement
from mpsearch.propose.indexed_space import IndexedSpace
from mpsearch.propose.model_averaging import posterior_weights, prior_model
from mpsearch.propose.observation import Observation, Proposal, evidence_of, paused
from mpsearch.propose.prior_signals import informative, uninformative_signal
from mpsearch.propose.refine import filled, spent, swaps
from mpsearch.propose.surrogate.model import Surrogate
from mpsearch.propose.unvisited import any_unvisited, best_unvisited

__all__ = ["Observation", "Proposal", "Searcher"]

Floats = NDArray[np.float64]
Picks = NDArray[np.intp]

_SAMPLES = 4
"""Posterior samples solved for each proposal; `_LARGE` halves them."""
_LEVELS = 12
"""Limits around the budget; `_LARGE` halves them."""
_LARGE = 2000
"""Columns of a program, counted once a limit, above which everything takes so long that less must do."""
_TRUST = 4.0
"""Odds that the signals tell more than the error of a uniform grid does, before anything is measured."""
_ALONE = 2
"""Signals that are tried each by itself; a first trial for every one of many is dearer than what their optima differ by."""
_HEARD = 0.05
"""A prior posterior_weights less is not asked for proposals."""
_BEST = 3
"""Of the best so far within each limit, climbed from."""
_CLIMBS = 8
"""Where there are many limits, the starts that promise most are climbed from."""
_SWAPS = 200
_TIME = 5.0
"""Seconds for one exact solution; the best found counts then."""


class Searcher:
    """Proposes allocations.

    Args:
        space: layers, menus, ties.
        tables: signals; those that say nothing are left out.
        costs: tables by name; at least those the budgets limit.
        budgets: all hold.
        seed: of posterior samples.
        sweep: (least, largest) factor on every budget between which a front is wanted, around 1, the budget itself.
        starts: (origin, allocation) of further first proposals.

    Raises:
        BudgetError: no allocation meets the budgets, or a start does not.
        SpaceError: a start with a layer or a choice that the space does not have.
        ValueError: a sweep that is not around 1.
    """

    def __init__(
        self,
        space: ResolvedSpace,
        tables: Sequence[Table],
        costs: Mapping[str, Table],
        budgets: Sequence[Budget],
        *,
        seed: int = 0,
        sweep: tuple[float, float] = (1.0, 1.0),
        starts: Sequence[tuple[str, Allocation]] = (),
    ) -> None:
        if not 0 < sweep[0] <= 1 <= sweep[1]:
            raise ValueError(f"a sweep goes from a factor in (0, 1] to one of at least 1, not from {sweep[0]:g} to {sweep[1]:g}")
        self.indexed = IndexedSpace(space=space, costs=costs, budgets=tuple(budgets))
        self._seed = seed
        thrift = 1 if self.indexed.allowed.sum() * max(1, len(budgets)) <= _LARGE else 2
        self._samples = _SAMPLES // thrift
        self._levels = Levels.around(self.indexed, sweep, _LEVELS // thrift)
        self._program = self._levels.budget
        self._starts = [(origin, self._start(origin, allocation)) for origin, allocation in starts]
        self._read: dict[int, tuple[Allocation, Picks]] = {}
        mixtures = [(_TRUST, informative(self.indexed, tables)), (1.0, [uninformative_signal(self.indexed)])]
        solved = [
            (odds, signals, [self._solved(signal.values, self._program) for signal in signals]) for odds, signals in mixtures if signals
        ]
        self._priors = [prior_model(signals, optima, self.indexed, odds) for odds, signals, optima in solved]
        self._optima: list[tuple[str, Picks]] = []
        for prior, (_, signals, optima) in zip(self._priors, solved, strict=True):
            if len(signals) > _ALONE:
                self._optima.append(("milp:signals", self._solved(prior.signals.mean(axis=0), self._program)))
            else:
                self._optima += [(signal.origin, picks) for signal, picks in zip(signals, optima, strict=True)]

    def propose(
        self, observations: Sequence[Observation], pending: Sequence[Allocation] = (), *, refine: bool = False, again: bool = False
    ) -> Proposal:
        """The next allocation, given everything that finished and what is under way.

        Args:
            observations: in the order they finished.
            pending: being measured elsewhere; believed to come out as predicted.
            refine: only swap moves around the best, at equal budget.
            again: what stopped at the first rung, while others went on, may be proposed once more, to go on.

        Raises:
            BudgetError: every allocation within the budgets was tried.
        """
        waiting = paused(observations) if again else []
        seen = (self._keys([o.allocation for o in observations]) - self._keys(waiting)) | self._keys(pending)
        for origin, picks in [*self._optima, *self._starts]:
            if tuple(picks.tolist()) not in seen:
                return Proposal(origin=origin, allocation=self.indexed.allocation(picks))
        random = np.random.default_rng([self._seed, len(observations) + len(pending)])
        models = self._models(observations, pending)
        surrogate = models[0][1]
        if refine and (found := self._refined(surrogate, observations, seen, random)) is not None:
            return self._proposal("refine", found, surrogate)
        levels = self._levels.alone() if refine else self._levels
        if (found := self._sought(models, levels, seen, random)) is not None:
            factor = levels.tightest(found.picks)
            return self._proposal("ei" if factor == 1 else f"ei@{factor:.2f}", found, surrogate)
        return self._remaining(surrogate.linear(1.0), seen)

    def left(self, tried: Sequence[Allocation]) -> bool:
        """Whether an allocation within the budgets was not tried."""
        seen = self._keys(tried)
        near = [*(picks for _, picks in self._optima), *(np.array(key, dtype=np.intp) for key in seen)]
        return any_unvisited(self._program, seen, near, time_limit=_TIME)

    def spend(
        self,
        allocation: Allocation,
        observations: Sequence[Observation],
        without: Sequence[Allocation] = (),
        costs: Mapping[str, Table] | None = None,
    ) -> Allocation:
        """`allocation`, which meets the budgets, with what it leaves of them given to the groups that are expected to gain most.

        No group loses bits and none could go up further, unless all such allocations are among `without`, which do not come out.

        `costs`: in which the room is counted, if not in those that proposals keep to.
        """
        surrogate, picks = self.surrogate(observations), self._picks(allocation)
        linear = surrogate.linear(float(surrogate.total_damage(picks[None])[0]))
        program = self._program if costs is None else replace(self.indexed, costs=costs).program
        program = replace(program, excluded=frozenset(self._keys(without)))
        return self.indexed.allocation(spent(self.indexed, program, picks, linear))

    def surrogate(self, observations: Sequence[Observation], pending: Sequence[Allocation] = ()) -> Surrogate:
        """Fitted to the observations, with `pending` as if they had come out as predicted, under the most probable prior."""
        return self._models(observations, pending)[0][1]

    def prospects(
        self, observations: Sequence[Observation], options: Sequence[Allocation], beyond: Sequence[Allocation]
    ) -> tuple[Floats, Floats]:
        """What options promise at the deepest rung: (expected improvement on the best of `beyond`, how far their means lie below it).

        Both float64 `[M]`, nats of log loss, the mean over priors by their posterior_weights.

        Args:
            observations: all there are; those of the options at shallower rungs among them.
            options: M of them.
            beyond: what was measured and is to be improved on, at least one.
        """
        picks, rivals = self.indexed.stacked(options), self.indexed.stacked(beyond)
        models = self._models(observations, ())
        found = np.zeros((2, len(picks)))
        for weight, model in models:
            mean, deviation = model.predict(picks)
            best = _least(model, rivals, model.predict(rivals)[0])
            found += weight * np.stack([expected_improvement(mean, np.hypot(deviation, model.noise), best), best - mean])
        improvement, margin = found / sum(weight for weight, _ in models)
        return improvement, margin

    def _models(self, observations: Sequence[Observation], pending: Sequence[Allocation]) -> list[tuple[float, Surrogate]]:
        """(posterior_weights, surrogate) of the priors that are heard, the worthiest first."""
        evidence, rungs = evidence_of(observations, [self._picks(o.allocation) for o in observations], len(self.indexed.weights))
        fitted = [prior.fitted(evidence, rungs) for prior in self._priors]
        weights = posterior_weights(self._priors, fitted)
        under_way = self.indexed.stacked(pending) if pending else None
        return [
            (float(weights[index]), fitted[index] if under_way is None else fitted[index].believing(under_way))
            for index in np.argsort(-weights, kind="stable")
            if weights[index] >= _HEARD
        ]

    def _sought(
        self, models: Sequence[tuple[float, Surrogate]], levels: Levels, seen: set[tuple[int, ...]], random: np.random.Generator
    ) -> Candidate | None:
        """Of what each prior would propose, that of which all of them together, by their posterior_weights, expect most."""
        climbs = [(weight, *climb) for weight, model in models if (climb := self._climbed(model, levels, seen, random)) is not None]
        found = [candidate for _, _, candidate in climbs]
        if len(found) < 2:
            return found[0] if found else None
        options = np.array([candidate.picks for candidate in found])
        expected = np.sum([weight * climber.improvement(options) for weight, climber, _ in climbs], axis=0)
        best = int(expected.argmax())
        return replace(found[best], improvement=float(expected[best]))

    def _climbed(
        self, surrogate: Surrogate, levels: Levels, seen: set[tuple[int, ...]], random: np.random.Generator
    ) -> tuple[Climber, Candidate] | None:
        """The most improvement that climbs from optima within each limit and from the best so far come to.

        What adds nothing to a front is a loss half way from the cheapest allocation's to the best there may be.
        """
        centres = self._centres(surrogate, levels)
        if not centres:
            return None
        tried = np.unique(surrogate.evidence.picks, axis=0)
        within, means = levels.fitting(tried), surrogate.predict(tried)[0]
        starts = [*centres.values(), *self._draws(surrogate, levels, centres, random)]
        for inside in within:
            starts += list(tried[inside][np.argsort(means[inside], kind="stable")[:_BEST]])
        starts += [row for row in tried[within[-1]] if tuple(row.tolist()) not in seen]
        nothing = float(surrogate.predict(np.stack([self.indexed.cheapest, centres[max(centres)]]))[0].mean())
        best = [_least(surrogate, tried[inside], means[inside]) if inside.any() else nothing for inside in within]
        climber = Climber(surrogate, Frontier.above(nothing, levels, best), seen, random)
        if len(best) > 1:
            distinct = np.unique(starts, axis=0)
            starts = list(distinct[np.argsort(-climber.improvement(distinct), kind="stable")[:_CLIMBS]])
        ends = [candidate for start in starts if (candidate := climber.climb(start)) is not None]
        return (climber, max(ends, key=lambda candidate: candidate.improvement)) if ends else None

    def _centres(self, surrogate: Surrogate, levels: Levels) -> dict[int, Picks]:
        """Level → the exact optimum of the posterior mean, linearised again where it lies; levels that nothing meets are left out."""
        at = float(surrogate.damages.min()) if len(surrogate.damages) else 1.0
        centres: dict[int, Picks] = {}
        for level in reversed(range(len(levels.programs))):
            for _ in range(1 if centres else 2):  # further on the optimum of the level before is near
                packing = solve_knapsack(replace(levels.programs[level], objective=surrogate.linear(at)), time_limit=_TIME)
                if packing is None:
                    break
                centres[level] = packing.picks
                at = float(surrogate.total_damage(packing.picks[None])[0])
        return centres

    def _draws(self, surrogate: Surrogate, levels: Levels, centres: Mapping[int, Picks], random: np.random.Generator) -> Iterator[Picks]:
        """Exact optima of posterior samples, over all levels."""
        for level in np.linspace(max(centres), min(centres), self._samples).round().astype(int).tolist():
            at = float(surrogate.total_damage(centres[level][None])[0])
            packing = solve_knapsack(replace(levels.programs[level], objective=surrogate.linear(at, random)), time_limit=_TIME)
            if packing is not None:
                yield packing.picks

    def _solved(self, objective: Floats, program: Knapsack) -> Picks:
        packing = solve_knapsack(replace(program, objective=objective))
        if packing is None:
            raise infeasible_error(self.indexed.space, self.indexed.costs, self.indexed.budgets, excluded=0, time_limit=60.0)
        return packing.picks

    def _refined(
        self, surrogate: Surrogate, observations: Sequence[Observation], seen: set[tuple[int, ...]], random: np.random.Generator
    ) -> Candidate | None:
        """The best so far with its budget spent, then swaps around it."""
        program = self._program
        inside = [p for o in observations if o.losses and program.broken(p := self._picks(o.allocation)) is None]
        if not inside:
            return None
        means, _ = surrogate.predict(np.array(inside))
        best = inside[int(means.argmin())]
        linear = surrogate.linear(float(surrogate.total_damage(best[None])[0]))
        spent = filled(self.indexed, program, best, linear)
        least = np.array([_least(surrogate, np.array(inside), means)])
        climber = Climber(surrogate, Frontier(levels=self._levels.alone(), best=least), seen, random)
        if tuple(spent.tolist()) not in seen:
            return climber.weigh(spent[None])
        return climber.weigh(swaps(self.indexed, program, best, linear, _SWAPS))

    def _remaining(self, objective: Floats, seen: set[tuple[int, ...]]) -> Proposal:
        picks = best_unvisited(self._program, objective, seen, time_limit=_TIME)
        return Proposal(origin="left", allocation=self.indexed.allocation(picks))

    def _proposal(self, origin: str, found: Candidate, surrogate: Surrogate) -> Proposal:
        allocation = self.indexed.allocation(found.picks)
        return Proposal(origin=origin, allocation=allocation, improvement=found.improvement, noise=surrogate.noise)

    def _start(self, origin: str, allocation: Allocation) -> Picks:
        picks = self.indexed.picks(allocation)
        if (broken := self._program.broken(picks)) is not None:
            raise BudgetError(f"start '{origin}' is above the budget {self.indexed.budgets[broken]}; take bits away, or leave it out")
        return picks

    def _keys(self, allocations: Sequence[Allocation]) -> set[tuple[int, ...]]:
        return {self._key(allocation) for allocation in allocations}

    def _key(self, allocation: Allocation) -> tuple[int, ...]:
        return tuple(self._picks(allocation).tolist())

    def _picks(self, allocation: Allocation) -> Picks:
        """Columns of an allocation, remembered: a study hands in the same ones again and again."""
        known = self._read.get(id(allocation))
        if known is None or known[0] is not allocation:
            known = self._read[id(allocation)] = (allocation, self.indexed.picks(allocation))
        return known[1]


def _least(surrogate: Surrogate, inside: Picks, means: Floats) -> float:
    """What is to be improved on: the least loss measured, or predicted for what was measured at the deepest of several rungs."""
    evidence, deepest = surrogate.evidence, surrogate.evidence.rungs == surrogate.deepest
    keys = [tuple(row) for row in inside.tolist()]
    values = {tuple(row): value for row, value in zip(evidence.picks[deepest].tolist(), evidence.values[deepest], strict=True)}
    reached = [index for index, key in enumerate(keys) if key in values]
    if not reached:
        return float(means.min())
    return float(means[reached].min()) if surrogate.deepest else min(values[keys[index]] for index in reached)

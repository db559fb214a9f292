"""`Searcher`: which allocation to measure next, always inside the budgets it aims at, never twice. No torch, no optuna.

1. The exact optimum of each signal, of more than two of all of them together, and of the grid's error alone; then whatever starts it was
   given.
2. The surrogate's expected improvement, its mean over what may be believed, with signals and without (`belief.py`): under each, exact
   optima of posterior samples (and of its mean) and the best so far are climbed from.
3. Improvement counts at the budget and at limits around it, half and half (`frontier.py`): the front is searched for with the winner.

Deterministic in (seed, observations, pending): an interrupted study proposes what it would have proposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.engine.acquisition import Candidate, Climber
from mpsearch.engine.belief import belief_in, worth
from mpsearch.engine.frontier import Frontier, Levels, expected_improvement
from mpsearch.engine.informed import informative, neutral_signal
from mpsearch.engine.knapsack import Knapsack
from mpsearch.engine.lattice import Lattice
from mpsearch.engine.observation import Observation, Proposal, evidence_of, paused
from mpsearch.engine.packing import pack
from mpsearch.engine.perturb import perturbed, swapped
from mpsearch.engine.refine import filled, spent, swaps
from mpsearch.engine.refusal import refusal
from mpsearch.engine.surrogate.model import Surrogate
from mpsearch.engine.untried import anything_untried, best_untried

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
"""A belief worth less is not asked for proposals."""
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
        surrogate: False: exact optima of perturbed signals and random swaps instead, for comparison.

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
        surrogate: bool = True,
    ) -> None:
        if not 0 < sweep[0] <= 1 <= sweep[1]:
            raise ValueError(f"a sweep goes from a factor in (0, 1] to one of at least 1, not from {sweep[0]:g} to {sweep[1]:g}")
        self.lattice = Lattice(space=space, costs=costs, budgets=tuple(budgets))
        self._seed = seed
        thrift = 1 if self.lattice.allowed.sum() * max(1, len(budgets)) <= _LARGE else 2
        self._samples = _SAMPLES // thrift
        self._levels = Levels.around(self.lattice, sweep, _LEVELS // thrift)
        self._program = self._levels.budget
        self._starts = [(origin, self._start(origin, allocation)) for origin, allocation in starts]
        self._learns = surrogate
        self._read: dict[int, tuple[Allocation, Picks]] = {}
        mixtures = [(_TRUST, informative(self.lattice, tables)), (1.0, [neutral_signal(self.lattice)])]
        solved = [
            (odds, signals, [self._solved(signal.values, self._program) for signal in signals]) for odds, signals in mixtures if signals
        ]
        self._beliefs = [belief_in(signals, optima, self.lattice, odds) for odds, signals, optima in solved]
        self._optima: list[tuple[str, Picks]] = []
        for belief, (_, signals, optima) in zip(self._beliefs, solved, strict=True):
            if len(signals) > _ALONE:
                self._optima.append(("milp:signals", self._solved(belief.signals.mean(axis=0), self._program)))
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
                return Proposal(origin=origin, allocation=self.lattice.allocation(picks))
        number = len(observations) + len(pending)
        random = np.random.default_rng([self._seed, number])
        if not self._learns:
            return self._blind(observations, seen, random, number)
        minds = self._minds(observations, pending)
        surrogate = minds[0][1]
        if refine and (found := self._refined(surrogate, observations, seen, random)) is not None:
            return self._proposal("refine", found, surrogate)
        levels = self._levels.alone() if refine else self._levels
        if (found := self._sought(minds, levels, seen, random)) is not None:
            factor = levels.tightest(found.picks)
            return self._proposal("ei" if factor == 1 else f"ei@{factor:.2f}", found, surrogate)
        return self._remaining(surrogate.linear(1.0), seen)

    def left(self, tried: Sequence[Allocation]) -> bool:
        """Whether an allocation within the budgets was not tried."""
        seen = self._keys(tried)
        near = [*(picks for _, picks in self._optima), *(np.array(key, dtype=np.intp) for key in seen)]
        return anything_untried(self._program, seen, near, time_limit=_TIME)

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
        program = self._program if costs is None else replace(self.lattice, costs=costs).program
        program = replace(program, excluded=frozenset(self._keys(without)))
        return self.lattice.allocation(spent(self.lattice, program, picks, linear))

    def surrogate(self, observations: Sequence[Observation], pending: Sequence[Allocation] = ()) -> Surrogate:
        """Fitted to the observations, with `pending` as if they had come out as predicted, under the belief that is worth most."""
        return self._minds(observations, pending)[0][1]

    def prospects(
        self, observations: Sequence[Observation], options: Sequence[Allocation], beyond: Sequence[Allocation]
    ) -> tuple[Floats, Floats]:
        """What options promise at the deepest rung: (expected improvement on the best of `beyond`, how far their means lie below it).

        Both float64 `[M]`, nats of log loss, the mean over beliefs by their worth.

        Args:
            observations: all there are; those of the options at shallower rungs among them.
            options: M of them.
            beyond: what was measured and is to be improved on, at least one.
        """
        picks, rivals = self.lattice.stacked(options), self.lattice.stacked(beyond)
        minds = self._minds(observations, ())
        found = np.zeros((2, len(picks)))
        for weight, mind in minds:
            mean, deviation = mind.predict(picks)
            best = _least(mind, rivals, mind.predict(rivals)[0])
            found += weight * np.stack([expected_improvement(mean, np.hypot(deviation, mind.noise), best), best - mean])
        improvement, margin = found / sum(weight for weight, _ in minds)
        return improvement, margin

    def _minds(self, observations: Sequence[Observation], pending: Sequence[Allocation]) -> list[tuple[float, Surrogate]]:
        """(worth, surrogate) of the beliefs that are heard, the worthiest first."""
        evidence, rungs = evidence_of(observations, [self._picks(o.allocation) for o in observations], len(self.lattice.weights))
        fitted = [belief.fitted(evidence, rungs) for belief in self._beliefs]
        weights = worth(self._beliefs, fitted)
        under_way = self.lattice.stacked(pending) if pending else None
        return [
            (float(weights[index]), fitted[index] if under_way is None else fitted[index].believing(under_way))
            for index in np.argsort(-weights, kind="stable")
            if weights[index] >= _HEARD
        ]

    def _sought(
        self, minds: Sequence[tuple[float, Surrogate]], levels: Levels, seen: set[tuple[int, ...]], random: np.random.Generator
    ) -> Candidate | None:
        """Of what each belief would propose, that of which all of them together, by their worth, expect most."""
        climbs = [(weight, *climb) for weight, mind in minds if (climb := self._climbed(mind, levels, seen, random)) is not None]
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
        nothing = float(surrogate.predict(np.stack([self.lattice.cheapest, centres[max(centres)]]))[0].mean())
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
                packing = pack(replace(levels.programs[level], objective=surrogate.linear(at)), time_limit=_TIME)
                if packing is None:
                    break
                centres[level] = packing.picks
                at = float(surrogate.total_damage(packing.picks[None])[0])
        return centres

    def _draws(self, surrogate: Surrogate, levels: Levels, centres: Mapping[int, Picks], random: np.random.Generator) -> Iterator[Picks]:
        """Exact optima of posterior samples, over all levels."""
        for level in np.linspace(max(centres), min(centres), self._samples).round().astype(int).tolist():
            at = float(surrogate.total_damage(centres[level][None])[0])
            packing = pack(replace(levels.programs[level], objective=surrogate.linear(at, random)), time_limit=_TIME)
            if packing is not None:
                yield packing.picks

    def _solved(self, objective: Floats, program: Knapsack) -> Picks:
        packing = pack(replace(program, objective=objective))
        if packing is None:
            raise refusal(self.lattice.space, self.lattice.costs, self.lattice.budgets, excluded=0, time_limit=60.0)
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
        spent = filled(self.lattice, program, best, linear)
        least = np.array([_least(surrogate, np.array(inside), means)])
        climber = Climber(surrogate, Frontier(levels=self._levels.alone(), best=least), seen, random)
        if tuple(spent.tolist()) not in seen:
            return climber.weigh(spent[None])
        return climber.weigh(swaps(self.lattice, program, best, linear, _SWAPS))

    def _blind(self, observations: Sequence[Observation], seen: set[tuple[int, ...]], random: np.random.Generator, number: int) -> Proposal:
        """Without a surrogate; see `engine.perturb`."""
        done = {self._key(o.allocation): list(o.losses.values())[-1] for o in observations if o.losses}
        inside = [key for key in done if self._program.broken(np.array(key, dtype=np.intp)) is None]
        best = np.array(min(inside, key=lambda key: done[key]), dtype=np.intp) if number % 2 and inside else None
        program = self._program if number % 2 else self._levels.programs[int(random.integers(len(self._levels.programs)))]
        found = None if best is None else swapped(self.lattice, self._program, best, seen, random)
        if found is not None:
            return Proposal(origin="swap", allocation=self.lattice.allocation(found))
        found = perturbed(program, self._beliefs[0].signals, seen, random)
        if found is not None:
            return Proposal(origin="perturbed", allocation=self.lattice.allocation(found))
        return self._remaining(self._beliefs[0].signals[0], seen)

    def _remaining(self, objective: Floats, seen: set[tuple[int, ...]]) -> Proposal:
        picks = best_untried(self._program, objective, seen, time_limit=_TIME)
        return Proposal(origin="left", allocation=self.lattice.allocation(picks))

    def _proposal(self, origin: str, found: Candidate, surrogate: Surrogate) -> Proposal:
        allocation = self.lattice.allocation(found.picks)
        return Proposal(origin=origin, allocation=allocation, improvement=found.improvement, noise=surrogate.noise)

    def _start(self, origin: str, allocation: Allocation) -> Picks:
        picks = self.lattice.picks(allocation)
        if (broken := self._program.broken(picks)) is not None:
            raise BudgetError(f"start '{origin}' is above the budget {self.lattice.budgets[broken]}; take bits away, or leave it out")
        return picks

    def _keys(self, allocations: Sequence[Allocation]) -> set[tuple[int, ...]]:
        return {self._key(allocation) for allocation in allocations}

    def _key(self, allocation: Allocation) -> tuple[int, ...]:
        return tuple(self._picks(allocation).tolist())

    def _picks(self, allocation: Allocation) -> Picks:
        """Columns of an allocation, remembered: a study hands in the same ones again and again."""
        known = self._read.get(id(allocation))
        if known is None or known[0] is not allocation:
            known = self._read[id(allocation)] = (allocation, self.lattice.picks(allocation))
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

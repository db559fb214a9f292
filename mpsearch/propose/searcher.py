"""`Searcher`: proposes the allocation to measure next, always within the budgets it aims at and never the same one twice.

1. The first proposals are the exact optimum of each signal, or of the mean of all signals if there are more than two, and that of the
   error of a uniform grid; then the initial allocations, if any were given.
2. After that it maximises expected improvement, averaged over prior models with and without signals (`model_averaging.py`). Under each
   model a local search starts from exact optima of the posterior mean and of posterior samples, and from the best allocations so far.
3. Improvement counts by halves at the budget and at limits around it (`frontier.py`), so the front is searched together with the winner.
   If the budget is a range, it counts at limits all over it, alike in the logarithms of cost and loss.

Proposals depend only on (seed, observations, pending): an interrupted study that resumes proposes what it would have proposed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from mpsearch.allocate.infeasible import exhausted, infeasible_error
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.core.allocation import Allocation
from mpsearch.core.arrays import Floats, Picks
from mpsearch.core.budget import Budget, ranged
from mpsearch.core.errors import BudgetError
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.propose.acquisition import Candidate, LocalSearch, best_on_average
from mpsearch.propose.frontier import Frontier, Levels, expected_improvement
from mpsearch.propose.indexed_space import IndexedSpace
from mpsearch.propose.model_averaging import PriorModel, posterior_weights, prior_model
from mpsearch.propose.observation import Observation, Proposal, evidence_of, paused
from mpsearch.propose.prior_signals import PriorSignal, informative_signals, uninformative_signal
from mpsearch.propose.refine import filled_exactly, filled_greedily, swaps
from mpsearch.propose.surrogate.model import Surrogate
from mpsearch.propose.surrogate.subset import MOST
from mpsearch.propose.unvisited import any_unvisited, best_unvisited

__all__ = ["Observation", "Proposal", "Searcher"]

_SAMPLES = 4
"""Posterior samples solved for each proposal; half as many for programs above `_LARGE`."""
_LEVELS = 12
"""Limits around the budget; half as many for programs above `_LARGE`."""
_LARGE = 2000
"""Columns of a program times limits; above that, a proposal would take too long."""
_TRUST = 4.0
"""Prior odds of the signals against the error of a uniform grid."""
_ALONE = 2
"""Up to so many signals each get a first trial; of more, the optima differ too little to be worth a trial each."""
_LEAST_WEIGHT = 0.05
"""Prior models with less posterior probability propose nothing."""
_BEST = 3
"""Best allocations so far within each limit that the local search starts from."""
_SEARCHES = 8
"""Starting points of the local search, by expected improvement, where there are several limits."""
_SWAPS = 200
_TIME = 5.0
"""Seconds for one exact solution; after that the best found so far is taken."""


class Searcher:
    """Proposes allocations to measure.

    Args:
        space: layers, menus, ties.
        tables: signals; those that do not distinguish allocations are left out.
        costs: tables by name; at least those the budgets limit.
        budgets: all hold.
        seed: of posterior samples.
        sweep: (least, largest) factor on every budget between which a front is wanted, around 1, the budget itself; where a budget is a
            range, that range takes its place.
        initial: (origin, allocation) of further allocations to propose first, such as learned ones.

    Attributes:
        levels: the budgets, and the factors on them between which a front is wanted.
        priors: the models that proposals are averaged over: with the signals, if any tells layers apart, and without.

    Raises:
        BudgetError: no allocation meets the budgets, or an initial allocation does not.
        SpaceError: an initial allocation with a layer or a choice that the space does not have.
        ValueError: a sweep that is not around 1.
    """

    def __init__(
        self,
        space: ResolvedSpace,
        tables: Sequence[Table],
        costs: Mapping[str, CostTable],
        budgets: Sequence[Budget],
        *,
        seed: int = 0,
        sweep: tuple[float, float] = (1.0, 1.0),
        initial: Sequence[tuple[str, Allocation]] = (),
    ) -> None:
        if not 0 < sweep[0] <= 1 <= sweep[1]:
            raise ValueError(f"a sweep goes from a factor in (0, 1] to one of at least 1, not from {sweep[0]:g} to {sweep[1]:g}")
        self.indexed = IndexedSpace(space=space, costs=costs, budgets=tuple(budgets))
        self._seed = seed
        thrift = 1 if self.indexed.allowed.sum() * max(1, len(budgets)) <= _LARGE else 2
        self._samples = _SAMPLES // thrift
        self._range = ranged(budgets)
        self.levels = Levels.wanted(self.indexed, sweep, _LEVELS // thrift)
        self._program = self.levels.budget
        self._initial = [(origin, self._within_budgets(origin, allocation)) for origin, allocation in initial]
        self._read: dict[int, tuple[Allocation, Picks]] = {}
        self.priors: list[PriorModel] = []
        self._optima: list[tuple[str, Picks]] = []
        if signals := informative_signals(self.indexed, tables):
            self._add_prior(signals, _TRUST)
        self._add_prior([uninformative_signal(self.indexed)], 1.0)
        if self._range is not None:
            self._optima += self._tighter_optima()

    def propose(
        self, observations: Sequence[Observation], pending: Sequence[Allocation] = (), *, refine: bool = False, again: bool = False
    ) -> Proposal:
        """The next allocation, given the finished trials and those that are running.

        Args:
            observations: in the order they finished.
            pending: allocations being measured; the surrogate takes their predictions for results.
            refine: only swap groups around the best allocation.
            again: allocations that stopped at the first rung while others went on may be proposed once more, to go on.

        Raises:
            BudgetError: every allocation within the budgets was tried.
        """
        waiting = paused(observations) if again else []
        seen = (self._keys([o.allocation for o in observations]) - self._keys(waiting)) | self._keys(pending)
        for origin, picks in [*self._optima, *self._initial]:
            if tuple(picks.tolist()) not in seen:
                return Proposal(origin=origin, allocation=self.indexed.allocation(picks))
        random = np.random.default_rng([self._seed, len(observations) + len(pending)])
        models = self.models(observations, pending)
        surrogate = models[0][1]
        if refine and (found := self._refined(surrogate, observations, seen, random)) is not None:
            return self._proposal("refine", found, surrogate)
        levels = self.levels.alone() if refine else self.levels
        if (found := self.sought(models, levels, seen, random)) is not None:
            factor = levels.tightest(found.picks)
            return self._proposal("ei" if factor == 1 else f"ei@{factor:.2f}", found, surrogate)
        left = best_unvisited(self._program, surrogate.linear(1.0), seen, time_limit=_TIME)
        return Proposal(origin="left", allocation=self.indexed.allocation(left))

    def left(self, tried: Sequence[Allocation], observations: Sequence[Observation] = ()) -> bool:
        """Whether any allocation within the budgets was not tried; `observations` matter to searches with a bound alone."""
        seen = self._keys(tried)
        near = [*(picks for _, picks in self._optima), *(np.array(key, dtype=np.intp) for key in seen)]
        return any_unvisited(self._program, seen, near, time_limit=_TIME)

    def nothing_left(self) -> BudgetError:
        """The error where `left` says no."""
        return exhausted()

    def spend(
        self,
        allocation: Allocation,
        observations: Sequence[Observation],
        without: Sequence[Allocation] = (),
        costs: Mapping[str, CostTable] | None = None,
    ) -> Allocation:
        """Use up what `allocation` leaves of the budgets where the surrogate expects it to gain most.

        No group loses bits, and afterwards none could gain any, unless all such allocations are among `without`.

        Args:
            allocation: meets the budgets.
            observations: what the surrogate is fitted to.
            without: allocations not to return.
            costs: tables for the budgets, if other than those of the search.
        """
        surrogate, picks = self.surrogate(observations), self._picks(allocation)
        linear = surrogate.linear(float(surrogate.total_damage(picks[None])[0]))
        program = self._program if costs is None else replace(self.indexed, costs=costs).program
        program = replace(program, excluded=frozenset(self._keys(without)))
        return self.indexed.allocation(filled_exactly(self.indexed, program, picks, linear))

    def surrogate(self, observations: Sequence[Observation], pending: Sequence[Allocation] = ()) -> Surrogate:
        """The surrogate of the most probable prior model; it takes the predictions of `pending` for results."""
        return self.models(observations, pending)[0][1]

    def prospects(
        self, observations: Sequence[Observation], options: Sequence[Allocation], beyond: Sequence[Allocation]
    ) -> tuple[Floats, Floats]:
        """What is expected of allocations at the deepest rung: (improvement on the best of `beyond`, how far the mean lies below it).

        Both are float64 `[M]`, nats of log loss, averaged over the prior models by their posterior probability.

        Args:
            observations: all there are, with those of the options at shallower rungs.
            options: M allocations.
            beyond: measured allocations to improve on, at least one.
        """
        picks, rivals = self.indexed.stacked(options), self.indexed.stacked(beyond)
        models = self.models(observations, ())
        found = np.zeros((2, len(picks)))
        for weight, model in models:
            mean, deviation = model.predict(picks)
            best = _least(model, rivals, model.predict(rivals)[0])
            found += weight * np.stack([expected_improvement(mean, np.hypot(deviation, model.noise), best), best - mean])
        improvement, margin = found / sum(weight for weight, _ in models)
        return improvement, margin

    def _add_prior(self, signals: Sequence[PriorSignal], odds: float) -> None:
        """Add the prior model of a mixture of signals, and the optima that are its first proposals."""
        optima = [self._solved(signal.values) for signal in signals]
        prior = prior_model(signals, optima, self.indexed, odds)
        self.priors.append(prior)
        if len(signals) > _ALONE:
            self._optima.append(("milp:signals", self._solved(prior.signals.mean(axis=0))))
        else:
            self._optima += [(signal.origin, picks) for signal, picks in zip(signals, optima, strict=True)]

    def _tighter_optima(self) -> Iterator[tuple[str, Picks]]:
        """The optima of the first prior at the tightest limit of a range and in its middle, so that the first trials span it."""
        objective = self.priors[0].signals.mean(axis=0)
        for level in sorted({0, len(self.levels.factors) // 2} - {len(self.levels.factors) - 1}):
            solution = solve_knapsack(replace(self.levels.programs[level], objective=objective))
            if solution is not None:
                yield f"milp@{self.levels.factors[level]:.2f}", solution.picks

    def models(self, observations: Sequence[Observation], pending: Sequence[Allocation]) -> list[tuple[float, Surrogate]]:
        """(posterior probability, surrogate) of the prior models that propose, the most probable first."""
        evidence, rungs = evidence_of(observations, [self._picks(o.allocation) for o in observations], len(self.indexed.weights))
        named = self.levels.leaders(evidence, _BEST) if len(evidence.values) > MOST else ()
        fitted = [prior.fitted(evidence, rungs, named) for prior in self.priors]
        weights = posterior_weights(self.priors, fitted)
        under_way = self.indexed.stacked(pending)
        return [
            (float(weights[index]), fitted[index].with_pending(under_way) if pending else fitted[index])
            for index in np.argsort(-weights, kind="stable")
            if weights[index] >= _LEAST_WEIGHT
        ]

    def sought(
        self, models: Sequence[tuple[float, Surrogate]], levels: Levels, seen: set[tuple[int, ...]], random: np.random.Generator
    ) -> Candidate | None:
        """The best of the candidates of all models, by expected improvement averaged over the models."""
        return best_on_average(
            [(weight, *found) for weight, model in models if (found := self._searched(model, levels, seen, random)) is not None]
        )

    def _searched(
        self, surrogate: Surrogate, levels: Levels, seen: set[tuple[int, ...]], random: np.random.Generator
    ) -> tuple[LocalSearch, Candidate] | None:
        """The best result of local searches from exact optima at each limit and from the best allocations so far.

        The reference point of the front is half way between the predicted loss of the cheapest allocation and that of the best; over a
        range it is that of the cheapest, so that its tight end counts.
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
        anchors = surrogate.predict(np.stack([self.indexed.cheapest, centres[max(centres)]]))[0]
        reference = float(anchors.mean() if self._range is None else anchors.max())
        best = [_least(surrogate, tried[inside], means[inside]) if inside.any() else reference for inside in within]
        search = LocalSearch(surrogate, Frontier.with_reference(reference, levels, best), seen, random)
        if len(best) > 1:
            distinct = np.unique(starts, axis=0)
            starts = list(distinct[np.argsort(-search.improvement(distinct), kind="stable")[:_SEARCHES]])
        ends = [candidate for start in starts if (candidate := search.run(start)) is not None]
        return (search, max(ends, key=lambda candidate: candidate.improvement)) if ends else None

    def _centres(self, surrogate: Surrogate, levels: Levels) -> dict[int, Picks]:
        """Exact optimum of the posterior mean by level, linearised at the optimum of the level before; empty levels are left out."""
        at = float(surrogate.damages.min()) if len(surrogate.damages) else 1.0
        centres: dict[int, Picks] = {}
        for level in reversed(range(len(levels.programs))):
            for _ in range(1 if centres else 2):  # the optimum of the level before is near, so one pass is enough
                solution = solve_knapsack(replace(levels.programs[level], objective=surrogate.linear(at)), time_limit=_TIME)
                if solution is None:
                    break
                centres[level] = solution.picks
                at = float(surrogate.total_damage(solution.picks[None])[0])
        return centres

    def _draws(self, surrogate: Surrogate, levels: Levels, centres: Mapping[int, Picks], random: np.random.Generator) -> Iterator[Picks]:
        """Exact optima of posterior samples, spread over the levels."""
        for level in np.linspace(max(centres), min(centres), self._samples).round().astype(int).tolist():
            at = float(surrogate.total_damage(centres[level][None])[0])
            solution = solve_knapsack(replace(levels.programs[level], objective=surrogate.linear(at, random)), time_limit=_TIME)
            if solution is not None:
                yield solution.picks

    def _solved(self, objective: Floats) -> Picks:
        solution = solve_knapsack(replace(self._program, objective=objective))
        if solution is None:
            raise infeasible_error(self.indexed.space, self.indexed.costs, self.indexed.budgets, excluded=0, time_limit=60.0)
        return solution.picks

    def _refined(
        self, surrogate: Surrogate, observations: Sequence[Observation], seen: set[tuple[int, ...]], random: np.random.Generator
    ) -> Candidate | None:
        """The best allocation so far with the rest of its budget used up, or, when that was visited, the best swap around it."""
        program = self._program
        inside = [p for o in observations if o.losses and program.broken(p := self._picks(o.allocation)) is None]
        if not inside:
            return None
        means, _ = surrogate.predict(np.array(inside))
        best = inside[int(means.argmin())]
        linear = surrogate.linear(float(surrogate.total_damage(best[None])[0]))
        spent = filled_greedily(self.indexed, program, best, linear)
        least = np.array([_least(surrogate, np.array(inside), means)])
        search = LocalSearch(surrogate, Frontier(levels=self.levels.alone(), best=least), seen, random)
        if tuple(spent.tolist()) not in seen:
            return search.best_of(spent[None])
        return search.best_of(swaps(self.indexed, program, best, linear, _SWAPS))

    def _proposal(self, origin: str, found: Candidate, surrogate: Surrogate) -> Proposal:
        allocation = self.indexed.allocation(found.picks)
        return Proposal(origin=origin, allocation=allocation, improvement=found.improvement, noise=surrogate.noise)

    def _within_budgets(self, origin: str, allocation: Allocation) -> Picks:
        picks = self.indexed.picks(allocation)
        if (broken := self._program.broken(picks)) is not None:
            raise BudgetError(
                f"initial allocation '{origin}' is above the budget {self.indexed.budgets[broken]}; take bits away, or leave it out"
            )
        return picks

    def _keys(self, allocations: Sequence[Allocation]) -> set[tuple[int, ...]]:
        return {tuple(self._picks(allocation).tolist()) for allocation in allocations}

    def _picks(self, allocation: Allocation) -> Picks:
        """The picks of an allocation, kept because a study passes the same objects again and again."""
        known = self._read.get(id(allocation))
        if known is None or known[0] is not allocation:
            known = self._read[id(allocation)] = (allocation, self.indexed.picks(allocation))
        return known[1]


def _least(surrogate: Surrogate, inside: Picks, means: Floats) -> float:
    """The incumbent's log loss: the least measured, or, with several rungs, the least predicted among those measured at the deepest."""
    evidence, deepest = surrogate.evidence, surrogate.evidence.rungs == surrogate.deepest
    keys = [tuple(row) for row in inside.tolist()]
    values = {tuple(row): value for row, value in zip(evidence.picks[deepest].tolist(), evidence.values[deepest], strict=True)}
    reached = [index for index, key in enumerate(keys) if key in values]
    if not reached:
        return float(means.min())
    return float(means[reached].min()) if surrogate.deepest else min(values[keys[index]] for index in reached)

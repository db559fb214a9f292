"""`ThresholdSearcher`: looks for the allocation of least cost whose validation error is within a bound.

    A(x) = P(error(x) ≤ bound) · max(0, log(c* / cost(x))),      c*: the least cost of a trial that was within the bound

The cost of an allocation is known before it is measured; only the constraint is not. So the expected decrease of the least verified cost
is exact, and is what a trial is chosen by. Before there is a verified trial, c* is the largest cost there is.

1. The first trials bisect the cost: the optimum of one signal after the other, half way (in logarithms) between the dearest trial that
   failed and the cheapest that held.
2. Then A is maximised, averaged over the prior models and over two ways to know the error: from the loss, which is smooth
   (`error_link.py`), and from a surrogate of the error itself. Local search starts from exact optima along the front of the predictions,
   bisected at the cost where A is largest, from optima of posterior samples, and from the trials.

Source: Gardner et al., "Bayesian Optimization with Inequality Constraints", ICML 2014, section 3, for expected improvement times the
probability of a constraint.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mpsearch.allocate.infeasible import out_of_reach
from mpsearch.allocate.knapsack import Knapsack
from mpsearch.allocate.knapsack_solver import solve_knapsack
from mpsearch.allocate.program import knapsack
from mpsearch.allocate.reach import reachable, smallest_under
from mpsearch.core.allocation import Allocation
from mpsearch.core.arrays import Floats, Picks
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError
from mpsearch.core.peak import CostTable
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.propose.acquisition import Candidate, LocalSearch, best_on_average
from mpsearch.propose.error_link import ErrorLink
from mpsearch.propose.frontier import Levels
from mpsearch.propose.observation import Observation, Proposal, deepest_rung, logarithm, paused
from mpsearch.propose.searcher import Searcher
from mpsearch.propose.surrogate.model import Surrogate
from mpsearch.propose.unvisited import any_unvisited, best_unvisited

__all__ = ["Bound", "ThresholdSearcher"]

_BISECTED = 3
"""First trials, chosen by signals alone."""
_LEVELS = 12
_SAMPLES = 4
_ROUNDS = 3
"""Bisections of the cost around the best level."""
_SEARCHES = 6
"""Starting points of the local search."""
_BELOW = 1e-6
"""Share of the least verified cost that a proposal costs less, at least."""
_NEGLIGIBLE = 0.02
"""What stands for the noise of a cost, which has none: a study that ends when it is flat ends where a twentieth of this is expected."""
_TIME = 5.0
"""Seconds for one exact solution; after that the best found so far is taken."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """What the network that is looked for must hold.

    Args:
        cost: name of the cost that is to be small.
        error: the largest validation error.
        reference: (loss, error) of the float network.
        resolution: smallest step of the error, such as one over the number of validation samples; > 0.
    """

    cost: str
    error: float
    reference: tuple[float, float]
    resolution: float

    def holds(self, error: float) -> bool:
        """Whether an error is within the bound, up to rounding."""
        return error <= self.error + 1e-3 * self.resolution


@dataclass(frozen=True, kw_only=True)
class _Decrease:
    """A: the expected decrease of the least verified cost.

    Args:
        program: limits; its last `rows` are those of the cost.
        rows: number of tables of the cost, whose largest total it is.
        best: c*.
        link: from what the surrogate predicts to the log error.
        bound: log error.
    """

    program: Knapsack
    rows: int
    best: float
    link: ErrorLink
    bound: float

    def amounts(self, options: Picks) -> Floats:
        """The cost, float64 `[K]`, of allocations int `[K, G]`."""
        costs, base = self.program.costs[-self.rows :], self.program.base[-self.rows :]
        return np.asarray((base[:, None] + costs[:, np.arange(options.shape[1]), options].sum(axis=2)).max(axis=0))

    def improvement(self, options: Picks, mean: Floats, deviation: Floats) -> Floats:
        """A, float64 `[K]`."""
        gain = np.log(self.best / np.maximum(self.amounts(options), 1e-300))
        return self.link.chance(mean, deviation, self.bound) * np.maximum(gain, 0.0)


class ThresholdSearcher(Searcher):
    """Proposes allocations to measure, of which the cheapest whose error is within a bound is wanted.

    Args:
        space: layers, menus, ties.
        tables: signals; those that do not distinguish allocations are left out.
        costs: tables by name; at least those of the bound and of the budgets.
        budgets: all hold; one may be on the cost of the bound.
        bound: what is looked for.
        seed: of posterior samples.
        initial: (origin, allocation) of further allocations to propose after the first.

    Raises:
        BudgetError: no allocation meets the budgets.
        SpaceError: an initial allocation with a layer or a choice that the space does not have.
    """

    def __init__(
        self,
        space: ResolvedSpace,
        tables: Sequence[Table],
        costs: Mapping[str, CostTable],
        budgets: Sequence[Budget],
        *,
        bound: Bound,
        seed: int = 0,
        initial: Sequence[tuple[str, Allocation]] = (),
    ) -> None:
        if (refused := out_of_reach(space, costs, budgets)) is not None:
            raise refused
        self.bound = bound
        cost, everything = costs[bound.cost], reachable(space, costs[bound.cost])
        others = [budget for budget in budgets if budget.cost != bound.cost]
        lowest = smallest_under(space, cost, costs, others, _TIME)
        self._lowest = everything[0] if lowest is None else lowest
        self._highest = min([everything[1], *(budget.limit for budget in budgets if budget.cost == bound.cost)])
        # The prior's units are those of the middle: at most bits there is no damage to measure anything by.
        middle = Budget(bound.cost, max(self._lowest, math.sqrt(max(self._lowest, 0.0) * self._highest)), bound.cost)
        super().__init__(space, tables, costs, [*others, middle], seed=seed)
        self._others = others
        self._program = self._within(self._highest)
        self._initial = [(origin, self.indexed.picks(allocation)) for origin, allocation in initial]
        self._initial = [(origin, picks) for origin, picks in self._initial if self._program.broken(picks) is None]
        mixtures = self.priors[0].signals if len(self.priors[0].signals) < _BISECTED else self.priors[0].signals.mean(axis=0)[None]
        self._signals = [*mixtures, *(prior.signals[0] for prior in self.priors[1:])]

    def propose(
        self, observations: Sequence[Observation], pending: Sequence[Allocation] = (), *, refine: bool = False, again: bool = False
    ) -> Proposal:
        """The next allocation, given the finished trials, with their errors, and those that are running; see `Searcher.propose`.

        Args:
            observations: in the order they finished.
            pending: allocations being measured; the surrogates take their predictions for results.
            refine: changes nothing here.
            again: allocations that stopped at the first rung while others went on may be proposed once more, to go on.

        Raises:
            BudgetError: nothing that costs less is left.
        """
        waiting = paused(observations) if again else []
        seen = (self._keys([o.allocation for o in observations]) - self._keys(waiting)) | self._keys(pending)
        number, best = len(observations) + len(pending), self.least_verified(observations)
        if number < _BISECTED and (first := self._bisected(observations, number)) is not None and tuple(first.tolist()) not in seen:
            return Proposal(origin="milp:bisection", allocation=self.indexed.allocation(first))
        for origin, picks in self._initial:
            if tuple(picks.tolist()) not in seen:
                return Proposal(origin=origin, allocation=self.indexed.allocation(picks))
        limit = self._highest if best is None else best * (1 - _BELOW)
        if solve_knapsack(self._within(limit), time_limit=_TIME) is None:
            raise self.nothing_left()
        random, shift = np.random.default_rng([self._seed, number]), self._shift(observations)
        found = best_on_average(
            [
                (weight, *result)
                for weight, model, link in self._linked(observations, pending)
                if (result := self._cheapest(model, self._decrease(link, best, shift), seen, random)) is not None
            ]
        )
        if found is None:
            left = best_unvisited(self._within(limit), self.surrogate(observations).linear(1.0), seen, time_limit=_TIME)
            return Proposal(origin="left", allocation=self.indexed.allocation(left))
        return Proposal(origin="ei", allocation=self.indexed.allocation(found.picks), improvement=found.improvement, noise=_NEGLIGIBLE)

    def left(self, tried: Sequence[Allocation], observations: Sequence[Observation] = ()) -> bool:
        """Whether anything was not tried that costs less than the least that was verified."""
        best = self.least_verified(observations)
        limit = self._highest if best is None else best * (1 - _BELOW)
        return any_unvisited(self._within(limit), self._keys(tried), (), time_limit=_TIME)

    def nothing_left(self) -> BudgetError:
        """The error where `left` says no."""
        return BudgetError(f"no allocation that was not tried has a smaller {self.bound.cost} than the least that was verified")

    def least_verified(self, observations: Sequence[Observation]) -> float | None:
        """The least cost of a trial whose error at the deepest rung is within the bound; None if there is none."""
        rung, cost = deepest_rung(observations), self.indexed.costs[self.bound.cost]
        held = [o.allocation for o in observations if rung in o.errors and self.bound.holds(o.errors[rung])]
        return min((cost.total(allocation) for allocation in held), default=None)

    def prospects(
        self, observations: Sequence[Observation], options: Sequence[Allocation], beyond: Sequence[Allocation]
    ) -> tuple[Floats, Floats]:
        """(A, probability to be within the bound minus one half; −1 for what costs no less than c*), float64 `[M]` each.

        Args:
            observations: all there are, with those of the options at shallower rungs.
            options: M allocations.
            beyond: not read; the trials to improve on are those within the bound.
        """
        picks, best = self.indexed.stacked(options), self.least_verified(observations)
        improvement, chance = np.zeros(len(picks)), np.zeros(len(picks))
        for weight, model, link in self._linked(observations, ()):
            acquisition = self._decrease(link, best, self._shift(observations))
            mean, deviation = model.predict(picks)
            deviation = np.hypot(deviation, model.noise)
            improvement += weight * acquisition.improvement(picks, mean, deviation)
            chance += weight * link.chance(mean, deviation, acquisition.bound)
        return improvement, np.where(improvement > 0, chance - 0.5, -1.0)

    def _bisected(self, observations: Sequence[Observation], number: int) -> Picks | None:
        rung, cost = deepest_rung(observations), self.indexed.costs[self.bound.cost]
        low, high = self._lowest, self._highest
        for o in observations:
            if rung in o.errors and self.bound.holds(o.errors[rung]):
                high = min(high, cost.total(o.allocation))
        for o in observations:
            if rung in o.errors and not self.bound.holds(o.errors[rung]) and (amount := cost.total(o.allocation)) < high:
                low = max(low, amount)
        middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
        objective = self._signals[number % len(self._signals)]
        solution = solve_knapsack(replace(self._within(middle), objective=objective), time_limit=_TIME)
        return None if solution is None else solution.picks

    def _linked(self, observations: Sequence[Observation], pending: Sequence[Allocation]) -> list[tuple[float, Surrogate, ErrorLink]]:
        """(probability, surrogate, link to the log error); half of all probability is on surrogates of the error itself.

        The link is fitted to all pairs of loss and error, of every rung.
        """
        shift = self._shift(observations)
        pairs = [(loss, o.errors[rung] + shift) for o in observations for rung, loss in o.losses.items() if _both(o, rung)]
        losses, errors = (np.array([pair[each] for pair in pairs], dtype=np.float64) for each in (0, 1))
        values, (loss, error) = logarithm(losses), self.bound.reference
        if loss > 0 and not (losses <= 0).any():
            anchor = math.log(loss), math.log(error + shift)
        else:  # the surrogate's values are not logarithms of losses, so that of the float network cannot stand beside them
            anchor = (float(values.mean()), float(np.log(errors).mean())) if pairs else (0.0, math.log(error + shift))
        link = ErrorLink.fitted(values, np.log(errors), anchor)
        found = [(weight, model, link) for weight, model in self.models(observations, pending)]
        if not pairs:
            return found
        by_error = [replace(o, losses={rung: o.errors[rung] + shift for rung in o.losses if _both(o, rung)}) for o in observations]
        found += [(weight, model, ErrorLink.identity()) for weight, model in self.models(by_error, pending)]
        return [(weight / 2, model, each) for weight, model, each in found]

    def _shift(self, observations: Sequence[Observation]) -> float:
        """What is added to every error before its logarithm: half a step; more where a task has errors below zero."""
        errors = [self.bound.error, self.bound.reference[1], *(each for o in observations for each in o.errors.values())]
        errors = [each for each in errors if math.isfinite(each)]
        if min(errors) >= 0:
            return self.bound.resolution / 2
        return 0.1 * (max(errors) - min(errors) or 1.0) - min(errors)

    def _decrease(self, link: ErrorLink, best: float | None, shift: float) -> _Decrease:
        limit = self._highest if best is None else best * (1 - _BELOW)
        return _Decrease(
            program=self._within(limit),
            rows=len(self.indexed.costs[self.bound.cost].rows),
            best=self._highest * (1 + _BELOW) if best is None else best,
            link=link,
            bound=math.log(self.bound.error + shift),
        )

    def _cheapest(
        self, surrogate: Surrogate, acquisition: _Decrease, seen: set[tuple[int, ...]], random: np.random.Generator
    ) -> tuple[LocalSearch, Candidate] | None:
        """The best result of local searches under one surrogate."""
        levels = self._levels(acquisition)
        centres = self._centres(surrogate, levels)
        if not centres:
            return None
        search = LocalSearch(surrogate, acquisition, seen, random)
        found = {float(acquisition.amounts(picks[None])[0]): picks for picks in centres.values()}
        for _ in range(_ROUNDS):
            amounts = sorted(found)
            place = int(search.improvement(np.array([found[amount] for amount in amounts])).argmax())
            at = float(surrogate.total_damage(found[amounts[place]][None])[0])
            for other in {max(place - 1, 0), min(place + 1, len(amounts) - 1)} - {place}:
                program = self._within(math.sqrt(amounts[place] * amounts[other]))
                solution = solve_knapsack(replace(program, objective=surrogate.linear(at)), time_limit=_TIME)
                if solution is not None:
                    found[float(acquisition.amounts(solution.picks[None])[0])] = solution.picks
        best = found[sorted(found)[int(search.improvement(np.array([found[amount] for amount in sorted(found)])).argmax())]]
        near = self._within(float(acquisition.amounts(best[None])[0]))
        at = float(surrogate.total_damage(best[None])[0])
        starts = [*found.values(), *np.unique(surrogate.evidence.picks, axis=0)]
        for _ in range(_SAMPLES):
            solution = solve_knapsack(replace(near, objective=surrogate.linear(at, random)), time_limit=_TIME)
            starts += [] if solution is None else [solution.picks]
        distinct = np.unique(starts, axis=0)
        ordered = distinct[np.argsort(-search.improvement(distinct), kind="stable")[:_SEARCHES]]
        ends = [candidate for start in ordered if (candidate := search.run(start)) is not None]
        return (search, max(ends, key=lambda candidate: candidate.improvement)) if ends else None

    def _levels(self, acquisition: _Decrease) -> Levels:
        """Limits from the least cost to that of the acquisition function, evenly in logarithms, without those that nothing meets."""
        limit = min(float(each) for each in acquisition.program.limits[-acquisition.rows :])
        lowest = max(self._lowest, 1e-9 * abs(limit))
        spread = np.geomspace(min(lowest, limit), limit, _LEVELS).tolist()
        programs = [self._within(each) for each in [*spread[:-1], limit]]
        return Levels(factors=tuple(each / limit for each in spread), programs=tuple(programs), weights=np.ones(len(spread)))

    def _within(self, limit: float) -> Knapsack:
        """The budgets on other costs, and a limit on this one."""
        blank = self.indexed.space.table("nothing", "", np.zeros(self.indexed.space.allowed.shape))
        return knapsack(self.indexed.space, blank, self.indexed.costs, [*self._others, Budget(self.bound.cost, limit, "")])


def _both(observation: Observation, rung: str) -> bool:
    """Whether a loss and an error are known at a rung."""
    error = observation.errors.get(rung, math.nan)
    return math.isfinite(error) and math.isfinite(observation.losses.get(rung, math.nan))

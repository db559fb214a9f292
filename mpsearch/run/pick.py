"""`Picker`: the points that a run which has ended gives for any budget, any loss of accuracy, or at its knee, without new trials.

A point is a network that the run has trained or calibrated, or an allocation that is solved under the prediction of the run's surrogate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from mpsearch.allocate.reach import reachable
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError, UsageError
from mpsearch.core.front import knee
from mpsearch.costs.budgets import format_amount
from mpsearch.run.error_bound import error_within
from mpsearch.run.expectation import Expectation
from mpsearch.run.finished_run import BASES, Finished, Point

__all__ = ["Picker"]

_BISECTIONS = 12
_NEAR = 0.002
"""Relative distance of two amounts below which bisection ends."""
_CERTAIN = 0.99
_LEVELS = 12
"""Budgets at which a front is solved to find its knee."""


class Picker:
    """Gives points of a run.

    Args:
        finished: the run.
    """

    def __init__(self, finished: Finished) -> None:
        self.finished = finished

    def within(self, budgets: Sequence[Budget]) -> Point:
        """The point of least expected loss within budgets; of points that differ by no more than the noise, the one that rests on more.

        Args:
            budgets: hold, and those of the run on other costs as well.

        Raises:
            BudgetError: no allocation meets them, or one is on a cost that the run did not count.
        """
        budgets = self.finished.with_others(budgets)
        self.finished.check_costs(*(budget.cost for budget in budgets))
        options = [point for point in self.finished.measured if self.finished.meets(point, budgets)]
        if not self.finished.searched:
            return self._only(options, budgets)
        solved = self._solved(budgets)
        means = self._expectation.posterior.predict([solved.allocation, *(point.allocation for point in options)])[0].tolist()
        least, noise = min(means), self._expectation.posterior.noise
        for basis in BASES[:-1]:
            good = [point for point, mean in zip(options, means[1:], strict=True) if point.basis == basis and mean <= least + noise]
            if good:
                return min(good, key=lambda point: (point.error, point.costs["size"]))
        return solved

    def keeping(self, error: float, cost: str = "size") -> Point:
        """The point of least cost whose error is no larger than `error`; a measured one if there is any.

        A note says so where an allocation that costs less is expected to be as good.

        Args:
            error: bound, see `error_within`.
            cost: name of the cost to be small.

        Raises:
            UsageError: nothing that this run has seen or expects is as good.
            BudgetError: the run did not count that cost.
        """
        self.finished.check_costs(cost)
        enough = [
            point
            for point in self.finished.measured
            if point.error <= error and self.finished.meets(point, self.finished.with_others([], cost))
        ]
        best = min(enough, key=lambda point: (point.costs[cost], point.error), default=None)
        expected = self._smallest_expected(error, cost) if self.finished.searched else None
        if best is None:
            if expected is None:
                raise UsageError(self._not_kept(error, cost))
            return expected
        if expected is None or expected.costs[cost] >= best.costs[cost]:
            return best
        amount = format_amount(cost, expected.costs[cost])
        chance = min(self._expectation.chance(expected, error), _CERTAIN)
        note = f"{amount} are expected to be enough, by {chance:.0%}; one training tells: pick with that as the budget."
        return replace(best, notes=(*best.notes, note))

    def knee(self, cost: str = "size") -> Point:
        """The point at the knee of the front of cost and expected loss, between the cheapest and the dearest trial.

        Raises:
            UsageError: the run had no trials.
            BudgetError: the run did not count that cost.
        """
        self.finished.check_costs(cost)
        if not self.finished.searched:
            raise UsageError(
                f"{self.finished.run_dir} is the run of one allocation, which has no front; pick from a run of 'mpsearch study'"
            )
        amounts = [point.costs[cost] for point in self.finished.measured]
        points = list(self.finished.measured)
        low, high = min(amounts), max(amounts)
        if 0 < low < high:
            for limit in np.geomspace(low, high, _LEVELS).tolist():
                points.append(self._solved(self.finished.with_others([_budget(cost, limit)], cost)))
        means = self._expectation.posterior.predict([point.allocation for point in points])[0].tolist()
        front: list[tuple[float, float]] = []
        for amount, mean in sorted((point.costs[cost], mean) for point, mean in zip(points, means, strict=True)):
            if not front or (mean < front[-1][1] and amount > front[-1][0]):
                front.append((amount, mean))
        bend = front[knee(*zip(*front, strict=True))][0]
        return self.within([_budget(cost, bend)])

    def trial(self, number: int) -> Point:
        """The point of a trial; retrained, if the run has retrained its allocation.

        Raises:
            UsageError: there is no such trial, or it failed.
        """
        record = next((record for record in self.finished.summary.trials if record.number == number), None)
        if record is None or record.status != "complete":
            numbers = [record.number for record in self.finished.summary.trials if record.status == "complete"]
            there = f"{min(numbers)} to {max(numbers)}" if numbers else "none"
            raise UsageError(f"{self.finished.run_dir} has no finished trial {number}; its trials are {there}")
        return next(point for point in self.finished.measured if point.allocation == record.allocation)

    def error_within(self, *, share: float | None = None, drop: float | None = None) -> float:
        """The largest error that keeps a share of the float metric, or loses no more than `drop` of it; see `error_within`."""
        return error_within(self.finished.reference, self.finished.summary.metric, self.finished.rising, share=share, drop=drop)

    @cached_property
    def _expectation(self) -> Expectation:
        return Expectation(self.finished)

    def _solved(self, budgets: Sequence[Budget]) -> Point:
        return self._expectation.predicted(self._expectation.posterior.best(self.finished.exact, budgets))

    def _only(self, options: Sequence[Point], budgets: Sequence[Budget]) -> Point:
        """The best of a run without trials."""
        if options:
            return min(options, key=lambda point: (point.error, point.costs["size"]))
        raise BudgetError(
            f"{self.finished.run_dir} is the run of one allocation, which does not meet {' and '.join(map(str, budgets))}; "
            "pick from a run of 'mpsearch study'"
        )

    def _smallest_expected(self, error: float, cost: str) -> Point | None:
        """The solved point of least cost whose expected error is small enough; None if even the most bits are not expected to be."""
        low, high = reachable(self.finished.kept.space, self.finished.exact[cost])
        found = self._solved(self.finished.with_others([_budget(cost, high)], cost))
        if found.error > error:
            return None
        high = found.costs[cost]
        for _ in range(_BISECTIONS):
            if high <= low * (1 + _NEAR):
                break
            middle = math.sqrt(low * high) if low > 0 else (low + high) / 2
            try:
                point = self._solved(self.finished.with_others([_budget(cost, middle)], cost))
            except BudgetError:  # with the run's other budgets, so little of this cost is out of reach
                low = middle
                continue
            if point.error <= error:
                found, high = point, point.costs[cost]
            else:
                low = middle
        return found

    def _not_kept(self, error: float, cost: str) -> str:
        wanted, best = self.finished.metric(error), min(self.finished.measured, key=lambda point: point.error)
        name = self.finished.summary.metric
        told = f"no point of {self.finished.run_dir} has a validation {name} of {wanted:.4g} (the best, {best.name}, has {best.metric:.4g}"
        if not self.finished.searched:
            return f"{told}); search with 'mpsearch study'"
        most = self._solved(
            self.finished.with_others([_budget(cost, reachable(self.finished.kept.space, self.finished.exact[cost])[1])], cost)
        )
        amount = format_amount(cost, most.costs[cost])
        expected = f"{most.metric:.4g} of the most bits, {amount}"
        low, high = most.interval or (most.metric, most.metric)
        if wanted <= high if self.finished.rising else wanted >= low:
            return f"{told}, and {expected}, is expected, though not for sure); search with --budget {amount.replace(' ', '')} to know"
        trained = any(record.curve for record in self.finished.summary.trials)
        cure = "raise the epochs of its rungs" if trained else "let trials train (--effort normal)"
        return (
            f"{told}, and {expected}, is expected), which more trials like these would not change; {cure}, widen the space, or ask for less"
        )


def _budget(cost: str, limit: float) -> Budget:
    return Budget(cost, limit, format_amount(cost, limit))

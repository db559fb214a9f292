"""`Expectation`: the metric that a run which has ended expects of an allocation it has not scored, from the prediction of its surrogate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from mpsearch.core.allocation import Allocation
from mpsearch.core.arrays import Floats
from mpsearch.core.choice import Choice
from mpsearch.core.record import Score
from mpsearch.costs.budgets import format_amount
from mpsearch.propose.observation import Observation, observed
from mpsearch.propose.posterior import Posterior
from mpsearch.propose.searcher import Searcher
from mpsearch.run.finished_run import Finished, Point
from mpsearch.run.sensitivity import prior_tables

__all__ = ["Expectation"]

_NINETY = 1.6449
"""Standard deviations on either side that hold 90 % of a normal distribution."""
_BEYOND = 5.0
"""Nats of log loss beyond the worst trial that are extrapolated."""
_AS_FLOAT = 8
"""Bits of weights and activations that are thought to do what float does."""


class Expectation:
    """What the surrogate of a run expects after all its trials.

    Args:
        finished: the run, which had trials.
    """

    def __init__(self, finished: Finished) -> None:
        self._finished = finished
        self._trials = finished.summary.trials

    @cached_property
    def posterior(self) -> Posterior:
        """What the run's surrogate expects, after all trials, of which one is thought: eight bits everywhere do what float does."""
        summary, space = self._finished.summary, self._finished.kept.space
        searcher = Searcher(space, prior_tables(summary.tables), self._finished.kept.costs(exact=False), summary.budgets, seed=summary.seed)
        most = Allocation({name: max(menu, key=_bits) for name, menu in zip(space.names, space.menus, strict=True)})
        thought = []
        if self._logarithmic and min(min(_bits(choice)) for choice in most.values()) >= _AS_FLOAT:
            thought.append(Observation(allocation=most, losses={self.rung: self._finished.reference.loss}))
        return Posterior(searcher, [*(observed(record) for record in summary.trials), *thought])

    def metric(self, allocation: Allocation) -> tuple[float, tuple[float, float]]:
        """The expected metric of a trial at the deepest rung, and (lower, upper) that hold it with a probability of 90 %."""
        (_, expected, _), bounds = self._errors(allocation)
        return self._finished.metric(expected), bounds

    def predicted(self, allocation: Allocation) -> Point:
        """The point of an allocation that was not scored."""
        (_, expected, _), bounds = self._errors(allocation)
        return Point(
            allocation=allocation,
            name="solved",
            basis="predicted",
            costs={cost: table.total(allocation) for cost, table in self._finished.exact.items()},
            metric=self._finished.metric(expected),
            interval=bounds,
            error=expected,
            rung=self.rung,
            params=self._finished.summary.mixed.params,
            notes=tuple(self._remarks(allocation)),
        )

    def _errors(self, allocation: Allocation) -> tuple[tuple[float, float, float], tuple[float, float]]:
        """(best, expected, worst) error, and the interval of the metric between the outer two."""
        (mean,), (deviation,) = (each.tolist() for each in self.posterior.predict([allocation]))
        spread = _NINETY * math.hypot(deviation, self.posterior.noise)
        best, expected, worst = (float(np.interp(at, *self._error_of)) for at in (mean - spread, mean, mean + spread))
        ends = sorted((self._finished.metric(best), self._finished.metric(worst)))
        return (best, expected, worst), (ends[0], ends[1])

    def chance(self, point: Point, error: float) -> float:
        """Probability that a measurement of a predicted point is good enough."""
        (mean,), (deviation,) = (each.tolist() for each in self.posterior.predict([point.allocation]))
        losses, errors = self._error_of
        enough = losses[errors <= error]
        bound = float(np.interp(error, errors, losses)) if len(enough) < len(losses) else math.inf
        return 0.5 * (1 + math.erf((bound - mean) / (math.sqrt(2) * math.hypot(deviation, self.posterior.noise))))

    def _remarks(self, allocation: Allocation) -> Iterator[str]:
        """What a prediction is worth."""
        sizes = [point.costs["size"] for point in self._finished.measured]
        size = self._finished.exact["size"].total(allocation)
        if not min(sizes) <= size <= max(sizes):
            near = min(sizes, key=lambda other: abs(other - size))
            yield (
                f"The nearest file that this run has scored has {format_amount('size', near)}, so this is an extrapolation; "
                "a search with this budget would know more."
            )
        if self._finished.summary.surrogate:
            held = self._finished.summary.surrogate["covered90"]
            yield f"Intervals of 90 % held {held:.0%} of the scores of this run, each predicted from the others."

    @property
    def _logarithmic(self) -> bool:
        """Whether the surrogate's values are logarithms of losses, so that the float network's loss can stand beside them."""
        return self._finished.reference.loss > 0 and all(score.loss > 0 for record in self._trials for score in record.scores.values())

    @cached_property
    def rung(self) -> str:
        """The deepest rung that a trial reached."""
        rungs = [rung for record in self._trials for rung, score in record.scores.items() if math.isfinite(score.loss)]
        return list(dict.fromkeys(rungs))[-1]

    @cached_property
    def _error_of(self) -> tuple[Floats, Floats]:
        """Knots of the error as a rising function of the log loss: trials at the deepest rung, and the float network."""
        records = [record for record in self._trials if math.isfinite(record.scores.get(self.rung, _NOT_FINITE).loss)]
        losses = self.posterior.predict([record.allocation for record in records])[0].tolist()
        errors = [record.scores[self.rung].error for record in records]
        if self._logarithmic:
            losses, errors = [*losses, math.log(self._finished.reference.loss)], [*errors, self._finished.reference.error]
        order = np.argsort(losses, kind="stable")
        knots, levels = np.array(losses)[order], _isotonic(np.array(errors, dtype=np.float64)[order])
        # Beyond the worst trial the error goes on as steeply as from the best to the worst.
        slope = float((levels[-1] - levels[0]) / (knots[-1] - knots[0])) if knots[-1] > knots[0] else 0.0
        return np.append(knots, knots[-1] + _BEYOND), np.append(levels, levels[-1] + slope * _BEYOND)


_NOT_FINITE = Score(loss=math.inf, error=math.inf, metric=math.nan)


def _bits(choice: Choice) -> tuple[float, float]:
    return choice.weight.bits_per_value, choice.activation.bits_per_value


def _isotonic(values: Floats) -> Floats:
    """The nearest rising sequence by least squares: neighbours that fall are pooled."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (one, before), (other, after) = blocks.pop(-2), blocks.pop()
            blocks.append(((one * before + other * after) / (before + after), before + after))
    return np.array([mean for mean, count in blocks for _ in range(count)])

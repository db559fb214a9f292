"""The sampler of a study, what its surrogate is worth, and the winner with the rest of its budget spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mpsearch.core.allocation import Allocation
from mpsearch.core.peak import CostTable
from mpsearch.core.record import Record
from mpsearch.core.table import Table
from mpsearch.propose.observation import Observation, observed, room_above
from mpsearch.study.sampler import BitsSampler
from mpsearch.study.stopping import Stopping
from mpsearch.trials.climb import Rung
from mpsearch.trials.problem import Problem

__all__ = ["bits_sampler", "prediction_quality", "with_budget_spent"]

_FEWEST = 4
"""Scores below which nothing is said of a surrogate."""


def bits_sampler(
    problem: Problem,
    tables: Sequence[Table],
    sweep: tuple[float, float],
    initial: Sequence[tuple[str, Allocation]] = (),
    *,
    stopping: Stopping,
    refine: float,
    rungs: Sequence[Rung] = (),
) -> BitsSampler:
    """The sampler of a study.

    Args:
        problem: space, costs, budgets, seed.
        tables: signals; the first trials are their optima.
        sweep: (least, largest) factor on every budget between which a front is wanted.
        initial: (origin, allocation) of further allocations to propose first, such as learned ones.
        stopping: when the study ends.
        refine: share of the trials that swap around the best: the last ones, or, where nobody knows which those are, every so many.
        rungs: that trials climb; bits that wait at the first may be proposed once more while fewer have gone on than the second takes.
    """
    climbing = len(rungs) > 1 and rungs[0].epochs == 0
    return BitsSampler(
        problem.space,
        tables,
        problem.costs,
        problem.budgets,
        seed=problem.seed,
        sweep=sweep,
        initial=initial,
        losses=lambda trial: trial.user_attrs.get("losses"),
        refine=lambda number: _refines(number, stopping, refine),
        again=lambda observations: climbing and room_above(observations, rungs[1].keep),
    )


def prediction_quality(sampler: BitsSampler, records: Sequence[Record]) -> dict[str, float]:
    """How well the surrogate predicts what the study measured, as `PredictionQuality` gives it; empty where there is too little to tell."""
    observations = _observed(records)
    if sum(len(observation.losses) for observation in observations) < _FEWEST:
        return {}
    return sampler.searcher.surrogate(observations).calibration().to_dict()


def with_budget_spent(
    sampler: BitsSampler, best: Record, records: Sequence[Record], costs: Mapping[str, CostTable] | None = None
) -> Record:
    """`best` with what its allocation leaves of the budgets spent, in a way that was not tried as far: those that were did worse.

    A trial at a smaller budget leaves room that what is handed over can use, and so does a method that writes smaller files than the
    others of the study: `costs` are its own. Scores are left behind: they are of other bits.
    """
    lost = [r.allocation for r in records if len(r.scores) >= len(best.scores) and r.allocation != best.allocation]
    allocation = sampler.searcher.spend(best.allocation, _observed(records), without=lost, costs=costs)
    if allocation == best.allocation:
        return best
    return replace(best, allocation=allocation, origin=f"{best.origin}, budget spent", scores={})


def _observed(records: Sequence[Record]) -> list[Observation]:
    return [observed(record) for record in records]


def _refines(number: int, stopping: Stopping, share: float) -> bool:
    if stopping.open_ended:
        return math.floor((number + 1) * share) > math.floor(number * share)
    return number >= stopping.trials - math.floor(share * stopping.trials)

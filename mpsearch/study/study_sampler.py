"""The sampler of a study, how well its surrogate predicts, and the best allocation with the rest of its budget spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from mpsearch.core.allocation import Allocation
from mpsearch.core.peak import CostTable
from mpsearch.core.record import Record
from mpsearch.core.table import Table
from mpsearch.propose.observation import Observation, observed, room_above
from mpsearch.study.sampler import BitsSampler
from mpsearch.study.stopping import Stopping
from mpsearch.study.storage import StoredRecords
from mpsearch.trials.climb import Rung
from mpsearch.trials.problem import Problem
from mpsearch.trials.trial import Trial

__all__ = ["bits_sampler", "prediction_quality", "with_budget_spent"]

_FEWEST = 4
"""Scores that judging a surrogate takes."""


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
        sweep: (least, largest) factor on every budget; the trials cover the front between them.
        initial: (origin, allocation) of further first proposals.
        stopping: when the study ends.
        refine: share of the trials that swap bits around the best allocation: the last ones, or every so many where the last is not known.
        rungs: of the trials; bits that stopped at the first may be proposed once more while the second has room.
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
        losses=StoredRecords().losses,
        refine=lambda number: _refines(number, stopping, refine),
        again=lambda observations: climbing and room_above(observations, rungs[1].keep),
    )


def prediction_quality(sampler: BitsSampler, records: Sequence[Record]) -> dict[str, float]:
    """How well the surrogate predicts what the study measured, as `PredictionQuality` has it; empty where there are too few scores."""
    observations = _observed(records)
    if sum(len(observation.losses) for observation in observations) < _FEWEST:
        return {}
    return sampler.searcher.surrogate(observations).calibration().to_dict()


def with_budget_spent(sampler: BitsSampler, best: Record, records: Sequence[Record], costs: Mapping[str, CostTable] | None = None) -> Trial:
    """The best trial with what its allocation leaves of the budgets spent on further bits.

    A trial at a smaller budget leaves room that the delivered network can use, and so does a method whose files are smaller than those of
    the study's other methods.

    Args:
        sampler: whose surrogate decides where further bits help most.
        best: the best record.
        records: all; allocations that got as far as the best and lost are not returned.
        costs: tables of the best record's own method; those of the study unless told.
    """
    lost = [r.allocation for r in records if len(r.scores) >= len(best.scores) and r.allocation != best.allocation]
    allocation = sampler.searcher.spend(best.allocation, _observed(records), without=lost, costs=costs)
    origin = best.origin if allocation == best.allocation else f"{best.origin}, budget spent"
    return Trial(number=best.number, origin=origin, allocation=allocation)


def _observed(records: Sequence[Record]) -> list[Observation]:
    return [observed(record) for record in records]


def _refines(number: int, stopping: Stopping, share: float) -> bool:
    if stopping.open_ended:
        return math.floor((number + 1) * share) > math.floor(number * share)
    return number >= stopping.trials - math.floor(share * stopping.trials)

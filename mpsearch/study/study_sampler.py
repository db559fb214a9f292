"""The sampler of a study, the prediction quality of its surrogate, and the best allocation with the remaining budget spent."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import ranged
from mpsearch.core.peak import CostTable
from mpsearch.core.record import Record, Trial
from mpsearch.core.table import Table
from mpsearch.propose.observation import observed, room_above
from mpsearch.propose.threshold import Bound, ThresholdSearcher
from mpsearch.study.records import StoredRecords
from mpsearch.study.sampler import BitsSampler
from mpsearch.study.stopping import Stopping
from mpsearch.trials.climb import Rung
from mpsearch.trials.problem import Problem

__all__ = ["bits_sampler", "prediction_quality", "with_budget_spent"]

_FEWEST = 4
"""Minimum number of scores for a quality estimate."""


def bits_sampler(
    problem: Problem,
    tables: Sequence[Table],
    sweep: tuple[float, float],
    initial: Sequence[tuple[str, Allocation]] = (),
    *,
    stopping: Stopping,
    refine: float,
    rungs: Sequence[Rung] = (),
    bound: Bound | None = None,
) -> BitsSampler:
    """The sampler of a study.

    Args:
        problem: space, costs, budgets, seed.
        tables: signals; the first trials are their optima.
        sweep: (smallest, largest) factor on every budget; the trials cover the Pareto front in between.
        initial: (origin, allocation) of further initial proposals.
        stopping: stopping rules.
        refine: share of the trials that swap bits around the best allocation: the last ones, or evenly spread if their number is open;
            none where a budget is a range, which has no single best.
        bound: what the cheapest network is to hold; then nothing is swept and nothing refined.
        rungs: rungs of the trials; allocations that stopped at the first can be proposed once more while the second has room.
    """
    has_promotion = len(rungs) > 1 and rungs[0].epochs == 0
    stored, searcher = StoredRecords(problem.space.names), None
    if bound is not None:
        searcher = ThresholdSearcher(problem.space, tables, problem.costs, problem.budgets, bound=bound, seed=problem.seed, initial=initial)
    return BitsSampler(
        problem.space,
        tables,
        problem.costs,
        problem.budgets,
        seed=problem.seed,
        sweep=sweep,
        initial=initial,
        losses=stored.losses,
        errors=stored.errors,
        searcher=searcher,
        refine=lambda number: bound is None and ranged(problem.budgets) is None and _refines(number, stopping, refine),
        again=lambda observations: has_promotion and room_above(observations, rungs[1].keep),
    )


def prediction_quality(sampler: BitsSampler, records: Sequence[Record]) -> dict[str, float]:
    """Prediction quality of the surrogate on the study's scores, fields of `PredictionQuality`; empty if there are too few scores."""
    observations = [observed(record) for record in records]
    if sum(len(observation.losses) for observation in observations) < _FEWEST:
        return {}
    return asdict(sampler.searcher.surrogate(observations).calibration())


def with_budget_spent(sampler: BitsSampler, best: Trial, records: Sequence[Record], costs: Mapping[str, CostTable] | None = None) -> Trial:
    """The best trial, with the rest of its budgets spent on further bits.

    Budget remains if the trial was proposed for a smaller budget, or if its method's files are smaller than those of the study's other
    methods.

    Args:
        sampler: its surrogate decides where further bits help most.
        best: the best record, or any trial.
        records: all records; allocations that reached the same rung as the best and lost are excluded.
        costs: tables of the best record's method; those of the study by default.
    """
    lost = [r.allocation for r in records if len(r.scores) >= len(best.scores) and r.allocation != best.allocation]
    allocation = sampler.searcher.spend(best.allocation, [observed(record) for record in records], without=lost, costs=costs)
    if allocation == best.allocation:
        return best
    return Trial(number=best.number, origin=f"{best.origin}, budget spent", allocation=allocation)


def _refines(number: int, stopping: Stopping, share: float) -> bool:
    if stopping.open_ended:
        return math.floor((number + 1) * share) > math.floor(number * share)
    return number >= stopping.trials - math.floor(share * stopping.trials)

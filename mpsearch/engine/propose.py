"""Who proposes what a study tries: its sampler, and the uniform allocations that everything is compared with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.record import Record
from mpsearch.core.space import ResolvedSpace
from mpsearch.core.table import Table
from mpsearch.engine.observation import observed, room_above
from mpsearch.engine.problem import Problem
from mpsearch.engine.sampler import BitsSampler
from mpsearch.engine.searcher import Observation
from mpsearch.engine.stopping import Stopping
from mpsearch.engine.study import Rung
from mpsearch.methods.base import Method

__all__ = ["bits_sampler", "calibration", "spending", "uniform_candidates"]

_FEWEST = 4
"""Scores below which nothing is said of a surrogate."""


def bits_sampler(
    problem: Problem,
    tables: Sequence[Table],
    sweep: tuple[float, float],
    starts: Sequence[tuple[str, Allocation]] = (),
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
        starts: (origin, allocation) of further first proposals.
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
        starts=starts,
        losses=lambda trial: trial.user_attrs.get("losses"),
        refine=lambda number: _refines(number, stopping, refine),
        again=lambda observations: climbing and room_above(observations, rungs[1].keep),
    )


def calibration(sampler: BitsSampler, records: Sequence[Record]) -> dict[str, float]:
    """How well the surrogate predicts what the study measured, as `Calibration` gives it; empty where there is too little to tell."""
    observations = _observed(records)
    if sum(len(observation.losses) for observation in observations) < _FEWEST:
        return {}
    return sampler.searcher.surrogate(observations).calibration().to_dict()


def spending(sampler: BitsSampler, best: Record, records: Sequence[Record], costs: Mapping[str, Table] | None = None) -> Record:
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


def uniform_candidates(problem: Problem, method: Method | None = None) -> list[tuple[str, Allocation]]:
    """The uniform allocations that fit as `method` writes them and that no other fitting one tops in both weight and activation bits.

    Two kinds: the same bits everywhere, and the papers' custom of leaving the first and the last layer at the most bits on their menus.
    """
    space = problem.space
    found: dict[Allocation, str] = {}
    fitting = [choice for choice in space.choices if problem.fits(space.uniform(choice), method)]
    for choice in _topmost(fitting):
        allocation = space.uniform(choice)
        found.setdefault(allocation, f"uniform {_commonest(allocation)}")
    ends = [choice for choice in space.choices if problem.fits(_with_ends(space, choice), method)]
    for choice in _topmost(ends):
        allocation = _with_ends(space, choice)
        found.setdefault(allocation, f"uniform {_commonest(allocation)}, ends at most bits")
    return [(origin, allocation) for allocation, origin in found.items()]


def _commonest(allocation: Allocation) -> Choice:
    """What most layers take: where menus differ, not what was asked for."""
    return Counter(allocation.values()).most_common(1)[0][0]


def _topmost(choices: Sequence[Choice]) -> list[Choice]:
    def tops(a: Choice, b: Choice) -> bool:
        return a != b and a.weight_bits >= b.weight_bits and a.act_bits >= b.act_bits

    return [choice for choice in choices if not any(tops(other, choice) for other in choices)]


def _with_ends(space: ResolvedSpace, choice: Choice) -> Allocation:
    choices = dict(space.uniform(choice))
    for group in space.groups:
        if 0 in group or len(space.layers) - 1 in group:
            menu = [c for c in space.menus[group[0]] if c.weight_bits <= 8] or list(space.menus[group[0]])
            for index in group:
                choices[space.names[index]] = max(menu, key=lambda c: (c.act_bits, c.weight_bits))
    return Allocation(choices)

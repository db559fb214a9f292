"""The points of a front: where a budget is a range, a few allocations stand for it, each retrained and delivered in its own folder.

| file in `front/<name>/` | content |
|---|---|
| `bits.yaml` | the allocation |
| `model.safetensors` | the network, in the format of the study's target |
| `record.json` | its scores and costs, written last |

The dearest point is the network that the run delivers itself. The others are the best that the surrogate knows of after all trials, trained
with the recipe of that network from the same float weights, distilled from the same float network.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from mpsearch.allocate.reach import reachable
from mpsearch.config import dump_bits
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget, ranged
from mpsearch.core.errors import BudgetError, TrainingDiverged
from mpsearch.core.files import write_text
from mpsearch.core.front import representatives
from mpsearch.core.peak import CostTable
from mpsearch.core.record import Record, Trial
from mpsearch.costs.budgets import format_amount, short_amount
from mpsearch.propose.posterior import Posterior
from mpsearch.run.artifact import Retrained, retrained_once
from mpsearch.run.directory import BITS, FRONT
from mpsearch.run.ledger import Ledger
from mpsearch.run.retraining import Retraining, retrain_allocation
from mpsearch.run.setup import Setup

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["FrontPoint", "chosen_points", "front_points"]

_CHOSEN = "front.json"
_LIMITS = 24
"""Limits over a range at which the best allocation is asked for; some of their answers are the same."""
_TOP = 0.995
"""Of the dearest point; what costs more is that point."""


@dataclass(frozen=True, kw_only=True)
class FrontPoint:
    """A point of the front.

    Args:
        name: of its folder.
        retrained: its network.
    """

    name: str
    retrained: Retrained


def chosen_points(
    posterior: Posterior, costs: Mapping[str, CostTable], budgets: Sequence[Budget], records: Sequence[Record], top: Allocation, count: int
) -> list[Trial]:
    """Up to `count` − 1 allocations, the cheapest first, that stand for the front below its dearest point.

    Args:
        posterior: what the search has learned.
        costs: exact tables of the method that they are trained with.
        budgets: one is a range.
        records: all trials, whose numbers their allocations keep.
        top: the dearest point, which is trained anyhow.
        count: points of the whole front, ≥ 1.
    """
    area = ranged(budgets)
    if area is None or area.least is None:
        return []
    cost = costs[area.cost]
    dearest = cost.total(top)
    low, high = max(area.least, reachable(posterior.space, cost)[0]), min(area.limit, _TOP * dearest)
    options: dict[Allocation, None] = {}
    for limit in np.geomspace(low, high, _LIMITS).tolist() if low < high else []:
        held = [replace(budget, limit=limit) if budget is area else budget for budget in budgets]
        try:
            options[posterior.best(costs, held)] = None
        except BudgetError:  # with the other budgets, so little of this cost is out of reach
            continue
    options |= dict.fromkeys(
        record.allocation for record in records if record.status == "complete" and low <= cost.total(record.allocation) <= high
    )
    allowed = [each for each in options if all(costs[budget.cost].total(each) <= budget.limit for budget in budgets)]
    front: list[tuple[float, float, Allocation]] = []
    means = posterior.predict([*allowed, top])[0].tolist()
    for mean, allocation in sorted(zip(means, [*allowed, top], strict=True), key=lambda pair: (cost.total(pair[1]), pair[0])):
        if not front or (mean < front[-1][1] and cost.total(allocation) > front[-1][0]):
            front.append((cost.total(allocation), mean, allocation))
    if not front or front[-1][2] != top:  # something cheaper is expected to be as good: the front still ends where the run does
        front = [*(each for each in front if each[0] < dearest), (dearest, min(each[1] for each in front) - 1e-9, top)]
    amounts, losses = [each[0] for each in front], [each[1] for each in front]
    picked = [front[index][2] for index in representatives(amounts, losses, count)]
    numbers = {record.allocation: record.number for record in records}
    return [
        Trial(number=numbers.get(each, -1), origin=f"trial {numbers[each]}" if each in numbers else "solved", allocation=each)
        for each in picked
        if each != top
    ]


def front_points(
    config: StudyConfig,
    setup: Setup,
    settings: Retraining,
    ledger: Ledger,
    posterior: Posterior | None,
    records: Sequence[Record],
    top: Retrained,
) -> list[FrontPoint]:
    """The points of the front below its dearest, each retrained, the cheapest first; none where no budget is a range.

    A point whose training diverges is left out, with a line.

    Args:
        config: the study.
        setup: network and layers.
        settings: of the training.
        ledger: keeps the choice, and every network.
        posterior: what the search has learned; None without a search.
        records: all trials.
        top: the network that the run delivers.
    """
    budgets = setup.problem.budgets
    area = ranged(budgets)
    if posterior is None or area is None:
        return []
    own = top.record.allocation
    costs = setup.problem.costs_of(settings.hyper.method)
    made_from = ledger.made_from(settings.hyper.method, config.retrain.points, own.key(), [record.allocation.key() for record in records])
    trials = ledger.once(
        _CHOSEN,
        lambda: chosen_points(posterior, costs, budgets, records, own, config.retrain.points),
        made_from=made_from,
        dump=lambda found: [[trial.number, trial.origin, trial.allocation.to_dict()] for trial in found],
        load=lambda document: [
            Trial(number=int(number), origin=str(origin), allocation=setup.problem.space.check(Allocation.from_dict(bits)))
            for number, origin, bits in document
        ],
    )
    points: list[FrontPoint] = []
    for place, trial in enumerate(trials):
        name = _name(place, area.cost, costs[area.cost].total(trial.allocation))
        folder = f"{FRONT}/{name}"
        write_text(ledger.path(f"{folder}/{BITS}"), _bits(setup, trial.allocation, costs))
        train = partial(retrain_allocation, settings, f"{FRONT}-{name}", trial)
        try:
            retrained = retrained_once(
                ledger, f"{folder}/record.json", f"{folder}/{setup.target.file}", setup, train, settings.made_from(trial)
            )
        except TrainingDiverged as error:
            settings.progress.say(f"the point {name} is left out: {error}")
            continue
        points.append(FrontPoint(name=name, retrained=retrained))
    return points


def _name(place: int, cost: str, amount: float) -> str:
    """Such as `1-1.41MB`."""
    return f"{place + 1}-{short_amount(cost, amount).replace(' ', '').replace(',', '').replace('/', '_')}"


def _bits(setup: Setup, allocation: Allocation, costs: Mapping[str, CostTable]) -> str:
    size, mean = costs["size"].total(allocation), allocation.mean_weight_bits(setup.problem.space.layers)
    return f"# {format_amount('size', math.floor(size))}, {mean:.3f} mean weight bits\n{dump_bits(allocation)}"

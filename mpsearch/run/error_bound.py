"""How much of the float metric is to be kept, as a bound on the validation error, and the budgets that a search for it has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mpsearch.allocate.reach import reachable
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError, UsageError
from mpsearch.core.peak import CostTable
from mpsearch.core.record import Record, Score
from mpsearch.core.space import ResolvedSpace
from mpsearch.costs.budgets import format_amount
from mpsearch.propose.threshold import Bound
from mpsearch.report.wording import is_fraction

if TYPE_CHECKING:
    from mpsearch.config.keep import KeepConfig

__all__ = ["bound_of", "error_within", "least_kept", "metric_of", "rises", "search_budgets"]

_ROUNDING = 1e-9


def rises(score: Score) -> bool:
    """Whether the metric rises where the error falls: every task's error is its metric, its opposite, or one minus it."""
    return abs(score.metric + score.error - 1) < _ROUNDING or abs(score.metric - score.error) >= _ROUNDING


def error_within(reference: Score, metric: str, rising: bool, *, share: float | None = None, drop: float | None = None) -> float:
    """The largest error that keeps a share of the float metric, or loses no more than `drop` of it.

    Args:
        reference: of the float network.
        metric: its name.
        rising: whether it is better when higher.
        share: between 0 and 1; of a metric that is better when lower, it may be that much larger.
        drop: in points of a metric that is a fraction, else in its unit.

    Raises:
        UsageError: a share of a float metric that is not above zero.
    """
    if share is None:
        return reference.error + (drop or 0.0) / (100 if is_fraction(metric) else 1)
    if reference.metric <= 0:
        raise UsageError(f"a share of a {metric} of {reference.metric:g} says nothing; ask by --max-drop")
    return reference.error + (reference.metric * (1 - share) if rising else reference.metric * (1 / share - 1))


def metric_of(error: float, reference: Score, rising: bool) -> float:
    """The metric that goes with an error."""
    change = error - reference.error
    return reference.metric + (-change if rising else change)


def bound_of(keep: KeepConfig, reference: Score, metric: str, samples: int) -> Bound:
    """What the trials of a search have to hold.

    Args:
        keep: as it was asked for.
        reference: of the float network on validation.
        metric: its name.
        samples: of the validation split.

    Raises:
        UsageError: see `error_within`.
    """
    error = error_within(reference, metric, rises(reference), share=keep.share, drop=keep.drop)
    counted = abs(reference.metric + reference.error - 1) < _ROUNDING
    step = 1.0 / samples if counted else 1e-6 * max(abs(error), abs(reference.error), _ROUNDING)
    return Bound(cost=keep.cost, error=error, reference=(reference.loss, reference.error), resolution=step)


def search_budgets(
    limits: Sequence[Budget], keep: KeepConfig | None, space: ResolvedSpace, costs: Mapping[str, CostTable]
) -> tuple[Budget, ...]:
    """The budgets of a search: those given and, where the cheapest network is looked for, all that its cost can come to.

    Raises:
        BudgetError: the cost was not computed.
    """
    if keep is None or any(limit.cost == keep.cost for limit in limits):
        return tuple(limits)
    if keep.cost not in costs:
        raise BudgetError(f"the cost '{keep.cost}', which is to be small, is none of {', '.join(costs)}; see `mpsearch list costs`")
    most = reachable(space, costs[keep.cost])[1]
    return (*limits, Budget(keep.cost, most, format_amount(keep.cost, most)))


def least_kept(records: Sequence[Record], bound: Bound) -> Record | None:
    """The trial of least cost whose error is within the bound at the deepest rung that any reached; None if there is none."""
    fitting = [record for record in records if record.feasible and record.status == "complete"]
    deepest = max((len(record.scores) for record in fitting), default=0)
    held = [record for record in fitting if len(record.scores) == deepest and math.isfinite(record.score.loss)]
    held = [record for record in held if bound.holds(record.score.error)]
    return min(held, key=lambda record: (record.costs[bound.cost], record.score.error, record.number), default=None)

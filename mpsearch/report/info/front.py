"""Numbers of the front: metric against cost of every trial, the trials nothing beats, the references and the budget."""

from __future__ import annotations

from dataclasses import dataclass

from mpsearch.core.budget import Budget
from mpsearch.core.record import pareto_front
from mpsearch.core.summary import Summary
from mpsearch.costs.budgets import format_amount
from mpsearch.report.info.points import Point, close_up, completed, drawn, drawn_text, higher_is_better, point, rung_order
from mpsearch.report.wording import metric_text

__all__ = ["FrontInfo", "front_costs", "front_info"]

_LOG_FROM = 8.0


@dataclass(frozen=True, kw_only=True)
class FrontInfo:
    """One front picture.

    Args:
        cost: name of the cost on the horizontal axis.
        metric: name of the metric on the vertical axis (validation split).
        rungs: rungs of the trials, shallowest first.
        points: all scored trials, by trial number; of thousands, those that are drawn.
        front: the trials no other trial beats in cost and error, cheapest first.
        float_metric: validation metric of the float network.
        uniform: the best uniform allocation that fits, retrained.
        winner: the retrained winner.
        points_of_front: (name, point) of the other networks of a front that were retrained, the cheapest first.
        budget: on this cost; `None` if there is none.
        span: (smallest, largest) amount of anything in the picture, the budget included.
        log_axis: whether the amounts span enough for a logarithmic axis.
        view: (low, high) of the metric in the close-up: the references and the trials beyond the first rung.
        hidden: how many trials lie outside the close-up.
        finding: one sentence that says what is seen.
    """

    cost: str
    metric: str
    rungs: tuple[str, ...]
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    float_metric: float
    uniform: Point | None
    winner: Point
    points_of_front: tuple[tuple[str, Point], ...] = ()
    budget: Budget | None
    span: tuple[float, float]
    log_axis: bool
    view: tuple[float, float]
    hidden: int
    finding: str


def front_costs(summary: Summary) -> tuple[str, ...]:
    """Costs with a figure of their own: `size`, then every other cost with a budget."""
    return tuple(dict.fromkeys(["size", *(budget.cost for budget in summary.budgets)]))


def front_info(summary: Summary, *, cost: str = "size") -> FrontInfo:
    """Numbers of the front against one cost."""
    trials = completed(summary.trials)
    best = pareto_front(trials, cost=cost)
    points = tuple(point(record, cost) for record in drawn(trials, best))
    front = tuple(point(record, cost) for record in drawn(best))
    winner = point(summary.winner, cost)
    uniform = None if summary.uniform is None else point(summary.uniform, cost)
    trained = tuple((each.name, point(each.record, cost)) for each in summary.front)
    references = [winner, *(p for _, p in trained)] + ([] if uniform is None else [uniform])
    reference = summary.reference.scores["validation"]
    budget = next((budget for budget in summary.budgets if budget.cost == cost), None)
    amounts = [p.amount for p in (*points, *references)] + ([budget.limit] if budget else [])
    low, high = min(amounts), max(amounts)
    rungs = rung_order(p.rung for p in points)
    up = higher_is_better([*points, *references, reference])
    view, hidden = close_up(points, rungs, [*(p.metric for p in references), reference.metric], up)
    return FrontInfo(
        cost=cost,
        metric=summary.metric,
        rungs=rungs,
        points=points,
        front=front,
        float_metric=reference.metric,
        uniform=uniform,
        winner=winner,
        points_of_front=trained,
        budget=budget,
        span=(low, high),
        log_axis=low > 0 and high / low >= _LOG_FROM,
        view=view,
        hidden=hidden,
        finding=_finding(summary.metric, cost, len(trials), len(best), winner) + drawn_text(len(points), len(trials)),
    )


def _finding(metric: str, cost: str, scored: int, best: int, winner: Point) -> str:
    trials = f"{scored} trial{'s' if scored != 1 else ''}, {best} on the front"
    trained = "The retrained winner" if winner.rung == "full" else "The winner, calibrated only"
    return f"{trained}: {metric_text(metric, winner.metric)} at {format_amount(cost, winner.amount)}. {trials}."

"""Numbers of the front: metric against cost of every trial, the trials nothing beats, the references and the budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mpsearch.core.record import pareto_front
from mpsearch.core.summary import Summary
from mpsearch.report.info.points import Point, close_up, final_score, higher_is_better, point, rung_order
from mpsearch.report.wording import amount_text, metric_text

__all__ = ["FrontInfo", "front_costs", "front_info"]

_LOG_FROM = 8.0


@dataclass(frozen=True, kw_only=True)
class FrontInfo:
    """One front picture.

    Args:
        cost: name of the cost on the horizontal axis.
        metric: name of the metric on the vertical axis (validation split).
        higher_is_better: direction of the metric.
        rungs: rungs of the trials, shallowest first.
        points: all scored trials, by trial number.
        front: the trials no other trial beats in cost and error, cheapest first.
        float_metric: validation metric of the float network.
        float_amount: its cost.
        uniform: the best uniform allocation that fits, retrained.
        winner: the retrained winner.
        limit: budget on this cost, in its unit; `None` if there is none.
        limit_text: the budget as the user wrote it.
        log_axis: whether the amounts span enough for a logarithmic axis.
        view: (low, high) of the metric in the close-up: the references and the trials beyond the first rung.
        hidden: how many trials lie outside the close-up.
        finding: one sentence that says what is seen.
        empty: why there is nothing to draw, or "".
    """

    cost: str
    metric: str
    higher_is_better: bool
    rungs: tuple[str, ...]
    points: tuple[Point, ...]
    front: tuple[Point, ...]
    float_metric: float | None
    float_amount: float | None
    uniform: Point | None
    winner: Point | None
    limit: float | None
    limit_text: str
    log_axis: bool
    view: tuple[float, float]
    hidden: int
    finding: str
    empty: str


def front_costs(summary: Summary) -> tuple[str, ...]:
    """Costs with a figure of their own: `size`, then every other cost with a budget."""
    return tuple(dict.fromkeys(["size", *(budget.cost for budget in summary.budgets)]))


def front_info(summary: Summary, *, cost: str = "size") -> FrontInfo:
    """Numbers of the front against one cost."""
    scored = [record for record in summary.trials if final_score(record) is not None and cost in record.costs]
    points = tuple(p for record in sorted(scored, key=lambda record: record.number) if (p := point(record, cost)) is not None)
    front = tuple(p for record in pareto_front(scored, cost=cost) if (p := point(record, cost)) is not None)
    winner, uniform = point(summary.winner, cost), point(summary.uniform, cost)
    reference = summary.reference.scores.get("validation")
    scores = [score for record in (*scored, summary.winner, summary.uniform) if (score := final_score(record)) is not None]
    up = higher_is_better(scores if reference is None else [*scores, reference])
    budget = next((budget for budget in summary.budgets if budget.cost == cost), None)
    drawn = [*points, *(p for p in (winner, uniform) if p is not None)]
    amounts = [p.amount for p in drawn] + ([budget.limit] if budget else [])
    float_metric = None if reference is None else reference.metric
    rungs = rung_order(p.rung for p in points)
    anchors = [p.metric for p in (winner, uniform) if p is not None] + ([] if float_metric is None else [float_metric])
    view, hidden = close_up(points, rungs, anchors, up)
    return FrontInfo(
        cost=cost,
        metric=summary.metric,
        higher_is_better=up,
        rungs=rungs,
        points=points,
        front=front,
        float_metric=float_metric,
        float_amount=summary.reference.costs.get(cost),
        uniform=uniform,
        winner=winner,
        limit=None if budget is None else budget.limit,
        limit_text="" if budget is None else budget.text,
        log_axis=bool(amounts) and min(amounts) > 0 and max(amounts) / min(amounts) >= _LOG_FROM,
        view=view,
        hidden=hidden,
        finding=_finding(summary, cost, points, front, winner) if drawn else "",
        empty="" if drawn else _reason(summary, cost),
    )


def _finding(summary: Summary, cost: str, points: Sequence[Point], front: Sequence[Point], winner: Point | None) -> str:
    trials = f"{len(points)} trial{'s' if len(points) != 1 else ''}, {len(front)} on the front"
    if winner is None:
        return f"{trials}."
    trained = "The retrained winner" if winner.rung == "full" else "The winner, calibrated only"
    return f"{trained}: {metric_text(summary.metric, winner.metric)} at {amount_text(cost, winner.amount)}. {trials}."


def _reason(summary: Summary, cost: str) -> str:
    if not summary.trials:
        return "No trial was run, so there is no front yet."
    failed = sum(record.status != "complete" for record in summary.trials)
    if failed == len(summary.trials):
        return f"All {failed} trials failed; the first says: {summary.trials[0].note or 'nothing'}."
    return f"No trial has a score together with an amount of {cost}."

"""Numbers of the study's history: every trial in order, and the best feasible one so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mpsearch.core.summary import Summary
from mpsearch.report.info.points import Point, close_up, completed, higher_is_better, point, rung_order
from mpsearch.report.wording import metric_text

__all__ = ["HistoryInfo", "history_info"]


@dataclass(frozen=True, kw_only=True)
class HistoryInfo:
    """The study, trial by trial.

    Args:
        metric: name of the metric.
        rungs: that occur, shallowest first.
        points: all scored trials, by number.
        best: the feasible trial of least error so far, one entry each time it improves.
        failed: (number, note) of trials that failed.
        view: (low, high) of the metric in the close-up.
        hidden: how many trials lie outside the close-up.
        finding: one sentence that says what is seen.
        empty: why there is nothing to draw, or "".
    """

    metric: str
    rungs: tuple[str, ...]
    points: tuple[Point, ...]
    best: tuple[Point, ...]
    failed: tuple[tuple[int, str], ...]
    view: tuple[float, float]
    hidden: int
    finding: str
    empty: str


def history_info(summary: Summary) -> HistoryInfo:
    """Numbers of the study's history."""
    points = tuple(map(point, completed(summary.trials)))
    best: list[Point] = []
    for p in points:
        if p.feasible and (not best or (p.error, p.loss) < (best[-1].error, best[-1].loss)):
            best.append(p)
    failed = tuple((record.number, record.note) for record in summary.trials if record.status != "complete")
    rungs = rung_order(p.rung for p in points)
    view, hidden = close_up(points, rungs, [best[-1].metric] if best else [], higher_is_better(points))
    return HistoryInfo(
        metric=summary.metric,
        rungs=rungs,
        points=points,
        best=tuple(best),
        failed=failed,
        view=view,
        hidden=hidden,
        finding=" ".join(filter(None, [_finding(summary.metric, points, best, len(failed)), _trust(summary.surrogate)])),
        empty="" if points else ("All trials failed." if failed else "No trial was run."),
    )


def _trust(surrogate: Mapping[str, float]) -> str:
    """How well the surrogate predicted the scores."""
    if not surrogate:
        return ""
    return (
        f"The surrogate predicts each of {surrogate['count']:.0f} scores from the others: "
        f"Spearman \u03c1 = {surrogate['correlation']:.2f}; "
        f"{surrogate['covered50']:.0%} of the scores lie in its 50% intervals, {surrogate['covered90']:.0%} in its 90% intervals."
    ).replace("-", "\u2212")


def _finding(metric: str, points: tuple[Point, ...], best: list[Point], failed: int) -> str:
    if not points:
        return ""
    ending = f" {failed} failed." if failed else ""
    if not best:
        return f"None of the {len(points)} trials meets every budget.{ending}"
    top = best[-1]
    score = metric_text(metric, top.metric)
    return f"Best of {len(points)} trials within the budget: {score}, trial {top.number}, proposed by {top.origin}.{ending}"

"""Numbers of the study's history: every trial in order, and the best feasible one so far."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mpsearch.core.record import Record
from mpsearch.core.summary import Summary
from mpsearch.report.info.points import Point, close_up, completed, drawn, drawn_text, higher_is_better, point, rung_order
from mpsearch.report.wording import metric_text

__all__ = ["HistoryInfo", "history_info"]

_LONGEST_NOTE = 500


@dataclass(frozen=True, kw_only=True)
class HistoryInfo:
    """The study, trial by trial.

    Args:
        metric: name of the metric.
        rungs: that occur, shallowest first.
        points: all scored trials, by number; of thousands, those that are drawn.
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
    trials = completed(summary.trials)
    best: list[Record] = []
    for record in trials:
        if record.feasible and (not best or (record.score.error, record.score.loss) < (best[-1].score.error, best[-1].score.loss)):
            best.append(record)
    points, steps = tuple(map(point, drawn(trials, best))), tuple(map(point, drawn(best)))
    failed = tuple((record.number, record.note[:_LONGEST_NOTE]) for record in summary.trials if record.status != "complete")
    rungs = rung_order(p.rung for p in points)
    view, hidden = close_up(points, rungs, [best[-1].score.metric] if best else [], higher_is_better(points))
    finding = _finding(summary.metric, len(trials), best, len(failed)) + drawn_text(len(points), len(trials))
    return HistoryInfo(
        metric=summary.metric,
        rungs=rungs,
        points=points,
        best=steps,
        failed=drawn(failed),
        view=view,
        hidden=hidden,
        finding=" ".join(filter(None, [finding, _trust(summary.surrogate)])),
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


def _finding(metric: str, scored: int, best: Sequence[Record], failed: int) -> str:
    if not scored:
        return ""
    ending = f" {failed} failed." if failed else ""
    if not best:
        return f"None of the {scored} trials meets every budget.{ending}"
    top = best[-1]
    score = metric_text(metric, top.score.metric)
    return f"Best of {scored} trials within the budget: {score}, trial {top.number}, proposed by {top.origin}.{ending}"

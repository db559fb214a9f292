"""Numbers of the explorer: every network of one run or several that a reader can pick, and the fronts and knees of the runs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import UsageError
from mpsearch.core.front import knee
from mpsearch.core.record import Record, Score, pareto_front
from mpsearch.core.summary import Summary
from mpsearch.report.info.points import close_up, completed, drawn, higher_is_better, point, rung_order, trained_rung

__all__ = ["Command", "CostAxis", "Expected", "ExplorerInfo", "Mark", "RunDetails", "ShownRun", "check_metrics", "explorer_info"]

_MOST_CHOICES = 2_000_000
"""Choices of layers in a page: trials times layers."""
_LOG_FROM = 8.0
_MARGIN = 0.05


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the surrogate of a run expects of an allocation after all trials.

    Args:
        metric: expected of a trial at the deepest rung.
        low: lower end of the interval that holds a measurement with a probability of 90 %.
        high: its upper end.
        rung: the deepest rung.
    """

    metric: float
    low: float
    high: float
    rung: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command line, and what it does."""

    text: str
    purpose: str


@dataclass(frozen=True, kw_only=True)
class RunDetails:
    """What a run directory tells beyond the summary.

    Args:
        expected: by allocation; empty without a search.
        commands: by allocation, in the order in which they are to be given.
        missing: why nothing is told; empty if something is.
    """

    expected: Mapping[Allocation, Expected] = field(default_factory=dict)
    commands: Mapping[Allocation, tuple[Command, ...]] = field(default_factory=dict)
    missing: str = ""


@dataclass(frozen=True, kw_only=True)
class ShownRun:
    """A run in a picture.

    Args:
        name: in the legend, different from that of other runs.
        summary: its results.
        details: what its directory tells besides.
    """

    name: str
    summary: Summary
    details: RunDetails = RunDetails()


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A network in the picture.

    Args:
        id: of the mark, different from all others.
        run: index of its run.
        name: `trial 7`, `winner`, `best uniform`, …
        kind: `trial`, `winner`, `uniform`, `searched` or `front`.
        rung: the deepest rung that trained it; `ptq` for a delivered network that was only calibrated.
        record: its scores, costs and bits.
        test: score on the test split, if it was read for this network.
        fits: whether every budget holds.
    """

    id: str
    run: int
    name: str
    kind: str
    rung: str
    record: Record
    test: Score | None = None
    fits: bool = True


@dataclass(frozen=True, kw_only=True)
class CostAxis:
    """A horizontal axis.

    Args:
        name: of the cost.
        low: smallest amount of the axis, with a margin.
        high: its largest.
        log: whether it is logarithmic.
        fronts: for each run the ids of the trials that no other beats in cost and error, cheapest first.
        knees: for each run the id at the knee of its front; None where a front has fewer than three points.
    """

    name: str
    low: float
    high: float
    log: bool
    fronts: tuple[tuple[str, ...], ...]
    knees: tuple[str | None, ...]


@dataclass(frozen=True, kw_only=True)
class ExplorerInfo:
    """One picture of fronts.

    Args:
        metric: name of the metric, the same in all runs.
        runs: at least one.
        marks: trials by number, then what was retrained, run by run; of thousands of trials, those that are drawn.
        axes: costs that all marks have, `size` first, then those with a budget.
        rungs: of the trials, shallowest first.
        view: (low, high) of the metric in the close-up.
        everything: (low, high) of the metric of all marks.
        hidden: how many marks lie outside the close-up.
        first: id of the mark that is shown first: the winner of the first run.
    """

    metric: str
    runs: tuple[ShownRun, ...]
    marks: tuple[Mark, ...]
    axes: tuple[CostAxis, ...]
    rungs: tuple[str, ...]
    view: tuple[float, float]
    everything: tuple[float, float]
    hidden: int
    first: str


def explorer_info(runs: Sequence[ShownRun]) -> ExplorerInfo:
    """Numbers of the explorer.

    Args:
        runs: one or more, of one metric.

    Raises:
        UsageError: the runs have different metrics.
    """
    check_metrics([run.name for run in runs], [run.summary.metric for run in runs])
    most = max(1, _MOST_CHOICES // sum(len(run.summary.layers) for run in runs) // len(runs))
    marks: list[Mark] = []
    fronts: dict[str, list[tuple[str, ...]]] = {}
    bends: dict[str, list[str | None]] = {}
    costs = _costs([run.summary for run in runs])
    for place, run in enumerate(runs):
        trials = completed(run.summary.trials)
        best = {cost: pareto_front(trials, cost=cost) for cost in costs}
        kept = list({id(record): record for cost in costs for record in drawn(best[cost], most=most)}.values())
        shown = drawn(trials, kept, most=most)
        marks += [_trial(place, record) for record in shown]
        marks += _ended(place, run.summary)
        there = {id(record) for record in shown}
        for cost in costs:
            front = [record for record in best[cost] if id(record) in there]
            fronts.setdefault(cost, []).append(tuple(_id(place, f"trial {record.number}") for record in front))
            bends.setdefault(cost, []).append(_knee(place, front, cost))
    floats = [run.summary.reference.scores["validation"].metric for run in runs]
    rungs = rung_order(mark.rung for mark in marks if mark.kind == "trial")
    scored = [point(mark.record) for mark in marks]
    trial_points = [each for each, mark in zip(scored, marks, strict=True) if mark.kind == "trial"]
    anchors = [*floats, *(mark.record.score.metric for mark in marks if mark.kind != "trial")]
    up = higher_is_better([*scored, *(run.summary.reference.scores["validation"] for run in runs)])
    view, hidden = close_up(trial_points, rungs, anchors, up)
    metrics_shown = [*anchors, *(each.metric for each in trial_points)]
    margin = _MARGIN * (max(metrics_shown) - min(metrics_shown)) or 0.05
    return ExplorerInfo(
        metric=runs[0].summary.metric,
        runs=tuple(runs),
        marks=tuple(marks),
        axes=tuple(_axis(cost, marks, runs, tuple(fronts[cost]), tuple(bends[cost])) for cost in costs),
        rungs=rungs,
        view=view,
        everything=(min(metrics_shown) - margin, max(metrics_shown) + margin),
        hidden=hidden,
        first=_id(0, "winner"),
    )


def check_metrics(names: Sequence[str], metrics: Sequence[str]) -> None:
    """Check that runs can share an axis.

    Args:
        names: of the runs.
        metrics: of the runs.

    Raises:
        UsageError: they measure different metrics.
    """
    first = {metric: name for name, metric in reversed(list(zip(names, metrics, strict=True)))}
    if len(first) > 1:
        told = " and ".join(f"'{metric}' ({name})" for metric, name in sorted(first.items()))
        raise UsageError(f"these runs measure {told}, which cannot share an axis; plot runs of one metric")


def _id(run: int, name: str) -> str:
    return f"{run}:{name}"


def _trial(run: int, record: Record) -> Mark:
    name = f"trial {record.number}"
    return Mark(id=_id(run, name), run=run, name=name, kind="trial", rung=record.rung, record=record, fits=record.feasible)


def _ended(run: int, summary: Summary) -> Iterator[Mark]:
    """What was retrained."""
    ended = {
        "best uniform": ("uniform", summary.uniform, "uniform"),
        "best uniform, budget spent": ("uniform", summary.uniform_spent, "uniform_spent"),
        "search's own": ("searched", summary.searched, "searched"),
        **{f"front/{each.name}": ("front", each.record, f"front/{each.name}") for each in summary.front},
        "winner": ("winner", summary.winner, "winner"),
    }
    for name, (kind, record, key) in ended.items():
        if record is not None:
            rung = trained_rung(record)
            test = summary.test.get(key)
            yield Mark(id=_id(run, name), run=run, name=name, kind=kind, rung=rung, record=record, test=test, fits=record.feasible)


def _costs(summaries: Sequence[Summary]) -> list[str]:
    """Costs of all records that can be a mark, `size` first."""
    records = [record for summary in summaries for record in completed(summary.trials)]
    records += [mark.record for summary in summaries for mark in _ended(0, summary)]
    wanted = ["size", *(budget.cost for summary in summaries for budget in summary.budgets), *records[0].costs]
    return [name for name in dict.fromkeys(wanted) if all(math.isfinite(record.costs.get(name, math.nan)) for record in records)]


def _knee(run: int, front: Sequence[Record], cost: str) -> str | None:
    steps = [record for place, record in enumerate(front) if place == 0 or record.score.error < front[place - 1].score.error]
    steps = [record for place, record in enumerate(steps) if place == 0 or record.costs[cost] > steps[place - 1].costs[cost]]
    if len(steps) < 3:
        return None
    bend = knee([record.costs[cost] for record in steps], [record.score.error for record in steps])
    return _id(run, f"trial {steps[bend].number}")


def _axis(
    cost: str, marks: Sequence[Mark], runs: Sequence[ShownRun], fronts: tuple[tuple[str, ...], ...], knees: tuple[str | None, ...]
) -> CostAxis:
    limits = [budget.limit for run in runs for budget in run.summary.budgets if budget.cost == cost]
    amounts = [*(float(mark.record.costs[cost]) for mark in marks), *limits]
    low, high = min(amounts), max(amounts)
    log = low > 0 and high / low >= _LOG_FROM
    if log:
        factor = (high / low) ** _MARGIN
        low, high = low / factor, high * factor
    else:
        margin = _MARGIN * (high - low) or 0.05 * abs(high) or 1.0
        low, high = low - margin, high + margin
    return CostAxis(name=cost, low=low, high=high, log=log, fronts=fronts, knees=knees)

"""`Finished`: a run that has ended, as questions about it need it; and `Point`, what answers them.

The metric of a point rests on what its basis says: `retrained`, in full; `trained`, in a trial; `calibrated`; or `predicted`, by the
surrogate as if for a trial at the deepest rung. Retraining normally improves on the last three.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from mpsearch.allocate.program import admitted
from mpsearch.core.allocation import Allocation
from mpsearch.core.budget import Budget
from mpsearch.core.errors import BudgetError, RunDirectoryError
from mpsearch.core.files import is_file
from mpsearch.core.peak import CostTable
from mpsearch.core.record import Record, Score
from mpsearch.core.summary import Summary
from mpsearch.run.directory import FRONT
from mpsearch.run.export import finished_run
from mpsearch.run.kept_space import KeptSpace, kept_space

__all__ = ["BASES", "Basis", "Finished", "Point", "checked_with_space", "open_finished"]

Basis = Literal["retrained", "trained", "calibrated", "predicted"]
BASES: tuple[Basis, ...] = ("retrained", "trained", "calibrated", "predicted")
"""From the most solid to the least."""
_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Point:
    """A point of a run.

    Args:
        allocation: its bits.
        name: `winner`, `trial 7`, `best uniform`, or `solved`.
        basis: what the metric rests on.
        costs: exact amounts by cost name; `size` is that of the file.
        metric: validation metric: measured, or expected if it is predicted.
        interval: (lower, upper) metric that holds a measurement with a probability of 90 %; None if it is measured.
        error: of the metric; lower is better.
        rung: of the score; of a prediction, the rung that it is for.
        file: the trained network, if the run has kept it.
        params: hyperparameters that its retraining takes.
        notes: what else is to be known, one sentence each.
    """

    allocation: Allocation
    name: str
    basis: Basis
    costs: Mapping[str, float]
    metric: float
    interval: tuple[float, float] | None = None
    error: float
    rung: str
    file: Path | None = None
    params: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def open_finished(run_dir: Path) -> Finished:
    """A run that has ended.

    Raises:
        RunDirectoryError: the folder holds no finished run, or one that was damaged or forged.
    """
    summary, _ = finished_run(run_dir)
    return checked_with_space(run_dir, summary)


def checked_with_space(run_dir: Path, summary: Summary) -> Finished:
    """A run whose summary is at hand.

    Raises:
        RunDirectoryError: the folder holds no space, or one that is not of this summary.
    """
    kept = kept_space(run_dir)
    if summary.layers != kept.space.layers:
        raise RunDirectoryError(
            f"{run_dir} holds the summary of one run and the space of another; run the study again, which makes both anew"
        )
    for record in _records(summary):
        kept.space.check(record.allocation)
    return Finished(run_dir=run_dir, summary=summary, kept=kept)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A run that has ended.

    Args:
        run_dir: its folder.
        summary: its results.
        kept: its space and costs.
    """

    run_dir: Path
    summary: Summary
    kept: KeptSpace

    @cached_property
    def measured(self) -> tuple[Point, ...]:
        """Every network that the run has scored, the most solid score of each allocation."""
        found: dict[Allocation, Point] = {}
        for name, record in _ended(self.summary):
            found.setdefault(
                record.allocation, self._point(name, record, "retrained" if record.curve and not record.note else "calibrated")
            )
        done = [record for record in self.summary.trials if record.status == "complete" and math.isfinite(record.score.loss)]
        for record in sorted(done, key=lambda record: (-len(record.scores), record.score.error, record.number)):
            found.setdefault(record.allocation, self._point(f"trial {record.number}", record, "trained" if record.curve else "calibrated"))
        return tuple(found.values())

    @property
    def searched(self) -> bool:
        """Whether it had trials."""
        return any(record.scores for record in self.summary.trials)

    @property
    def reference(self) -> Score:
        """Of the float network, on validation."""
        return self.summary.reference.scores["validation"]

    @cached_property
    def exact(self) -> Mapping[str, CostTable]:
        """What choices cost with the method that the run retrains with."""
        return self.kept.costs(exact=True)

    @cached_property
    def rising(self) -> bool:
        """Whether the metric rises where the error falls."""
        float_network = self.reference
        return sum((point.error - float_network.error) * (point.metric - float_network.metric) for point in self.measured) <= 0

    def metric(self, error: float) -> float:
        """The metric of an error: every task's error is its metric, its opposite, or one minus it."""
        if abs(self.reference.metric + self.reference.error - 1) < _ROUNDING:
            error = min(error, 1.0)
        change = error - self.reference.error
        return self.reference.metric + (-change if self.rising else change)

    def with_others(self, budgets: Sequence[Budget], *also: str) -> tuple[Budget, ...]:
        """The budgets, and those of the run on other costs than these and `also`."""
        asked = {*also, *(budget.cost for budget in budgets)}
        return (*budgets, *(budget for budget in self.summary.budgets if budget.cost not in asked))

    def meets(self, point: Point, budgets: Sequence[Budget]) -> bool:
        """Whether every budget holds for a point."""
        return all(point.costs[budget.cost] <= admitted(budget, self.exact[budget.cost]) for budget in budgets)

    def check_costs(self, *names: str) -> None:
        """Check that the run has counted these costs.

        Raises:
            BudgetError: it has not.
        """
        for name in names:
            if name not in self.exact:
                raise BudgetError(f"{self.run_dir} did not count the cost '{name}'; it counted {', '.join(self.exact)}")

    def _point(self, name: str, record: Record, basis: Basis) -> Point:
        params = record.params or self.summary.mixed.params
        costs = {cost: table.total(record.allocation) for cost, table in self.exact.items()}
        if record.params:  # with a method of its own
            costs.update(record.costs)
        file = None if record.rung != "full" else self._file(name)
        return Point(
            allocation=record.allocation,
            name=name,
            basis=basis,
            costs=costs,
            metric=record.score.metric,
            error=record.score.error,
            rung=record.rung,
            file=file,
            params=params,
        )

    def _file(self, name: str) -> Path | None:
        suffix = Path(self.summary.artifact).suffix
        files = {
            "winner": self.summary.artifact,
            "best uniform": f"uniform{suffix}",
            "best uniform, budget spent": f"uniform_spent{suffix}",
        }
        if name.startswith(f"{FRONT}/"):
            path = self.run_dir / name / self.summary.artifact
            return path if is_file(path) else None
        path = self.run_dir / files.get(name, f"winner{suffix}")
        return path if is_file(path) else None


def _ended(summary: Summary) -> Iterator[tuple[str, Record]]:
    """(name, record) of the networks that the run has retrained."""
    yield "winner", summary.winner
    others = {"search's own": summary.searched, "best uniform": summary.uniform, "best uniform, budget spent": summary.uniform_spent}
    yield from ((name, record) for name, record in others.items() if record is not None)
    yield from ((f"{FRONT}/{point.name}", point.record) for point in summary.front)


def _records(summary: Summary) -> Iterator[Record]:
    yield from summary.trials
    yield from (record for _, record in _ended(summary))

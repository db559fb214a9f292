"""The sensitivity signals of a study, each stored as soon as it is computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mpsearch.core.json_data import json_data
from mpsearch.core.pass_counts import LabelReader, count
from mpsearch.core.progress import Progress
from mpsearch.core.summary import table_from_dict
from mpsearch.core.table import Table
from mpsearch.propose.learned_allocations import affordable_bits
from mpsearch.run.mixing import MeasuredAllocation, combined
from mpsearch.signals import SIGNALS, compute_signal
from mpsearch.signals.base import Partial
from mpsearch.trials.problem import Problem

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["SignalResults", "by_dependence", "compute_signals", "prior_tables"]


@dataclass(frozen=True, kw_only=True)
class SignalResults:
    """The complete or partial signals of a study.

    Args:
        tables: one per signal; in a complete result those that combine others come first.
        measured: random allocations with losses, to which combining signals are fitted.
    """

    tables: tuple[Table, ...] = ()
    measured: tuple[MeasuredAllocation, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """JSON data."""
        return dict(json_data(self))

    @classmethod
    def from_dict(cls, document: Mapping[str, Any]) -> SignalResults:
        """Inverse of `to_dict`."""
        return cls(
            tables=tuple(table_from_dict(table) for table in document["tables"]),
            measured=tuple(MeasuredAllocation.from_dict(each) for each in document["measured"]),
        )


_NONE = SignalResults()


def by_dependence(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """(independent signals, signals that combine others)."""
    return [name for name in names if not SIGNALS[name].combines], [name for name in names if SIGNALS[name].combines]


def prior_tables(tables: Sequence[Table]) -> list[Table]:
    """The tables for the prior of the search: those that combine others; all if there are none."""
    _, combining = by_dependence([table.name for table in tables])
    return [table for table in tables if table.name in combining] or list(tables)


def compute_signals(
    config: StudyConfig,
    problem: Problem,
    progress: Progress,
    *,
    held: SignalResults = _NONE,
    keep: Callable[[SignalResults], None] = lambda results: None,
    partial: Callable[[str], Partial] = lambda name: Partial(),
) -> SignalResults:
    """Compute the signals that a study names.

    Args:
        config: the study.
        problem: network, data, space and budgets.
        progress: gets a bar per signal, and a line for a signal that cannot be computed.
        held: results of an interrupted computation.
        keep: called with the results after every signal and every measurement.
        partial: name of a signal → what keeps its parts as they come.
    """
    independent, combining = by_dependence(config.signals.names)
    done = {table.name: table for table in held.tables if table.name in independent}
    measured = {each.allocation: each for each in held.measured}

    def keep_all() -> None:
        keep(SignalResults(tables=tuple(done.values()), measured=tuple(measured.values())))

    for name in independent:
        if name not in done:
            done[name] = _computed(name, config, problem, progress, partial(name))
            keep_all()
    tables = [done[name] for name in independent]
    for name in combining:
        tables = combined(name, config, problem, tables, measured, keep_all, progress) + tables
    return SignalResults(tables=tuple(tables), measured=tuple(measured.values()))


def _computed(name: str, config: StudyConfig, problem: Problem, progress: Progress, partial: Partial) -> Table:
    labels = LabelReader(problem.task.loss)
    with progress.phase(f"signal {name}", 1) as bar:
        inputs = replace(
            problem.signal_inputs(config.signals.images, config.signals.batch_size),
            task=replace(problem.task, loss=labels),
            progress=bar.update,
            partial=partial,
            target_bits=affordable_bits(problem.space, problem.costs, problem.budgets),
        )
        table = compute_signal(name, inputs)
    count(backward=round(table.cost.get("backwards", 0.0) * table.cost.get("images", 0.0)))
    return replace(table, cost={**table.cost, "labels": float(labels.read)})

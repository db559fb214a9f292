"""The first stage of a run: signals and initial allocations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mpsearch.core.allocation import Allocation
from mpsearch.core.progress import Progress
from mpsearch.core.table import Table
from mpsearch.propose.learned_allocations import learned_allocations
from mpsearch.run.ledger import Ledger
from mpsearch.run.sensitivity import SignalResults, compute_signals
from mpsearch.run.setup import Setup

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["Prepared", "prepare"]

_PREPARED = "prepared.json"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The inputs of the trials.

    Args:
        setup: network, data and search problem.
        tables: the signals; those that combine others come first.
        initial: (origin, allocation) learned by signals with their own training; proposed among the first trials.
    """

    setup: Setup
    tables: tuple[Table, ...] = ()
    initial: tuple[tuple[str, Allocation], ...] = ()


@dataclass(frozen=True, kw_only=True)
class _File:
    """Content of `prepared.json`; `initial` is None while signals are being computed."""

    signals: SignalResults
    initial: tuple[tuple[str, Allocation], ...] | None = None

    def to_dict(self) -> dict[str, Any]:
        initial = None if self.initial is None else [[origin, allocation.to_dict()] for origin, allocation in self.initial]
        return {"signals": self.signals.to_dict(), "initial": initial}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> _File:
        initial = plain["initial"]
        return cls(
            signals=SignalResults.from_dict(plain["signals"]),
            initial=None if initial is None else tuple((origin, Allocation.from_dict(allocation)) for origin, allocation in initial),
        )


def prepare(config: StudyConfig, setup: Setup, ledger: Ledger, progress: Progress) -> Prepared:
    """Compute the signals and the allocations they have learned, or read them back.

    Args:
        config: the study.
        setup: setup of the study.
        ledger: stores the results in `prepared.json` after every signal.
        progress: gets a bar per signal.
    """
    file = ledger.read(_PREPARED, _File.from_dict) or _File(signals=SignalResults())
    signals, initial = file.signals, file.initial
    if initial is None:
        problem = setup.problem

        def keep(unfinished: SignalResults) -> None:
            ledger.write(_PREPARED, _File(signals=unfinished).to_dict())

        with ledger.clock("signals"):
            signals = compute_signals(config, problem, progress, held=signals, keep=keep)
        initial = tuple(learned_allocations(problem.space, problem.costs, problem.budgets, signals.tables))
        ledger.write(_PREPARED, _File(signals=signals, initial=initial).to_dict())
    return Prepared(setup=setup, tables=signals.tables, initial=initial)

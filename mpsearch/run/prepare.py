"""The first stage of a run: signals and initial allocations."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from mpsearch.core.allocation import Allocation
from mpsearch.core.progress import Progress
from mpsearch.core.table import Table
from mpsearch.propose.learned_allocations import learned_allocations
from mpsearch.run.ledger import Ledger
from mpsearch.run.sensitivity import SignalResults, compute_signals
from mpsearch.run.setup import Setup
from mpsearch.signals.base import Partial

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["PREPARED", "KeptInRun", "Prepared", "prepare"]

T = TypeVar("T")

PREPARED = "prepared.json"
_KEEP_EVERY = 5.0
"""Seconds between two writes of a signal's parts."""


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


class KeptInRun(Partial):
    """Keeps the parts of a signal in a file of the run, at most every few seconds.

    Args:
        ledger: of the run.
        name: of the signal.
        every: seconds between two writes.
    """

    def __init__(self, ledger: Ledger, name: str, every: float = _KEEP_EVERY) -> None:
        self._ledger, self._every = ledger, every
        self._file = f"signal_{name}.checkpoint"
        self._made_from = ledger.made_from(name)
        self._kept = time.monotonic()

    def held(self, load: Callable[[Any], T]) -> T | None:
        """See `Partial.held`."""
        return self._ledger.read(self._file, load, made_from=self._made_from)

    def keep(self, document: Callable[[], Any]) -> None:
        """See `Partial.keep`."""
        if time.monotonic() - self._kept >= self._every:
            self._ledger.write(self._file, document(), made_from=self._made_from)
            self._kept = time.monotonic()


def prepare(config: StudyConfig, setup: Setup, ledger: Ledger, progress: Progress) -> Prepared:
    """Compute the signals and the allocations they have learned, or read them back.

    Args:
        config: the study.
        setup: setup of the study.
        ledger: stores the results in `prepared.json` after every signal.
        progress: gets a bar per signal.
    """
    problem = setup.problem

    def load(document: Mapping[str, Any]) -> tuple[SignalResults, list[tuple[str, Allocation]] | None]:
        signals, initial = SignalResults.from_dict(document["signals"]), document["initial"]
        if any(set(table.layers) != set(problem.space.names) for table in signals.tables):
            raise ValueError("its tables are of other layers")
        if initial is None:  # while signals are being computed
            return signals, None
        return signals, [(str(origin), problem.space.check(Allocation.from_dict(allocation))) for origin, allocation in initial]

    signals, initial = ledger.read(PREPARED, load) or (SignalResults(), None)
    if initial is None:

        def keep(results: SignalResults, learned: Sequence[tuple[str, Allocation]] | None = None) -> None:
            initial = None if learned is None else [[origin, allocation.to_dict()] for origin, allocation in learned]
            ledger.write(PREPARED, {"signals": results.to_dict(), "initial": initial})

        with ledger.clock("signals"):
            signals = compute_signals(config, problem, progress, held=signals, keep=keep, partial=partial(KeptInRun, ledger))
        initial = learned_allocations(problem.space, problem.costs, problem.budgets, signals.tables)
        keep(signals, initial)
    return Prepared(setup=setup, tables=signals.tables, initial=tuple(initial))

"""`Announcer`: tells callbacks of a run, each thing once, across interruptions."""

from __future__ import annotations

import json
import re
import secrets
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mpsearch.core.files import write_text
from mpsearch.core.record import Record
from mpsearch.core.summary import Summary
from mpsearch.loggers import Begun, Callback
from mpsearch.run.ledger import Ledger
from mpsearch.run.read_back import read_back

if TYPE_CHECKING:
    from mpsearch.config import StudyConfig

__all__ = ["TOLD", "Announcer"]

TOLD = "told.json"
"""Identity of the run for trackers, and what each callback with a name was told, by that name."""
_LONGEST_REASON = 200


class Announcer:
    """Tells callbacks of a run.

    A callback with a name is told once in the life of the run, which keeps a list; an interruption right after it was told can make it hear
    one thing twice. Others are told everything by every process. See `Callback` for what happens when one fails.

    Args:
        callbacks: in the order in which they are told.
        complain: gets one line for each that fails; a Python warning unless told.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), complain: Callable[[str], None] | None = None) -> None:
        self._callbacks = tuple(callbacks)
        self._complain = complain or _warn
        self._ledger: Ledger | None = None
        self._failed: set[str] = set()
        self._identity = ""
        self._told: dict[str, list[str]] = {}
        self._received: list[list[str]] = [[] for _ in self._callbacks]

    @contextmanager
    def telling(self, ledger: Ledger, config: StudyConfig, command: str, metric: str) -> Iterator[None]:
        """Begin, and close whatever happens; outside of this nothing is told.

        Args:
            ledger: of the run.
            config: the study.
            command: the command line.
            metric: name of the metric.
        """
        if not self._callbacks:
            yield
            return
        self._ledger = ledger
        self._identity, self._told = read_back(ledger.path(TOLD), _read, ledger.say) or (secrets.token_hex(6), {})
        self._keep()
        begun = Begun(
            name=config.name, identity=self._identity, directory=ledger.directory, command=command, study=config.to_dict(), metric=metric
        )
        opened: list[Callback] = []
        try:
            for callback in self._callbacks:
                if self._tell(callback, lambda callback: callback.on_begin(begun)):
                    opened.append(callback)
            yield
        finally:
            self._ledger = None
            for callback in opened:
                self._tell(callback, lambda callback: callback.close(), again=True)

    def trial(self, record: Record) -> None:
        """A trial has ended."""
        self._once(f"trial {record.number}", lambda callback: callback.on_trial(record))

    def epoch(self, network: str, point: Mapping[str, float]) -> None:
        """An epoch of a retraining."""
        network = re.sub(r"\W+", "_", network)
        self._once(f"{network} {point['epoch']:g}", lambda callback: callback.on_epoch(network, point))

    def end(self, summary: Summary) -> None:
        """The run has ended; what was not told yet comes before."""
        for record in summary.trials:
            self.trial(record)
        rivals = {"uniform": summary.uniform, "uniform, budget spent": summary.uniform_spent, "control": summary.control}
        retrained = {"winner": summary.searched or summary.winner, **rivals}
        if summary.winner.allocation not in [each.allocation for each in retrained.values() if each is not None]:
            retrained["trial"] = summary.winner
        for network, ended in retrained.items():
            for point in ended.curve if ended is not None else ():
                self.epoch(network, point)
        self._once("end", lambda callback: callback.on_end(summary))

    def _once(self, key: str, tell: Callable[[Callback], None]) -> None:
        for callback, received in zip(self._callbacks, self._received, strict=True) if self._ledger is not None else ():
            told = self._told.setdefault(callback.name, []) if callback.name else received
            if key not in told and self._tell(callback, tell):
                told.append(key)
                if callback.name:
                    self._keep()

    def _keep(self) -> None:
        if self._ledger is not None:
            write_text(self._ledger.path(TOLD), json.dumps({"identity": self._identity, "told": self._told}))

    def _tell(self, callback: Callback, tell: Callable[[Callback], None], *, again: bool = False) -> bool:
        """Whether it was told. A tracker out of reach is no reason to lose a run: one with a name that fails is told no more."""
        if not callback.name:
            tell(callback)
            return True
        if callback.name in self._failed and not again:
            return False
        try:
            tell(callback)
        except Exception as error:
            if callback.name not in self._failed:
                reason = " ".join(str(error).split())[:_LONGEST_REASON]
                self._complain(
                    f"the logger '{callback.name}' failed ({type(error).__name__}: {reason}) and is told no more; "
                    "the run goes on, and the same command tells it the rest"
                )
            self._failed.add(callback.name)
            return False
        return True


def _read(document: Mapping[str, Any]) -> tuple[str, dict[str, list[str]]]:
    return str(document["identity"]), {str(name): [str(key) for key in keys] for name, keys in document["told"].items()}


def _warn(line: str) -> None:
    warnings.warn(line, RuntimeWarning, stacklevel=2)

"""`PassCounts`: how many samples went through networks and how many labels were read, by phase of a run; nobody listening costs nothing.

| count | one for each sample … |
|---|---|
| `forward` | that entered a network (student, teacher or a signal's copy) |
| `backward` | whose loss was differentiated |
| `labels` | whose label entered a loss that is minimised or differentiated |
| `scored` | whose label was compared with an output on a held-out split |

Functions report with `count` where the pass happens and need no parameter for it: who listens is a context variable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Count", "LabelReader", "PassCounts", "active_counts", "count", "phase"]

_SAVE_EVERY = 5.0
"""Seconds between two saves: what a killed run can lose."""


@dataclass
class Count:
    """Samples of one phase; see the table above."""

    forward: int = 0
    backward: int = 0
    labels: int = 0
    scored: int = 0

    def __add__(self, other: Count) -> Count:
        return Count(self.forward + other.forward, self.backward + other.backward, self.labels + other.labels, self.scored + other.scored)


class PassCounts:
    """Counts by phase.

    Args:
        counts: of an earlier part of the run, as `to_dict` gives them.
    """

    def __init__(self, counts: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self.counts = {name: Count(**numbers) for name, numbers in (counts or {}).items()}
        self.save: Callable[[PassCounts], None] | None = None
        self._saved = time.monotonic()

    def __getitem__(self, name: str) -> Count:
        """Counts of a phase; zeros for one that never was."""
        return self.counts.get(name, Count())

    def to_dict(self) -> dict[str, dict[str, int]]:
        """Plain data for JSON."""
        return {name: asdict(numbers) for name, numbers in self.counts.items()}

    def add(self, name: str, numbers: Count) -> None:
        """Add to a phase, and save now and then."""
        self.counts[name] = self[name] + numbers
        if self.save is not None and time.monotonic() - self._saved > _SAVE_EVERY:
            self.keep()

    def keep(self) -> None:
        """Save now, if somebody said how."""
        if self.save is not None:
            self.save(self)
            self._saved = time.monotonic()

    @contextmanager
    def listening(self, name: str) -> Iterator[PassCounts]:
        """Count what happens in the `with`, as phase `name` until another begins."""
        token = _LISTENING.set((self, name))
        try:
            yield self
        finally:
            _LISTENING.reset(token)


_LISTENING: ContextVar[tuple[PassCounts, str] | None] = ContextVar("tally", default=None)


def active_counts() -> PassCounts | None:
    """The tally that listens, if there is one."""
    active = _LISTENING.get()
    return None if active is None else active[0]


@contextmanager
def phase(name: str) -> Iterator[None]:
    """What happens in the `with` (or in the function this decorates) counts for phase `name`."""
    active = _LISTENING.get()
    if active is None:
        yield
        return
    with active[0].listening(name):
        yield


def count(*, forward: int = 0, backward: int = 0, labels: int = 0, scored: int = 0) -> None:
    """Report samples to whoever listens."""
    active = _LISTENING.get()
    if active is not None:
        active[0].add(active[1], Count(forward, backward, labels, scored))


class LabelReader:
    """A loss `(outputs, targets)` that reports every label it reads; `read` counts them too."""

    def __init__(self, loss: Callable[[Any, Any], Any]) -> None:
        self.read = 0
        self._loss = loss

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """The loss."""
        self.read += len(targets)
        count(labels=len(targets))
        return self._loss(outputs, targets)

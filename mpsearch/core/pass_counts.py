"""`PassCounts`: samples that passed through networks and labels that were read, by phase of a run.

| count | one for each sample … |
|---|---|
| `forward` | that entered a network (student, teacher or a signal's copy) |
| `backward` | whose loss was differentiated |
| `labels` | whose label entered a loss that is minimised or differentiated |
| `scored` | whose label was compared with an output on a held-out split |

Functions call `count` where a pass happens. The active counts are a context variable, so functions need no parameter for them; without
active counts nothing is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from typing import Any

from mpsearch.core.nested import leaves

__all__ = ["Count", "LabelReader", "PassCounts", "active_counts", "count", "phase"]

_SAVE_EVERY = 5.0
"""Seconds between two saves."""


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
        counts: counts of an earlier part of the run, as `to_dict` returns them.
    """

    def __init__(self, counts: Mapping[str, Mapping[str, int]] | None = None) -> None:
        self.counts = {name: Count(**numbers) for name, numbers in (counts or {}).items()}
        self.save: Callable[[PassCounts], None] | None = None
        self._saved = time.monotonic()

    def __getitem__(self, name: str) -> Count:
        """Counts of a phase; zeros for an unknown phase."""
        return self.counts.get(name, Count())

    def to_dict(self) -> dict[str, dict[str, int]]:
        """JSON data."""
        return {name: asdict(numbers) for name, numbers in self.counts.items()}

    def add(self, name: str, numbers: Count) -> None:
        """Add to a phase; saves every few seconds."""
        self.counts[name] = self[name] + numbers
        if self.save is not None and time.monotonic() - self._saved > _SAVE_EVERY:
            self.keep()

    def keep(self) -> None:
        """Save now, if `save` is set."""
        if self.save is not None:
            self.save(self)
            self._saved = time.monotonic()

    @contextmanager
    def listening(self, name: str) -> Iterator[PassCounts]:
        """Count what happens in the `with`, as phase `name` unless another phase begins within."""
        token = _ACTIVE.set((self, name))
        try:
            yield self
        finally:
            _ACTIVE.reset(token)


_ACTIVE: ContextVar[tuple[PassCounts, str] | None] = ContextVar("passes", default=None)


def active_counts() -> PassCounts | None:
    """The counts that are active; None if there are none."""
    active = _ACTIVE.get()
    return None if active is None else active[0]


@contextmanager
def phase(name: str) -> Iterator[None]:
    """Count what happens in the `with`, or in the function this decorates, as phase `name`."""
    counts = active_counts()
    with nullcontext() if counts is None else counts.listening(name):
        yield


def count(*, forward: int = 0, backward: int = 0, labels: int = 0, scored: int = 0) -> None:
    """Add samples to the active counts."""
    active = _ACTIVE.get()
    if active is not None:
        active[0].add(active[1], Count(forward, backward, labels, scored))


class LabelReader:
    """A loss `(outputs, targets)` that counts the labels it reads; `read` is their number."""

    def __init__(self, loss: Callable[[Any, Any], Any]) -> None:
        self.read = 0
        self._loss = loss

    def __call__(self, outputs: Any, targets: Any) -> Any:
        """The loss."""
        labels = len(next(leaves(targets)))
        self.read += labels
        count(labels=labels)
        return self._loss(outputs, targets)

"""`Progress`: the interface by which long work reports its progress. `Silent` shows nothing; `mpsearch.report.progress` draws bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Bar", "Progress", "Silent"]


class Bar(Protocol):
    """One running phase."""

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        """Report the amount done, the total and a short text."""


class Progress(Protocol):
    """Phases, one after the other or nested."""

    @contextmanager
    def phase(self, title: str, total: float = 1) -> Iterator[Bar]:
        """Show a bar during the `with`."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Print a permanent line."""


class Silent:
    """Reports nothing."""

    @contextmanager
    def phase(self, title: str, total: float = 1) -> Iterator[Bar]:
        """Show nothing."""
        yield self

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        """Do nothing."""

    def say(self, text: str) -> None:
        """Do nothing."""

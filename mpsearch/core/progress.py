"""`Progress`: what long work reports while it runs; the default is silent, `mpsearch.report.progress` paints bars."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Bar", "Progress", "Silent"]


class Bar(Protocol):
    """One running phase."""

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        """How far it is, and a few words on how it goes."""


class Progress(Protocol):
    """Phases, one after the other or nested."""

    @contextmanager
    def phase(self, title: str, total: float = 1) -> Iterator[Bar]:
        """A bar for the length of the `with`."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """One line that stays."""


class Silent:
    """Says nothing."""

    @contextmanager
    def phase(self, title: str, total: float = 1) -> Iterator[Bar]:
        """No bar."""
        yield self

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

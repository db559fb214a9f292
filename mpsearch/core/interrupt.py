"""Interrupts (Ctrl-C) that are not lost, although Python drops exceptions in finalizers and libraries have bare `except` clauses."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["Terminated", "check_interrupt", "finishing_steps", "interruptible"]

_received = threading.Event()
_terminated = threading.Event()
_waits = threading.Event()


class Terminated(KeyboardInterrupt):
    """SIGTERM, as a scheduler sends it before it takes the machine away."""


@contextmanager
def interruptible() -> Iterator[None]:
    """Remember an interrupt that arrives in the `with`, for `check_interrupt`. Has no effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupted), signal.signal(signal.SIGTERM, _told_to_end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
        _received.clear()
        _terminated.clear()


def check_interrupt() -> None:
    """Raise again an interrupt that a library swallowed; called wherever long work reports its progress.

    Raises:
        KeyboardInterrupt: an interrupt arrived.
    """
    if _received.is_set() and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


@contextmanager
def finishing_steps() -> Iterator[Callable[[], bool]]:
    """Let a first SIGTERM in the `with` wait for work that ends at its next step; a second one does not wait.

    Yields:
        Whether one has arrived. Work that has no further step ends as usual; `Terminated` is raised at the end of the `with`.
    """
    _waits.set()
    try:
        yield _terminated.is_set
    finally:
        _waits.clear()
    if _terminated.is_set():
        raise Terminated


def _interrupted(number: int, frame: FrameType | None) -> None:
    _received.set()
    raise KeyboardInterrupt


def _told_to_end(number: int, frame: FrameType | None) -> None:
    first = not _terminated.is_set()
    _terminated.set()
    if not (first and _waits.is_set()):
        raise Terminated

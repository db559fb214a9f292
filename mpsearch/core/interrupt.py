"""Interrupts (Ctrl-C) that are not lost, although Python drops exceptions in finalizers and libraries have bare `except` clauses."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["check_interrupt", "interruptible"]

_received = threading.Event()


@contextmanager
def interruptible() -> Iterator[None]:
    """Remember an interrupt that arrives in the `with`, for `check_interrupt`. Has no effect outside the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _received.clear()


def check_interrupt() -> None:
    """Raise again an interrupt that a library swallowed; called wherever long work reports its progress.

    Raises:
        KeyboardInterrupt: an interrupt arrived.
    """
    if _received.is_set() and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def _interrupted(number: int, frame: FrameType | None) -> None:
    _received.set()
    raise KeyboardInterrupt

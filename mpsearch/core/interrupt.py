"""Ctrl-C that cannot get lost: Python drops an exception raised in a finalizer, and libraries have bare `except` clauses."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["check_interrupt", "interruptible"]

_asked = threading.Event()


@contextmanager
def interruptible() -> Iterator[None]:
    """Remember an interrupt within the `with`, for `check_interrupt`; the main thread's alone, elsewhere nothing changes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, _interrupted)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
        _asked.clear()


def check_interrupt() -> None:
    """Called wherever long work reports how far it is.

    Raises:
        KeyboardInterrupt: it was asked for, and somebody has swallowed it.
    """
    if _asked.is_set() and threading.current_thread() is threading.main_thread():
        raise KeyboardInterrupt


def _interrupted(number: int, frame: FrameType | None) -> None:
    _asked.set()
    raise KeyboardInterrupt

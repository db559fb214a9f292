"""An interrupt that a library swallowed is raised again at the next report of progress."""

from __future__ import annotations

import signal
import threading

import pytest
from rich.console import Console

from mpsearch.core.interrupt import check_interrupt, interruptible
from mpsearch.report.progress import RichProgress


def test_a_lost_interrupt_is_raised_again() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptible():
        check_interrupt()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)  # and here somebody lets it fall
        with RichProgress(Console(quiet=True)).phase("training") as bar, pytest.raises(KeyboardInterrupt):
            bar.update(1)
    assert signal.getsignal(signal.SIGINT) is before
    check_interrupt()


def test_other_threads_are_left_alone() -> None:
    told: list[bool] = []

    def work() -> None:
        before = signal.getsignal(signal.SIGINT)
        with interruptible():
            told.append(signal.getsignal(signal.SIGINT) is before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert told == [True]

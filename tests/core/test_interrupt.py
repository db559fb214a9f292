"""An interrupt that a library swallowed is raised again at the next report of progress."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest
from rich.console import Console

from mpsearch.core.interrupt import Terminated, check_interrupt, finishing_steps, interruptible
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


def told_to_end() -> None:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.01)


def test_sigterm_ends_what_does_not_ask_for_a_step() -> None:
    with interruptible(), pytest.raises(Terminated):
        told_to_end()


def work_of_steps(steps: list[bool]) -> None:
    with finishing_steps() as told:
        while not told():
            steps.append(told())
            told_to_end()
        steps.append(told())


def test_sigterm_waits_for_the_step_of_work_that_asks() -> None:
    steps: list[bool] = []
    with interruptible(), pytest.raises(Terminated):
        work_of_steps(steps)
    assert steps == [False, True]


def work_without_steps() -> None:
    with finishing_steps():
        told_to_end()
        told_to_end()
        pytest.fail("it goes on")


def test_a_second_sigterm_does_not_wait() -> None:
    with interruptible(), pytest.raises(Terminated):
        work_without_steps()

"""What a log without a terminal holds, and that phases nest."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from mpsearch.report.progress import RichProgress


def told(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_phase_ends_in_one_line_with_its_time_and_last_words() -> None:
    console = Console(file=io.StringIO(), width=100)
    progress = RichProgress(console)
    with progress.phase("study", 4) as outer:
        outer.update(1, text="[bold]first[/bold]")
        with progress.phase("trial 0") as inner:
            inner.update(1, total=3, text="loss 0.5")
        outer.update(4, text="best accuracy 0.9")
    progress.say("kept: [1]")
    lines = [line.rstrip() for line in told(console).splitlines() if line.strip()]
    assert re.fullmatch(r"trial 0 +\d+\.\d s  loss 0\.5", lines[0])
    assert re.fullmatch(r"study +\d+\.\d s  best accuracy 0\.9", lines[1])
    assert lines[2] == "kept: [1]"


def test_a_phase_that_fails_leaves_no_line_and_the_next_one_works() -> None:
    console = Console(file=io.StringIO(), width=100)
    progress = RichProgress(console)
    with pytest.raises(ZeroDivisionError), progress.phase("broken"):
        raise ZeroDivisionError
    assert "broken" not in told(console)
    with progress.phase("whole"):
        pass
    assert "whole" in told(console)


def test_a_quiet_console_stays_quiet() -> None:
    console = Console(file=io.StringIO(), quiet=True)
    with RichProgress(console).phase("study") as bar:
        bar.update(1)
    assert told(console) == ""


def test_names_of_a_stranger_do_not_command_the_terminal() -> None:
    console = Console(file=io.StringIO(), width=100)
    progress = RichProgress(console)
    with progress.phase("\x1b[2J") as bar:
        bar.update(1, text="\x1b]0;pwned\x07")
    progress.say("\x1b[31m")
    assert "\x1b" not in told(console)
    assert all(words in told(console) for words in ("\\x1b[2J", "\\x1b]0;pwned\\x07", "\\x1b[31m"))

"""Progress bars in a terminal; elsewhere, one line at the end of each phase."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from mpsearch.core.interrupt import check_interrupt
from mpsearch.core.printable import printable
from mpsearch.core.progress import Bar

__all__ = ["RichProgress"]


class RichProgress:
    """`mpsearch.core.progress.Progress` drawn by rich.

    Args:
        console: where to draw; a quiet console shows nothing.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:24}"),
            BarColumn(bar_width=32),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", style="dim"),
            console=console,
            transient=True,
        )
        self._depth = 0

    @contextmanager
    def phase(self, title: str, total: float = 1) -> Iterator[Bar]:
        """A bar while the phase runs, and a line with its time at the end."""
        started = time.monotonic()
        task = self._progress.add_task(printable(title), total=total, text="")
        if self._depth == 0:
            self._progress.start()
        self._depth += 1
        bar = _RichBar(self._progress, int(task))
        try:
            yield bar
            self._console.print(printable(f"{title:24} {time.monotonic() - started:6.1f} s  {bar.text}"), highlight=False, markup=False)
        finally:
            self._depth -= 1
            self._progress.remove_task(task)
            if self._depth == 0:
                self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(printable(text), highlight=False, markup=False)


class _RichBar:
    def __init__(self, progress: Progress, task: int) -> None:
        self._progress, self._task, self.text = progress, task, ""

    def update(self, done: float, total: float | None = None, text: str = "") -> None:
        check_interrupt()
        self.text = printable(text)
        self._progress.update(self._task, completed=done, total=total, text=self.text)  # type: ignore[arg-type]

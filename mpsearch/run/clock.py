"""`Clock`: wall time and counted passes by phase of a run, summed over interruptions."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mpsearch.core.files import write_text
from mpsearch.core.pass_counts import PassCounts, active_counts, phase
from mpsearch.run.read_back import read_back

__all__ = ["PASSES", "SECONDS", "Clock", "read_passes"]

SECONDS = "seconds.json"
PASSES = "passes.json"


def read_passes(directory: Path) -> PassCounts:
    """The passes that earlier parts of a run counted; zeros in a fresh directory."""
    return read_back(directory / PASSES, PassCounts) or PassCounts()


class Clock:
    """Measures the phases of a run: seconds in `seconds.json`, and in `passes.json` what the active `PassCounts` counts.

    Both are also saved every few seconds, so that a kill loses no more than those.

    Args:
        directory: run directory.
        say: gets a line if earlier times are lost.
    """

    def __init__(self, directory: Path, say: Callable[[str], None] = lambda line: None) -> None:
        self._file = directory / SECONDS
        self.seconds: dict[str, float] = read_back(self._file, _seconds, say) or {}
        self._since = time.monotonic()
        self._phase = ""
        self._passes = active_counts()
        if self._passes is not None:  # not earlier, since a refused run must leave no file
            self._passes.save = self._save

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the seconds, passes and labels of the `with` for phase `name`."""
        self._phase, self._since = name, time.monotonic()
        try:
            with phase(name):
                yield
        finally:
            self._add()
            self._phase = ""
            write_text(self._file, json.dumps(self.seconds))
            if self._passes is not None:
                self._passes.keep()

    def spent(self, name: str) -> float:
        """Seconds of a phase in all parts of the run, until now."""
        self._add()
        return self.seconds.get(name, 0.0)

    def _add(self) -> None:
        now = time.monotonic()
        if self._phase:
            self.seconds[self._phase] = self.seconds.get(self._phase, 0.0) + now - self._since
        self._since = now

    def _save(self, passes: PassCounts) -> None:
        self._add()
        write_text(self._file, json.dumps(self.seconds))
        write_text(self._file.with_name(PASSES), json.dumps(passes.to_dict()))


def _seconds(document: Any) -> dict[str, float]:
    return {str(name): float(seconds) for name, seconds in document.items()}

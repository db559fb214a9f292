"""`Clock`: wall time and counted passes by phase of a run, summed over interruptions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mpsearch.core.files import write_text
from mpsearch.core.pass_counts import PassCounts, active_counts, phase

__all__ = ["Clock", "read_passes"]

_SECONDS = "seconds.json"
_PASSES = "passes.json"


def read_passes(directory: Path) -> PassCounts:
    """The passes that earlier parts of a run counted; zeros in a fresh directory."""
    file = directory / _PASSES
    return PassCounts(json.loads(file.read_text()) if file.exists() else None)


class Clock:
    """Measures the phases of a run: seconds in `seconds.json`, and in `passes.json` what the active `PassCounts` counts.

    Args:
        directory: run directory.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / _SECONDS
        self.seconds: dict[str, float] = json.loads(self._file.read_text()) if self._file.exists() else {}
        self._passes = active_counts()
        if self._passes is not None:  # not earlier, since a refused run must leave no file
            self._passes.save = self._save

    def _save(self, passes: PassCounts) -> None:
        write_text(self._file.with_name(_PASSES), json.dumps(passes.to_dict()))

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Count the seconds, passes and labels of the `with` for phase `name`."""
        started = time.monotonic()
        try:
            with phase(name):
                yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started
            write_text(self._file, json.dumps(self.seconds))
            if self._passes is not None:
                self._passes.keep()

"""`trackio`: a run in Trackio, on this machine unless its own settings say otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import Any, ClassVar

from mpsearch.loggers import LOGGERS
from mpsearch.loggers.base import Begun, Logger
from mpsearch.loggers.values import Values

__all__ = ["Trackio"]


@LOGGERS.register("trackio")
class Trackio(Logger):
    """A history by trial and by epoch; `place` is the project. Trackio ends a run of the caller's own that is open."""

    name = "trackio"
    description = "a run in Trackio, project mpsearch, or trackio:PROJECT; TRACKIO_DIR says where"
    package = "trackio"
    offline: ClassVar[Mapping[str, str]] = {"TRACKIO_DIR": "{folder}"}
    _run: Any

    def open(self, run: Begun, settings: Mapping[str, str]) -> None:
        """Begin the run, or go on with the one of this name."""
        with redirect_stdout(sys.stderr):  # our standard output is for results
            import trackio

            self._run = trackio.init(
                project=self.place or os.environ.get("TRACKIO_PROJECT") or "mpsearch",
                name=f"{run.directory.name}-{run.identity}",
                resume="allow",
                config=dict(settings),
                embed=False,
                auto_log_gpu=False,
                auto_log_cpu=False,
            )

    def write(self, values: Values) -> None:
        """Write one row of the history at the number of the trial or the epoch."""
        self._run.log({**values.numbers, **values.texts}, step=values.step)

    def ended(self, values: Values) -> None:
        """Write the figures of the run as a row of its own."""
        self.write(values)

    def close(self) -> None:
        """Send what is still waiting."""
        import trackio

        with redirect_stdout(sys.stderr):
            trackio.finish()  # also for Trackio itself, which would say so again at exit

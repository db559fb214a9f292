"""`Callback`: what is told of a run as it goes on; `Logger`: a callback that passes numbers and texts to a tracker."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from mpsearch.core.extras import needs
from mpsearch.core.record import Record
from mpsearch.core.summary import Summary
from mpsearch.loggers.values import Values, epoch_values, settings_text, summary_values, trial_values

__all__ = ["Begun", "Callback", "Logger"]


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A run that begins or goes on.

    Args:
        name: of the study.
        identity: the same whenever this run is continued, another one for every other run.
        directory: run directory.
        command: the command line.
        study: the resolved study as JSON data.
        metric: name of `Score.metric`, such as `accuracy`.
    """

    name: str
    identity: str
    directory: Path
    command: str
    study: Mapping[str, Any]
    metric: str


class Callback:
    """Is told of a run as it goes on; override what you want to hear.

    Everything is told once, in the order in which it happened. A run that goes on after an interruption, or that had ended, first tells
    what it held already: a callback is told of every trial whichever process ran it. One with a `name` was told of some of it by
    the earlier process, which the run remembers by that name, and it is told the rest.

    An exception of a callback without a name ends the run, which can be continued; one with a name is told no more, and a line says so.
    """

    name: str = ""

    def on_begin(self, run: Begun) -> None:
        """The run begins or goes on; before anything else."""

    def on_trial(self, record: Record) -> None:
        """A trial has ended, or failed."""

    def on_epoch(self, network: str, point: Mapping[str, float]) -> None:
        """An epoch of retraining.

        Args:
            network: `winner`, `uniform`, `uniform_spent` or `control`.
            point: `epoch` from 1 up, `loss` of the training, and where they were scored, `metric` and `validation_loss`.
        """

    def on_end(self, summary: Summary) -> None:
        """The run has ended; its files are written."""

    def close(self) -> None:
        """Nothing more comes, whether the run has ended or was interrupted; called once after `on_begin`."""


class Logger(Callback, ABC):
    """A tracker; a subclass says how it is opened, written to and closed.

    Class attributes:
        name: its registered name.
        description: one line for `mpsearch list loggers`.
        package: that has to be installed, and that the extra of the logger's name brings.
        offline: environment variables under which it reaches nothing but a folder, `{folder}` in place of that folder.

    Args:
        place: project, experiment or folder, as the tracker has it; the default is `mpsearch`, or what the tracker's own variables say.

    Raises:
        ConfigError: the package is not installed.
    """

    description: ClassVar[str] = ""
    package: ClassVar[str] = ""
    offline: ClassVar[Mapping[str, str]] = {}

    def __init__(self, place: str = "") -> None:
        needs(f"logger '{self.name}'", self.name, self.package)
        self.place = place
        self._metric = "metric"

    @abstractmethod
    def open(self, run: Begun, settings: Mapping[str, str]) -> None:
        """Begin a run in the tracker, or go on with the one of the same identity.

        Args:
            run: that begins.
            settings: the study, by dotted key.
        """

    @abstractmethod
    def write(self, values: Values) -> None:
        """Write numbers and texts."""

    @abstractmethod
    def ended(self, values: Values) -> None:
        """Write the figures of the whole run."""

    def on_begin(self, run: Begun) -> None:
        """Open the tracker."""
        self._metric = run.metric
        self.open(run, settings_text(run.study))

    def on_trial(self, record: Record) -> None:
        """Write a trial's scores, costs, bits and origin."""
        self.write(trial_values(record, self._metric))

    def on_epoch(self, network: str, point: Mapping[str, float]) -> None:
        """Write a point of a training curve."""
        self.write(epoch_values(network, point, self._metric))

    def on_end(self, summary: Summary) -> None:
        """Write the figures of the whole run."""
        self.ended(summary_values(summary))

"""`wandb`: a run in Weights & Biases, online or offline as its own settings say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from mpsearch.loggers import LOGGERS
from mpsearch.loggers.base import Begun, Logger
from mpsearch.loggers.values import Values

__all__ = ["WeightsAndBiases"]


@LOGGERS.register("wandb")
class WeightsAndBiases(Logger):
    """A history by trial and by epoch, and a summary; `place` is the project. A run of the caller's own goes on beside it."""

    name = "wandb"
    description = "a run in Weights & Biases, project mpsearch, or wandb:PROJECT; WANDB_MODE=offline for a local one"
    package = "wandb"
    offline: ClassVar[Mapping[str, str]] = {"WANDB_MODE": "offline"}
    _run: Any
    _ended = False

    def open(self, run: Begun, settings: Mapping[str, str]) -> None:
        """Begin the run, or go on with it: its id is the identity of ours."""
        import wandb

        self._run = wandb.init(
            project=self.place or os.environ.get("WANDB_PROJECT") or "mpsearch",
            name=run.directory.name,
            id=run.identity,
            resume="allow",
            dir=str(run.directory),
            config=dict(settings),
            allow_val_change=True,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
        for group in ("trial", "bits", "input bits"):
            self._run.define_metric(f"{group}/*", step_metric="trial/number")

    def write(self, values: Values) -> None:
        """Write one row of the history, over the number of the trial or the epoch."""
        axis = "trial/number" if values.axis == "trial" else f"retraining/{values.axis}/epoch"
        if values.axis != "trial":
            self._run.define_metric(f"retraining/{values.axis}/*", step_metric=axis)
        self._run.log({axis: values.step, **values.numbers, **values.texts})

    def ended(self, values: Values) -> None:
        """Write the summary."""
        self._run.summary.update({**values.numbers, **values.texts})
        self._ended = True

    def close(self) -> None:
        """Finish the run; as failed if it was interrupted."""
        self._run.finish(exit_code=0 if self._ended else 1)

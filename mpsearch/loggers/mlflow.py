"""`mlflow`: a run in MLflow, at the tracking URI of MLflow's own settings."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from mpsearch.loggers import LOGGERS
from mpsearch.loggers.base import Begun, Logger
from mpsearch.loggers.values import Values

__all__ = ["MLflow"]

_TAG = "mpsearch.identity"
_MOST_METRICS = 1000
_MOST_PARAMS = 100
_LONGEST_PARAM = 500


@LOGGERS.register("mlflow")
class MLflow(Logger):
    """Metrics by trial and epoch, the study as parameters, texts as artifacts; `place` is the experiment. No active run is touched."""

    name = "mlflow"
    description = "a run in MLflow, experiment mpsearch, or mlflow:EXPERIMENT; MLFLOW_TRACKING_URI says where"
    package = "mlflow"
    offline: ClassVar[Mapping[str, str]] = {"MLFLOW_TRACKING_URI": "sqlite:///{folder}/mlflow.db"}
    _client: Any
    _id: str
    _ended = False

    def open(self, run: Begun, settings: Mapping[str, str]) -> None:
        """Create the run, or go on with the one that bears the identity of ours."""
        from mlflow import MlflowClient
        from mlflow.entities import Param

        self._client = MlflowClient()
        name = self.place or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "mpsearch"
        experiment = self._client.get_experiment_by_name(name)
        place = self._client.create_experiment(name) if experiment is None else experiment.experiment_id
        found = self._client.search_runs([place], f"tags.`{_TAG}` = '{run.identity}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        tags = {_TAG: run.identity, "mpsearch.command": run.command[:_LONGEST_PARAM], "mpsearch.directory": str(run.directory)}
        self._id = self._client.create_run(place, run_name=run.directory.name, tags=tags).info.run_id
        params = [Param(key, value[:_LONGEST_PARAM]) for key, value in settings.items()]
        for start in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._id, params=params[start : start + _MOST_PARAMS])

    def write(self, values: Values) -> None:
        """Write metrics at the step, and texts as one file of the moment."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        metrics = [Metric(name, value, now, values.step) for name, value in values.numbers.items()]
        for start in range(0, len(metrics), _MOST_METRICS):
            self._client.log_batch(self._id, metrics=metrics[start : start + _MOST_METRICS])
        if values.texts:
            text = "\n\n".join(f"{name}:\n{text}" for name, text in values.texts.items())
            self._client.log_text(self._id, text + "\n", f"{values.axis}/{values.step:05}.txt")

    def ended(self, values: Values) -> None:
        """Write the figures of the run."""
        self.write(values)
        self._ended = True

    def close(self) -> None:
        """Finish the run; as killed if it was interrupted."""
        self._client.set_terminated(self._id, "FINISHED" if self._ended else "KILLED")

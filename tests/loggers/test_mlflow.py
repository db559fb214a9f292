"""What MLflow's own client finds in its store."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("mlflow", reason="mlflow is not installed")

from mpsearch.loggers.mlflow import MLflow
from mpsearch.testing.logger_contract import logged_begin, logged_summary

pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow's own code


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    return tmp_path


def test_a_run_that_was_interrupted_is_one_run_in_the_store(store: Path) -> None:
    from mlflow import MlflowClient

    summary = logged_summary()
    for part in (summary.trials[:2], summary.trials[2:]):
        logger = MLflow("mine")
        logger.on_begin(logged_begin(store))
        for record in part:
            logger.on_trial(record)
        if part[-1] is summary.trials[-1]:
            for point in summary.winner.curve:
                logger.on_epoch("winner", point)
            logger.on_end(summary)
        logger.close()
    client = MlflowClient()
    experiment = client.get_experiment_by_name("mine")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe.lr"] == "0.01"
    history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "trial/accuracy")}
    assert history == {record.number: record.score.metric for record in summary.trials if record.scored}
    losses = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "retraining/winner/loss")}
    assert losses == {point["epoch"]: point["loss"] for point in summary.winner.curve}
    assert run.data.metrics["summary/file bytes"] == summary.artifact_bytes
    assert "conv1: w2a8" in Path(client.download_artifacts(run.info.run_id, "trial/00000.txt", str(store))).read_text()


def test_an_interrupted_run_is_killed_in_the_store(store: Path) -> None:
    from mlflow import MlflowClient

    logger = MLflow()
    logger.on_begin(logged_begin(store))
    logger.close()
    client = MlflowClient()
    experiment = client.get_experiment_by_name("mpsearch")
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["KILLED"]

"""A run for the target `onnx`: the budget holds for its file; a finished run is converted from one target to another and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import mpsearch
from mpsearch.core.errors import ArtifactError, ConfigError, RunDirectoryError
from mpsearch.core.progress import Silent
from mpsearch.core.summary import Summary
from mpsearch.data import load_data
from mpsearch.network.inputs import call
from mpsearch.report.info import bits_info
from mpsearch.run import convert, convert_run, evaluate_artifact, run_study
from mpsearch.targets import read_artifact
from mpsearch.tasks.outputs import most_samples_differ_by
from mpsearch.training.evaluate import evaluate
from tests.run.tiny import digits_net, residual_net, tiny_study


def finished(directory: Path, **changes: Any) -> Summary:
    return run_study(tiny_study(**changes), directory, "mpsearch study", Silent())


@pytest.fixture(scope="module")
def onnx_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary]:
    directory = tmp_path_factory.mktemp("run")
    return directory, finished(directory, target="onnx", budgets=["3KB"])


def test_the_budget_holds_for_the_file_that_the_runtime_reads(onnx_run: tuple[Path, Summary]) -> None:
    directory, summary = onnx_run
    assert summary.artifact == "model.onnx"
    assert summary.artifact_bytes == (directory / "model.onnx").stat().st_size == summary.winner.costs["size"] <= 3000
    assert bits_info(summary).layer_bytes == sum(summary.layer_bytes)


def test_it_is_scored_in_the_runtime(onnx_run: tuple[Path, Summary]) -> None:
    directory, summary = onnx_run
    score = evaluate_artifact(directory / "model.onnx", tiny_study(), "test")
    assert score.metric == summary.test["winner"].metric
    assert score.loss == pytest.approx(summary.test["winner"].loss, rel=1e-5)
    model, data = mpsearch.load(directory / "model.onnx", digits_net()), load_data("digits")
    assert data.test is not None
    assert evaluate(model, data.test, data.task, device=torch.device("cpu")) == summary.test["winner"]


def test_a_finished_run_is_converted_there_and_back(onnx_run: tuple[Path, Summary], tmp_path: Path) -> None:
    directory, _ = onnx_run
    (said,) = convert_run(directory, tmp_path / "net.safetensors", "packed", tiny_study())
    assert said.startswith(f"{tmp_path / 'net.safetensors'}: ")
    x = torch.rand(9, 1, 8, 8)
    expected = call(read_artifact(directory / "model.onnx").install(digits_net()), x)
    assert torch.equal(call(mpsearch.load(tmp_path / "net.safetensors", digits_net()), x), expected)


def test_rounded_sums_are_trained_scored_and_left_out_for_other_targets(tmp_path: Path) -> None:
    study = {"model": {"factory": "tests.run.tiny:residual_net"}, "space": {"name": "few", "weights": [4, 8], "activations": [8]}}
    summary = finished(tmp_path / "run", target="onnx-qdq", retrain={"epochs": 1}, budgets=["5bit"], **study)
    assert [layer.name for layer in summary.layers if layer.rounds_output] == ["first"]
    artifact, x = read_artifact(tmp_path / "run" / summary.artifact), torch.rand(9, 1, 8, 8)
    rounded = artifact.parts(residual_net()).layers["first"].output
    assert rounded is not None
    assert (rounded.format.bits, rounded.signed) == (8, True)
    said = convert(tmp_path / "run", tmp_path / "net.safetensors", "packed", residual_net(), torch.rand(4, 1, 8, 8))
    assert said[1] == (
        "model.qdq.onnx has biases, and roundings before additions, for integer kernels, not kept here: answers differ a little"
    )
    here, there = call(artifact.install(residual_net()), x), call(mpsearch.load(tmp_path / "net.safetensors", residual_net()), x)
    assert not torch.equal(here, there)
    assert most_samples_differ_by(here, there) < 0.05
    again = convert(tmp_path / "run", tmp_path / "net.qdq.onnx", "onnx-qdq", residual_net(), torch.rand(4, 1, 8, 8))
    assert not [sentence for sentence in again if "kernels" in sentence]
    assert torch.equal(call(read_artifact(tmp_path / "net.qdq.onnx").install(residual_net()), x), here)


def test_what_no_longer_fits_is_said(tmp_path: Path) -> None:
    finished(tmp_path / "run", budgets=["2.5KB"])
    said = convert(tmp_path / "run", tmp_path / "net.onnx", "onnx", digits_net(), torch.rand(4, 1, 8, 8))
    assert any("above the run's budget of 2.5KB, which counts model.safetensors" in sentence for sentence in said)
    assert mpsearch.export(tmp_path / "run", tmp_path / "again.onnx", digits_net(), torch.rand(4, 1, 8, 8), target="onnx").exists()
    assert (tmp_path / "again.onnx").read_bytes() == (tmp_path / "net.onnx").read_bytes()


def test_what_cannot_be_converted_is_one_line(onnx_run: tuple[Path, Summary], tmp_path: Path) -> None:
    directory, _ = onnx_run
    out = tmp_path / "out.onnx"
    with pytest.raises(RunDirectoryError, match="holds no finished run"):
        convert(tmp_path, out, "onnx", digits_net(), torch.rand(4, 1, 8, 8))
    with pytest.raises(ConfigError, match=r"was searched in Python, with a model in memory; convert it there: mpsearch\.export"):
        convert_run(directory, out, "onnx", tiny_study(data={"source": "memory"}))
    with pytest.raises(ArtifactError, match="give the model it was made from"):
        convert(directory, out, "onnx", digits_net(width=8), torch.rand(4, 1, 8, 8))
    assert not list(tmp_path.iterdir()), "nothing half-written is left"

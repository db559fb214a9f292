"""`mpsearch export`: a copy, or another target, in the runtime that the command names."""

from __future__ import annotations

from pathlib import Path

import pytest

from mpsearch.cli import main
from mpsearch.core.progress import Silent
from mpsearch.run import run_study
from mpsearch.targets.onnx_qdq.artifact import QdqArtifact
from tests.run.tiny import tiny_study


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("made") / "run"
    run_study(tiny_study(search={"trials": 1}), directory, "command", Silent())
    return directory


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_file_names_the_runtime_that_was_asked_for(made: Path, tmp_path: Path, runtime: str) -> None:
    pytest.importorskip(runtime)
    file = tmp_path / "model.qdq.onnx"
    assert main(["export", str(made), "--out", str(file), "--target", "onnx-qdq", "--runtime", runtime]) == 0
    assert QdqArtifact.read(file).session.runtime == runtime


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (["--runtime", "openvino"], "--runtime is of a target that the run is converted for; add --target onnx-qdq"),
        (["--runtime", "openvino", "--target", "qonnx"], "--runtime is of the target onnx-qdq; 'qonnx' has none"),
        (["--runtime", "openvino", "--target", "c"], "runtime"),
        (["--runtime", "tflite", "--target", "onnx-qdq"], "'tflite' is none of onnxruntime, openvino"),
        (["--target", "tflite"], "unknown target 'tflite'"),
    ],
)
def test_a_runtime_that_does_not_fit_is_one_line(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], line: str
) -> None:
    assert main(["export", str(made), "--out", str(tmp_path / "out"), *options]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
    assert not (tmp_path / "out").exists()

"""A target that is not exact is scored in its runtime, on the delivered file, and the run says how far that is from torch."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.targets import read_artifact
from tests.run.searches import RECIPE, mlp, pretrained, vectors

SPACE = {"name": "integers", "weights": [3, 4, 8], "activations": [4, 8]}


def searched(tmp_path: Path, target: str) -> tuple[mpsearch.Result, TensorDataset]:
    torch.manual_seed(0)
    x, y = vectors()
    model = pretrained(mlp(), x, y, mpsearch.Task.classification())
    test = TensorDataset(x[200:], y[200:])
    result = mpsearch.search(
        model,
        TensorDataset(x[:120], y[:120]),
        TensorDataset(x[120:200], y[120:200]),
        test=test,
        budget="7bit",
        space=SPACE,
        recipe=RECIPE,
        images=32,
        trials=1,
        epochs=1,
        signals=["fisher"],
        effort="quick",
        target=target,
        run_dir=tmp_path / "run",
        progress=False,
    )
    return result, test


def test_what_is_scored_at_the_end_is_what_the_runtime_computes(tmp_path: Path) -> None:
    result, test = searched(tmp_path, "onnx-qdq")
    path = tmp_path / "run" / "model.qdq.onnx"
    assert path.stat().st_size == result.summary.artifact_bytes == result.summary.winner.costs["size"]
    runtime = read_artifact(path).executed()
    assert runtime is not None
    x, y = test.tensors
    outputs = runtime(x)
    scored = result.summary.test["winner"]
    assert scored.metric == pytest.approx(float((outputs.argmax(1) == y).float().mean()))
    assert scored.loss == pytest.approx(float(torch.nn.functional.cross_entropy(outputs, y)), rel=1e-5)
    (said,) = [sentence for sentence in result.summary.skipped if "is not exact" in sentence]
    assert "in its runtime" in said
    assert "in torch" in said


def test_an_exact_target_says_nothing(tmp_path: Path) -> None:
    result, _ = searched(tmp_path, "packed")
    assert not [sentence for sentence in result.summary.skipped if "exact" in sentence]

"""Post-training methods through the whole pipeline: no epoch trained, and the file is what was calibrated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.network.compensated import CompensatedCalibration
from mpsearch.run import sensitivity
from mpsearch.signals import compute_signal
from mpsearch.tasks.task import Task
from tests.networks import Depthwise
from tests.run.searches import RECIPE, images, pretrained


@pytest.mark.parametrize("method", ["gptq", "brecq"])
def test_search_without_training_ends_in_a_verified_file(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x, y = images()
    model = pretrained(Depthwise(), x, y, Task.classification())
    seen: list[Any] = []
    compute = compute_signal

    def spied(name: str, inputs: Any) -> Any:
        seen.append(inputs.calibration)
        return compute(name, inputs)

    monkeypatch.setattr(sensitivity, "compute_signal", spied)
    result = mpsearch.search(
        model,
        TensorDataset(x[:160], y[:160]),
        TensorDataset(x[160:], y[160:]),
        budget="3bit",
        methods={method: {"grid": "half", **({"iterations": 5} if method == "brecq" else {})}},
        recipe=RECIPE,
        effort="quick",
        images=96,
        trials=2,
        epochs=0,
        run_dir=tmp_path / "run",
        progress=False,
    )
    assert all(isinstance(calibration, CompensatedCalibration) for calibration in seen)
    assert len(seen) == 2
    assert result.summary.winner.costs["bits"] <= 3
    with torch.no_grad():
        accuracy = float((result.model(x[160:]).argmax(1) == y[160:]).float().mean())
    assert accuracy == pytest.approx(result.summary.winner.score.metric, abs=1e-6)
    assert accuracy > float((model(x[160:]).argmax(1) == y[160:]).float().mean()) - 0.1

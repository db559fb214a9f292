"""The choice of BatchNorm statistics is made once a run, and said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.core.statistics import REESTIMATED


def test_a_network_from_elsewhere_stays_itself_and_the_run_says_how(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Any = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3)).eval()
    x = torch.randn(360, 6)
    with torch.no_grad():
        model[1].running_mean.copy_(model[0](x).mean(0))
        model[1].running_var.copy_(model[0](x).var(0))
    x = 0.5 * x + 2
    train, validation = (TensorDataset(part, model(part).argmax(1)) for part in (x[:260], x[260:]))
    options: dict[str, Any] = {"budget": "7.5bit", "effort": "quick", "trials": 2, "epochs": 0, "signals": ["fisher"], "progress": False}
    result = mpsearch.search(model, train, validation, run_dir=tmp_path / "run", **options)
    choice = result.summary.batchnorm
    assert choice is not None
    assert choice.chosen != REESTIMATED
    with torch.no_grad():
        assert (result.model(x[260:]) - model(x[260:])).norm() < 0.05 * model(x[260:]).norm()
    report, card = ((tmp_path / "run" / name).read_text() for name in ("front.html", "card.md"))
    assert choice.sentence in report
    assert f"are {choice.chosen}; nats" in card
    (tmp_path / "run" / "summary.json").unlink()
    written = (tmp_path / "run" / "batchnorm.json").read_text()
    again = mpsearch.search(model, train, validation, run_dir=tmp_path / "run", **options)
    assert again.summary.batchnorm == choice
    assert (tmp_path / "run" / "batchnorm.json").read_text() == written

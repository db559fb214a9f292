"""A study of a small network on the digits, which every stage of a run takes in seconds."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mpsearch.config import StudyConfig
from mpsearch.config.study import validate_study
from mpsearch.core.progress import Silent
from mpsearch.run.setup import Setup, build_setup

__all__ = ["Phases", "digits_net", "residual_net", "tiny_setup", "tiny_study"]


class Phases(Silent):
    """Remembers the titles of the phases."""

    def __init__(self) -> None:
        self.titles: list[str] = []

    def phase(self, title: str, total: float = 1) -> Any:
        self.titles.append(title)
        return super().phase(title, total)


def digits_net(width: int = 16) -> nn.Module:
    """Always the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


class _Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm, self.last = nn.BatchNorm2d(8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        y = self.norm(self.first(x))
        y += x
        logits: Tensor = self.last(torch.relu(y).mean((2, 3)))
        return logits


def residual_net() -> nn.Module:
    """Always the same weights; the output of one convolution is added, behind its norm and in place."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _Residual()


def tiny_study(**changes: Any) -> StudyConfig:
    """The study with other keys."""
    content = {
        "name": "tiny",
        "data": {"source": "digits"},
        "model": {"factory": "tests.run.tiny:digits_net"},
        "space": {"name": "few", "weights": [2, 4, 8]},
        "budgets": ["4.5bit"],
        "methods": {"lsq": {}},
        "signals": {"names": ["fisher", "measured"], "images": 32},
        "recipe": {"batch_size": 256, "lr": 0.01, "reestimate": 0, "precision": "float32"},
        "search": {"trials": 2, "rungs": [{"name": "ptq", "epochs": 0}]},
        "retrain": {"epochs": 0},
        "compile": "off",
        "device": "cpu",
    }
    return validate_study({**content, **changes}, label="")


def tiny_setup(config: StudyConfig) -> Setup:
    """Its network, data and search problem."""
    return build_setup(config, Silent())

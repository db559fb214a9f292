"""What a user brings to a search, and a search that takes seconds."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mpsearch
from mpsearch.tasks.task import Task
from mpsearch.training.recipe import Recipe

RECIPE = Recipe(optimizer="adamw", lr=2e-3, scale_lr=0.1, batch_size=32, distill=0.5, reestimate=96, precision="float32")


def vectors() -> tuple[Tensor, Tensor]:
    x = torch.randn(240, 6)
    return x, (x[:, :3].sum(1) > x[:, 3:].sum(1)).long()


def images() -> tuple[Tensor, Tensor]:
    x = torch.randn(240, 1, 8, 8)
    y = torch.randint(0, 3, (240,))
    x[torch.arange(240), 0, 2 * y] += 2.0
    return x, y


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 2))


def pretrained(model: nn.Module, x: Tensor, y: Tensor, task: Task) -> nn.Module:
    """A minute's worth of Adam in two seconds: the float network a user would bring."""
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    model.train()
    for _ in range(60):
        optimizer.zero_grad()
        task.loss(model(x), y).backward()
        optimizer.step()
    return model.eval()


def small(tmp_path: Path, **changes: object) -> mpsearch.Result:
    torch.manual_seed(0)
    x, y = vectors()
    arguments: dict[str, object] = {
        "train": TensorDataset(x[:160], y[:160]),
        "validation": TensorDataset(x[160:], y[160:]),
        "budget": "3bit",
        "recipe": RECIPE,
        "images": 32,
        "trials": 3,
        "epochs": 1,
        "run_dir": tmp_path / "run",
        "progress": False,
        "signals": ["fisher"],
    }
    model = changes.pop("model", None) or mlp().eval()
    return mpsearch.search(model, **{**arguments, **changes})  # type: ignore[arg-type]

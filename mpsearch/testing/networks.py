"""The small network that contract suites train: plain, depthwise and grouped convolutions, BatchNorm, a linear head."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn

__all__ = ["Depthwise", "trained_statistics"]

N = TypeVar("N", bound=nn.Module)


class Depthwise(nn.Module):
    """Images `[N, 1, H, W]` → logits `[N, 10]`."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.depth = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.bn2 = nn.BatchNorm2d(8)
        self.grouped = nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=2)
        self.head = nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = torch.relu(self.bn1(self.stem(x)))
        x = torch.relu(self.bn2(self.depth(x)))
        logits: Tensor = self.head(torch.relu(self.grouped(x)).mean((2, 3)))
        return logits


def trained_statistics(model: N, seed: int = 0) -> N:
    """Give BatchNorm statistics, gains and shifts unlike those of a fresh one, some gains negative; evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
            state = module.state_dict(keep_vars=True)
            state["running_mean"].normal_(generator=generator)
            state["running_var"].uniform_(0.5, 2, generator=generator)
            state["weight"].data.normal_(generator=generator)
            state["bias"].data.normal_(generator=generator)
    return model.eval()

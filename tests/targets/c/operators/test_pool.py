"""Poolings of every kind, against torch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.targets.c.programs import compared, needs_compiler


class Pools(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        pooled = (
            F.max_pool2d(x, 2), F.max_pool2d(x, 3, stride=2, padding=1), F.max_pool2d(x, 2, ceil_mode=True), F.max_pool2d(x, 2, dilation=2),
            F.avg_pool2d(x, 2), F.avg_pool2d(x, 3, padding=1), F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False),
            F.avg_pool2d(x, (2, 3), ceil_mode=True), F.avg_pool2d(x, 3, stride=2, padding=1, ceil_mode=True), F.adaptive_avg_pool2d(x, 1),
            F.max_pool1d(x.flatten(2), 4, padding=2), F.avg_pool1d(x.flatten(2), 5, stride=3),
        )  # fmt: skip
        return torch.cat([each.flatten(1) for each in pooled], 1)


@needs_compiler
def test_every_pooling(tmp_path: Path) -> None:
    torch.manual_seed(0)
    compared(Pools().eval(), torch.randn(3, 1, 9, 8), tmp_path)

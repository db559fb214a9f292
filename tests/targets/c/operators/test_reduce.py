"""Reductions, Softmax and normalisations, against torch."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.targets.c.programs import compared, needs_compiler


class Along(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm, self.layer_norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.LayerNorm(5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer(x)
        y = torch.relu(x)
        made = (
            x.mean((2, 3)), x.mean(1), x.sum((1, 3)), x.amax(2), x.amin((1, 2, 3)).unsqueeze(1), x.mean((1, 2, 3), keepdim=True),
            F.softmax(x, 1), F.softmax(x, -1), F.log_softmax(x, 2), self.norm(y), self.layer_norm(x), x.norm(dim=1),
        )  # fmt: skip
        return torch.cat([each.flatten(1) for each in made], 1)


@needs_compiler
def test_everything_along_axes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Along().eval()
    model.norm.running_mean.normal_()
    model.norm.running_var.uniform_(0.5, 2)
    compared(model, torch.randn(3, 2, 6, 7), tmp_path)

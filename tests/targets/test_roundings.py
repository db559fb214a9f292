"""Which outputs are rounded before anything reads them, as the graph shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint
from mpsearch.targets.roundings import rounded_outputs
from mpsearch.targets.skeleton import skeleton_of


class Paths(nn.Module):
    """Plain, behind a ReLU, behind another function, read twice, and returned."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.rectified, self.smooth = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.twice, self.last = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.rectified(self.plain(x)))
        x = torch.relu(self.twice(torch.tanh(self.smooth(x))))
        return x + self.last(x)


def test_only_what_layers_alone_read_is_rounded() -> None:
    torch.manual_seed(0)
    model, x = Paths().eval(), torch.randn(3, 4)
    layers = trace(model, x)
    skeleton = skeleton_of(Blueprint(architecture=model, inputs=x, layers=layers), "the test")
    assert rounded_outputs(skeleton, layers) == {"plain": False, "rectified": True}


def test_convolutions_with_a_folded_norm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Flatten()).eval()
    x = torch.randn(3, 1, 5, 5)
    layers = trace(model, x)
    skeleton = skeleton_of(Blueprint(architecture=model, inputs=x, layers=layers), "the test")
    assert rounded_outputs(skeleton, layers) == {"0": True}

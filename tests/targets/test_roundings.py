"""Which outputs are rounded before anything reads them, as the graph shows."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpsearch.network.trace import survey, trace
from mpsearch.targets import Blueprint
from mpsearch.targets.roundings import RoundedOutput, rounded_outputs
from mpsearch.targets.skeleton import skeleton_of


class Paths(nn.Module):
    """Plain, behind a ReLU, behind a bounded one, behind another function, read twice, added, and returned."""

    def __init__(self) -> None:
        super().__init__()
        self.plain, self.rectified, self.smooth = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.bounded, self.twice, self.added, self.last = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.rectified(self.plain(x)))
        x = nn.functional.relu6(self.bounded(x))
        x = torch.relu(self.twice(torch.tanh(self.smooth(x))))
        x = x + self.added(x)
        return self.last(x)


def test_only_what_layers_alone_read_is_rounded() -> None:
    torch.manual_seed(0)
    model, x = Paths().eval(), torch.randn(3, 4)
    found = survey(model, x)
    assert found.added == {"added"}
    layers = found.on_edges()
    skeleton = skeleton_of(Blueprint(architecture=model, inputs=x, layers=layers), "the test")
    rounded = rounded_outputs(skeleton, layers)
    readers = {name: [layers[number].name for number in each.readers] for name, each in rounded.items()}
    assert readers == {"plain": ["rectified"], "rectified": ["bounded"], "bounded": ["smooth"], "added": []}
    assert {name for name, each in rounded.items() if each.relu} == {"rectified", "bounded"}
    assert {name: each.bound for name, each in rounded.items() if each.bounded} == {"bounded": 6.0}


def test_convolutions_with_a_folded_norm() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, bias=False), nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.Flatten()).eval()
    x = torch.randn(3, 1, 5, 5)
    layers = trace(model, x)
    skeleton = skeleton_of(Blueprint(architecture=model, inputs=x, layers=layers), "the test")
    assert rounded_outputs(skeleton, layers) == {"0": RoundedOutput(readers=(1,), relu=True)}

"""What one forward pass shows: outputs that are added, tensors that several layers read, the layers that a runtime of integers wants."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mpsearch.network.trace import survey


class Block(nn.Module):
    """Two readers of one tensor, a layer that is called twice, sums in place and out of it, a ReLU in place, a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.again = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.rectified, self.last = nn.Linear(6, 6), nn.Linear(6, 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        query, key, again = self.query(x), self.key(x), self.again(self.again(x))
        query += key
        rectified = torch.relu_(self.rectified(query))
        logits: Tensor = self.last(rectified + again + 1.0)
        return logits


def test_sums_and_readers_are_seen() -> None:
    torch.manual_seed(0)
    found = survey(Block().eval(), torch.randn(5, 6))
    assert found.added == {"query", "key", "again"}
    assert found.reads_with == {"key": "query"}
    assert found.products == {"query", "key", "again", "rectified", "last"}
    assert not [layer for layer in found.layers if layer.rounds_output or layer.reads_with or layer.whole_bias]


def test_a_runtime_of_integers_gets_them_on_its_layers() -> None:
    torch.manual_seed(0)
    found = survey(Block().eval(), torch.randn(5, 6))
    layers = {layer.name: layer for layer in found.on_edges()}
    assert {name for name, layer in layers.items() if layer.rounds_output} == {"query", "key", "again"}
    assert {name: layer.reads_with for name, layer in layers.items() if layer.reads_with} == {"key": "query"}
    assert {name for name, layer in layers.items() if not layer.whole_bias} == {"last"}
    alone = found.on_edges(shared=False)
    assert {layer.name for layer in alone if layer.rounds_output} == {"query", "key", "again"}
    assert not [layer for layer in alone if layer.reads_with or layer.whole_bias]


def test_a_sum_with_a_parameter_is_none() -> None:
    class Positions(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.places = nn.Linear(4, 4), nn.Parameter(torch.randn(4))

        def forward(self, x: Tensor) -> Tensor:
            return torch.tanh(self.layer(x) + self.places)

    assert not survey(Positions().eval(), torch.randn(3, 4)).added

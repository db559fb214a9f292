"""Tensors that are rounded once: for all who read them in one format, and before they are added."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import CodedWeight, bake, evaluated
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import survey


class Heads(nn.Module):
    """Three readers of one tensor, one of them called twice; sums of two outputs, in place; a ReLU in place."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.again = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
        self.rectified, self.last = nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        query, key, again = self.query(x), self.key(x), self.again(self.again(x))
        query += key
        rectified = torch.relu_(self.rectified(query))
        logits: Tensor = self.last(rectified + again + 1.0)
        return logits


def network(*activations: int, method: str = "lsq") -> tuple[Network, Tensor]:
    torch.manual_seed(0)
    model, x = Heads().eval(), torch.randn(64, 6)
    space = Space(name="edges", weights=(4,), activations=activations).resolve(survey(model, x).on_edges())
    return Network(model, space, Calibration.fit(model, space, [x]), METHODS[method]()), x


def test_one_rounding_where_formats_are_equal_and_two_where_they_are_not() -> None:
    built, _ = network(4, 8)
    query, key = (next(layer for layer in built.space.layers if layer.name == name) for name in ("query", "key"))
    bits = {layer.name: Choice(4, 8) for layer in built.space.layers}
    for other, shared in ((8, True), (4, False), (8, True)):
        built.begin(Allocation({**bits, "key": Choice(4, other)}))
        assert (built.act_quantizer(query) is built.act_quantizer(key)) is shared
        parts = bake(built).layers
        first, second = parts["query"].input, parts["key"].input
        assert first is not None
        assert second is not None
        assert torch.equal(first.step, second.step) is shared
        assert {name for name, layer in parts.items() if layer.output is not None} == {"query", "again", *(["key"] if shared else [])}


@pytest.mark.parametrize("method", sorted(METHODS.names()))
def test_every_method_trains_them(method: str) -> None:
    built, x = network(8, method=method)
    stored = METHODS[method]().stores_input(built.space.menus[0][0].activation)
    if stored is None or stored.kind != "uniform":
        pytest.skip("it rounds no inputs evenly")
    built.begin(Allocation({layer.name: menu[0] for layer, menu in zip(built.space.layers, built.space.menus, strict=True)}))
    built.model.train()
    optimizer = torch.optim.SGD([p for p in built.model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(3):
        optimizer.zero_grad()
        loss: Tensor = built.model(x).square().mean()
        loss.backward()
        optimizer.step()
    built.model.eval()
    with torch.no_grad():
        assert torch.allclose(evaluated(built)(x), built.model(x), atol=0.05)


def test_biases_are_whole_numbers_of_the_unit_of_the_sum() -> None:
    built, _ = network(8)
    built.begin(Allocation({layer.name: menu[0] for layer, menu in zip(built.space.layers, built.space.menus, strict=True)}))
    for layer in bake(built).layers.values():
        assert isinstance(layer.weight, CodedWeight)
        assert isinstance(layer.bias, Tensor)
        assert layer.input is not None
        units = layer.weight.scales.numbers() * layer.input.step * (layer.weight.format.integer_unit or 1)
        assert torch.allclose(layer.bias / units, (layer.bias / units).round(), atol=1e-3)
        assert float((layer.bias / units).abs().max()) > 2

"""Who reads which tensor, and until when: by hand, and the same as seen in the network that is really quantized."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import evaluated
from mpsearch.network.calibrate import Calibration
from mpsearch.network.lifetimes import FLOAT_READER, lifetimes
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.network.walk import walk
from tests.networks import NETWORKS, trained_statistics


class Block(nn.Module):
    """x → one, norm, relu in place ↘ two, and three as well; their sum and x."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 2, 1)
        self.three = nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu_(self.norm(self.one(x)))
        z = torch.sigmoid(y)
        return self.two(z) + self.three(z) + x


def test_lifetimes_and_readers_by_hand() -> None:
    torch.manual_seed(0)
    model, x = Block().eval(), torch.randn(3, 2, 5, 5)
    before = model(x)
    found = lifetimes(model, trace(model, x), x)
    assert [step.name for step in found.steps] == ["convolution", "relu_", "sigmoid", "convolution", "convolution", "add", "add"]
    assert [(a.elements, a.born, a.last, a.readers) for a in found.activations] == [
        (50, -1, 6, {"one", FLOAT_READER}),  # held for the last addition
        (100, 0, 2, {FLOAT_READER}),  # the activation function writes into it
        (100, 2, 4, {"two", "three"}),
        (50, 3, 5, {FLOAT_READER}),
        (50, 4, 5, {FLOAT_READER}),
        (50, 5, 6, {FLOAT_READER}),
        (50, 6, 6, {FLOAT_READER}),
    ]
    assert [a.in_float for a in found.activations] == [True, True, False, True, True, True, True]
    assert found.alive() == [[0], [0, 1], [0, 1], [0, 1, 2], [0, 2, 3], [0, 2, 3, 4], [0, 3, 4, 5], [0, 5, 6]]
    assert torch.equal(model(x), before)
    assert not model.one._forward_pre_hooks


@pytest.mark.parametrize("name", NETWORKS)
def test_the_quantized_network_does_what_the_float_one_was_seen_to_do(name: str) -> None:
    """Same operations and lifetimes at any bits, and each tensor at the most bits of its readers."""
    torch.manual_seed(0)
    build, inputs = NETWORKS[name]
    model, batch = trained_statistics(build()).eval(), inputs()
    layers = trace(model, batch)
    space = Space(name="s", weights=(4, 8), activations=(2, 4, 8, FLOAT_BITS)).resolve(layers)
    network = Network(model, space, Calibration.fit(model, space, [batch]), METHODS["lsq"]())
    found = lifetimes(model, layers, batch)
    draw = random.Random(0)
    for _ in range(4):
        allocation = Allocation({layer.name: draw.choice(menu) for layer, menu in zip(layers, space.menus, strict=True)})
        network.begin(allocation)
        seen = walk(evaluated(network, integers=False), layers, batch)
        assert [operation.name for operation in seen.operations] == [step.name for step in found.steps]
        expected = [
            FLOAT_BITS if a.in_float else max(allocation[reader].activation.bits for reader in a.readers) for a in found.activations
        ]
        assert [m.bits for m in seen.maps] == expected
        assert [(m.elements, m.born, m.last) for m in seen.maps] == [(a.elements, a.born, a.last) for a in found.activations]

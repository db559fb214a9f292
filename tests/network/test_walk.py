"""One pass seen operation by operation: multiply-accumulates as traced, quantizers looked through, lifetimes by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import evaluated
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network, keep_slow_attention
from mpsearch.network.trace import trace
from mpsearch.network.walk import walk
from tests.networks import NETWORKS


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_multiply_what_the_trace_says(name: str) -> None:
    torch.manual_seed(0)
    build, inputs = NETWORKS[name]
    model, batch = build().eval(), inputs()
    layers = trace(model, batch)
    keep_slow_attention(model)
    operations = walk(model, layers, batch).operations
    for layer in layers if name not in ("bare", "recurrent") else ():  # whose products copy a weight, or take two at once
        assert sum(operation.macs for operation in operations if operation.layer == layer.name) == layer.macs
    attends = any(operation.macs for operation in operations if not operation.layer)
    assert attends == (name in ("transformer", "cross_attention", "bare"))
    if name not in ("transformer", "cross_attention"):
        assert sum(operation.macs for operation in operations) == sum(layer.macs for layer in layers)


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Linear(4, 8)
        self.two = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        y = self.one(x)
        return y + self.two(torch.relu(y))


def baked(bits: int) -> tuple[nn.Module, tuple, Tensor]:  # type: ignore[type-arg]
    torch.manual_seed(0)
    model, x = Residual().eval(), torch.randn(6, 4)
    layers = trace(model, x)
    space = Space(name="s", weights=(4,), activations=(bits,)).resolve(layers)
    method = METHODS["lsq"]()
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    network.begin(space.uniform(space.choices[0]))
    return evaluated(network, integers=False), layers, x


def test_maps_carry_the_bits_of_their_readers() -> None:
    """input → one → y ↘ relu → two → z; y + z. Only layers quantize, so y needs 32 bits; the relu's output is read at 4 alone."""
    seen = walk(*baked(4))
    assert [operation.name for operation in seen.operations] == ["addmm", "relu", "addmm", "add"]
    assert [(m.elements, m.bits, m.born, m.last) for m in seen.maps] == [
        (4, 4, -1, 0),
        (8, 32, 0, 3),
        (8, 4, 1, 2),
        (8, 32, 2, 3),
        (8, 32, 3, 3),
    ]
    assert [operation.bits_moved for operation in seen.operations] == [4 * 4 + 8 * 32, 16 * 32, 8 * 4 + 8 * 32, 24 * 32]


def test_float_inputs_count_as_float_and_the_network_is_left_alone() -> None:
    model, layers, x = baked(FLOAT_BITS)
    before = model(x)
    assert {seen.bits for seen in walk(model, layers, x).maps} == {FLOAT_BITS}
    assert torch.equal(model(x), before)
    model, layers, x = baked(4)
    walk(model, layers, x)
    quantizer = model.get_submodule("one").input_quantizer
    assert not quantizer._forward_hooks
    assert not quantizer._forward_pre_hooks

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.methods.ste import Ste
from mpsearch.network.quantizers import ActQuantizer, FixedActQuantizer, attach_act_quantizer
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import act_grid, weight_grid


class Remembers(nn.Module):
    """Any inputs; keeps what it received."""

    def forward(self, first: Tensor, second: Tensor | None = None) -> Tensor:
        self.received = (first, second)
        return first


def activation(bits: int = 4, step: float = 0.25) -> ActQuantizer:
    quantizer = FixedActQuantizer()
    quantizer.set_grid(bits, act_grid(bits, True))
    quantizer.begin(torch.tensor(step))
    return quantizer


def test_a_quantized_weight_is_what_it_exports() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    quantizer = Ste().weight_quantizer(Rows.of(layer, layer.weight))
    assert torch.equal(quantizer(layer.weight), layer.weight)  # float until told otherwise
    quantizer.set_grid(3, weight_grid(3, "twos"))
    quantizer.begin(quantizer.rows.split(layer.weight.detach()), torch.full((4,), 0.05))
    codes, steps = quantizer.export(layer.weight.detach())
    assert codes.dtype == torch.int16
    assert (int(codes.min()), int(codes.max())) >= (-4, 0)
    assert int(codes.max()) <= 3
    torch.testing.assert_close(quantizer(layer.weight), quantizer.rows.join(codes * steps.unsqueeze(1)))


def test_an_activation_lands_on_its_levels() -> None:
    x = torch.linspace(-5, 5, 101)
    levels = set(activation()(x).tolist())
    assert levels == {0.25 * code for code in range(-8, 8)}
    assert torch.equal(FixedActQuantizer()(x), x)


def test_the_first_input_is_quantized_by_position_or_by_name() -> None:
    module, x = Remembers(), torch.tensor([0.3, 0.6])
    attach_act_quantizer(module, activation())
    expected = torch.tensor([0.25, 0.5])
    module(x, x)
    assert torch.equal(module.received[0], expected)
    assert module.received[1] is x
    module(first=x, second=x)
    assert torch.equal(module.received[0], expected)
    assert module.received[1] is x


def test_attention_quantizes_query_key_and_value() -> None:
    torch.manual_seed(0)
    attention, x = nn.MultiheadAttention(4, 2, batch_first=True).eval(), torch.randn(2, 3, 4)
    quantizer = activation()
    quantized = quantizer(x)
    expected = attention(quantized, quantized, quantized, need_weights=False)[0]
    attach_act_quantizer(attention, quantizer)
    assert torch.equal(attention(x, x, x, need_weights=False)[0], expected)
    assert torch.equal(attention(query=x, key=x, value=x, need_weights=False)[0], expected)


@pytest.mark.parametrize("bits", [2, 8])
def test_bits_travel_with_the_state(bits: int) -> None:
    other = FixedActQuantizer()
    other.load_state_dict(activation(bits).state_dict())
    assert other.bits == bits
    x = torch.randn(50)
    assert torch.equal(other(x), activation(bits)(x))

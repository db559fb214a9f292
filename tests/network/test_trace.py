from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.network.trace import trace
from tests.networks import NETWORKS, Depthwise, NormUsedTwice, SharedModule, TiedLanguageModel, trained_statistics


class Backwards(nn.Module):
    """Defined in another order than called; one layer is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.unused, self.first = nn.Linear(3, 2), nn.Linear(9, 9), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.last(torch.relu(self.first(x)))
        return outputs


def test_layers_come_in_forward_order_and_uncalled_ones_last() -> None:
    layers = trace(Backwards().eval(), torch.randn(5, 4))
    assert [layer.module for layer in layers] == ["first", "last", "unused"]
    assert [layer.macs for layer in layers] == [12, 6, 0]
    assert [layer.input_elements for layer in layers[:2]] == [4, 3]
    assert [layer.signed_input for layer in layers[:2]] == [True, False]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_model_is_left_as_it_was(name: str) -> None:
    build, inputs = NETWORKS[name]
    torch.manual_seed(0)
    model, batch = build().train(), inputs()
    state, chance = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    trace(model, batch)
    assert torch.equal(torch.get_rng_state(), chance)
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(torch.equal(tensor, state[key]) for key, tensor in model.state_dict().items())


def test_a_weight_that_two_modules_share_is_one_layer() -> None:
    layers = trace(TiedLanguageModel().eval(), torch.randint(0, 20, (8, 5)))
    assert [(layer.module, layer.aliases) for layer in layers] == [("embedding", ("head.weight",)), ("mix", ())]


def test_multiplications_of_all_calls_count() -> None:
    layers = {layer.module: layer for layer in trace(SharedModule().eval(), torch.randn(8, 2, 8, 8))}
    assert layers["first"].macs == 4 * 2 * 9 * 64
    assert layers["shared"].macs == 2 * 4 * 4 * 9 * 64


def test_a_norm_belongs_to_the_layer_whose_output_it_alone_receives() -> None:
    norms = {layer.module: layer.norm for layer in trace(Depthwise().eval(), torch.randn(8, 1, 8, 8))}
    assert norms == {"stem": "bn1", "depth": "bn2", "grouped": "", "head": ""}
    assert not any(layer.norm for layer in trace(trained_statistics(NormUsedTwice()), torch.randn(8, 1, 8, 8)))


def test_what_cannot_be_traced_is_one_clear_line() -> None:
    with pytest.raises(ModelError, match="nothing to quantize"):
        trace(nn.Sequential(nn.ReLU()), torch.randn(2, 3))
    with pytest.raises(ModelError, match="forward pass failed on a batch of the data: RuntimeError"):
        trace(nn.Linear(3, 2), torch.randn(2, 4))
    with pytest.raises(ModelError, match=r"returns no floating-point tensor \(0 \[2\], 1 str\)"):
        trace(Answers(lambda x: (x.argmax(1), "a")), torch.randn(2, 4))


class Answers(nn.Module):
    """Returns what a function makes of its scores."""

    def __init__(self, answer: Any) -> None:
        super().__init__()
        self.layer, self.answer = nn.Linear(4, 3), answer

    def forward(self, x: Tensor) -> Any:
        return self.answer(self.layer(x))


def test_outputs_may_be_a_structure() -> None:
    for answer in (lambda x: (x, x.argmax(1)), lambda x: {"logits": x, "none": None}, lambda x: [[x]]):
        assert [layer.name for layer in trace(Answers(answer), torch.randn(2, 4))] == ["layer"]


class TwoOutputs(nn.Module):
    def __init__(self, *, tells: bool) -> None:
        super().__init__()
        self.conv, self.norm, self.tells = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), tells

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.conv(x)
        z = self.norm(y)
        return z, (y if self.tells else z).mean((2, 3))


def test_folding_must_keep_every_output() -> None:
    """The second output shows what is before the norm."""
    for tells, norm in ((False, "norm"), (True, "")):
        (layer,) = trace(trained_statistics(TwoOutputs(tells=tells)), torch.randn(8, 1, 8, 8))
        assert layer.norm == norm

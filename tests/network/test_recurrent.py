"""A recurrent module under a parametrization computes with the parametrized weights, and gradients reach what is behind them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils import parametrize

from mpsearch.network.recurrent import follow_weights, recurrent_weights


class Twice(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return 2 * weight


KINDS = {
    "lstm": lambda: nn.LSTM(4, 3, num_layers=2, bidirectional=True),
    "projected": lambda: nn.LSTM(4, 5, proj_size=3),
    "gru": lambda: nn.GRU(4, 3),
    "rnn": lambda: nn.RNN(4, 3, bias=False),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("kind", KINDS)
def test_parametrized_weights_are_computed_with(kind: str) -> None:
    torch.manual_seed(0)
    module, x = KINDS[kind](), torch.randn(6, 2, 4)
    doubled, followed = copy.deepcopy(module), copy.deepcopy(module)
    with torch.no_grad():
        for name in recurrent_weights(doubled):
            getattr(doubled, name).mul_(2)
    follow_weights(followed)
    assert torch.equal(followed(x)[0], module(x)[0])
    for name in recurrent_weights(module):
        parametrize.register_parametrization(followed, name, Twice())
    outputs = followed(x)[0]
    assert torch.equal(outputs, doubled(x)[0])
    outputs.sum().backward()
    doubled(x)[0].sum().backward()
    for name in recurrent_weights(module):
        original = followed.get_parameter(f"parametrizations.{name}.original")
        torch.testing.assert_close(original.grad, 2 * getattr(doubled, name).grad)
    again = copy.deepcopy(followed)  # after a pass with gradients
    with torch.no_grad():
        again.get_parameter(f"parametrizations.{recurrent_weights(module)[0]}.original").zero_()
    assert not torch.equal(again(x)[0], outputs)
    assert torch.equal(followed(x)[0], outputs)


def test_a_functional_call_replaces_weights() -> None:
    torch.manual_seed(0)
    module, x = nn.LSTM(4, 3), torch.randn(6, 2, 4)
    follow_weights(module)
    replaced = functional_call(module, {"weight_hh_l0": torch.zeros(12, 3)}, (x,))
    assert not torch.equal(replaced[0], module(x)[0])


def test_a_module_follows_once_and_keeps_its_name() -> None:
    module = nn.Sequential(nn.LSTM(4, 3))
    follow_weights(module)
    kind = type(module[0])
    follow_weights(module)
    assert type(module[0]) is kind
    assert isinstance(module[0], nn.LSTM)
    assert kind.__name__ == "LSTM"
    module.double().float()
    assert [name for name, _ in module.named_parameters()] == [name for name, _ in nn.Sequential(nn.LSTM(4, 3)).named_parameters()]


def test_matrices_of_every_kind() -> None:
    assert recurrent_weights(nn.LSTM(4, 5, proj_size=3)) == ["weight_ih_l0", "weight_hh_l0", "weight_hr_l0"]
    assert recurrent_weights(nn.GRUCell(4, 5)) == ["weight_ih", "weight_hh"]
    assert len(recurrent_weights(nn.RNN(4, 3, num_layers=3, bidirectional=True))) == 12

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.network.trace import survey, trace
from tests.networks import NETWORKS, BareParameters, Depthwise, NormUsedTwice, SharedModule, TiedLanguageModel, trained_statistics


class Backwards(nn.Module):
    """Defined in another order than called; one layer is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.last, self.unused, self.first = nn.Linear(3, 2), nn.Linear(9, 9), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.last(torch.relu(self.first(x)))
        return outputs


class Whole(nn.Module):
    """The outputs of a recurrent layer alone."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        outputs: Tensor = self.layer(x)[0]
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


def test_parameters_are_found_by_their_use() -> None:
    layers = {layer.name: layer for layer in trace(BareParameters().eval(), torch.randn(8, 6))}
    assert {name: (layer.kind, layer.axes, layer.macs) for name, layer in layers.items()} == {
        "first": ("linear", (0,), 72),
        "heads": ("einsum", (0, 2), 96),
        "again": ("matmul", (1,), 2 * 64),
        "steps.1": ("matmul", (1,), 64),
        "layer": ("addmm", (1,), 24),
    }
    assert layers["again"].aliases == ("steps.0",)
    assert not any(layer.act_quantizable or layer.bias_elements for layer in layers.values())


@pytest.mark.parametrize(("kind", "gates"), [(nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)])
def test_recurrent_layers_multiply_at_every_step(kind: type[nn.Module], gates: int) -> None:
    module = kind(10, 6, num_layers=2, bidirectional=True, batch_first=True)
    layers = trace(Whole(module), torch.randn(3, 7, 10))
    assert len(layers) == 8
    assert sum(layer.macs for layer in layers) == 7 * 2 * gates * 6 * ((10 + 6) + (12 + 6))
    assert (layers[0].input_elements, layers[0].output_elements) == (70, 7 * gates * 6)


def test_packed_sequences_count_their_real_steps() -> None:
    class Packing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm = nn.LSTM(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            packed = nn.utils.rnn.pack_padded_sequence(x, torch.tensor([5, 3]))
            outputs: Tensor = self.lstm(packed)[1][0][-1]
            return outputs

    assert [layer.macs for layer in trace(Packing(), torch.randn(5, 2, 4))] == [8 * 12 * 4 // 5, 8 * 12 * 3 // 5]


def test_a_weight_used_without_a_call_of_its_module_counts() -> None:
    class Borrowed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(20, 8)
            self.fused = nn.Linear(8, 24)

        def forward(self, tokens: Tensor) -> Tensor:
            x = self.embedding(tokens)
            q, k, v = F.linear(x, self.fused.weight).chunk(3, -1)
            return F.scaled_dot_product_attention(q, k, v) @ self.embedding.weight.t()

    layers = trace(Borrowed().eval(), torch.randint(20, (4, 5)))
    assert [(layer.name, layer.macs, layer.axes) for layer in layers] == [("embedding", 5 * 160, None), ("fused", 5 * 192, None)]


def test_multiplications_that_no_function_shows_are_named() -> None:
    class Three(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.kernel = nn.Parameter(torch.randn(4, 4))
            self.memory = nn.Parameter(torch.randn(1, 3, 4))
            self.head = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            x = self.head(torch.einsum("ni,ij,nj->nj", x, self.kernel, x))
            return F.scaled_dot_product_attention(x.unsqueeze(1), self.memory, self.memory).squeeze(1)

    found = survey(Three().eval(), torch.randn(5, 4))
    assert found.uncounted == ("kernel",)
    assert [layer.name for layer in found.layers] == ["kernel", "head"]


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

"""A C program gives the logits that were scored, in every format, and has the bytes that its cost promised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, Blueprint
from mpsearch.targets.c.program import CompiledModel
from mpsearch.targets.c.write import CWriter
from tests.targets.c.programs import EIGHT, baked, chosen, difference, needs_compiler

MIXES = [
    ("f", "2", "f", "3"),
    ("4", "5", "6", "7"),
    ("8", "h1", "h2", "h5"),
    ("h8", "t", "ts", "4s"),
    ("4g32", "3g32z", "h2g32", "tg32"),
    ("2z", "8z", "4z", "8"),
    ("p1", "p3", "p4", "p6"),
    ("p3", "p8", "p3g32", "p2"),
    ("m1", "m2", "m3", "m6"),
]
"""Formats of the layers `first`, `second`, `hidden` and `head`; `depthwise` has the method's own one."""


MIXED = ("4", "3", "8", "2")


class Net(nn.Module):
    """A convolution with BatchNorm, one with a bias, a depthwise one, a residual, two linear layers; 32 divides the weights of channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 4, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 8, (2, 4), stride=2, padding=(0, 2), dilation=(2, 1))
        self.depthwise = nn.Conv2d(8, 8, 2, groups=8)
        self.hidden = nn.Linear(64, 32)
        self.head = nn.Linear(32, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = self.second(x)
        x = torch.relu(self.depthwise(nn.functional.pad(x, (0, 1, 0, 1)))) + x
        x = nn.functional.adaptive_max_pool2d(x[:, :, :2], (2, 2)).flatten(1)
        logits: Tensor = self.head(torch.tanh(self.hidden(torch.cat([x, -x], 1))))
        return logits


@pytest.fixture(scope="module")
def net() -> tuple[nn.Module, Tensor, CWriter]:
    torch.manual_seed(0)
    model, x = Net().eval(), torch.randn(6, 2, 7, 7)
    for norm in [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]:
        norm.running_mean.normal_()
        norm.running_var.uniform_(0.5, 2)
    return model, x, CWriter(Blueprint(architecture=model, inputs=x, layers=trace(model, x)))


def write(net: tuple[nn.Module, Tensor, CWriter], path: Path, mix: tuple[str, ...], act: NumberFormat) -> float:
    """Write the network in some formats, check its bytes, and return the difference from torch."""
    model, x, writer = net
    own = dict(zip(("first", "second", "hidden", "head"), map(NumberFormat.parse, mix), strict=True))
    other = NumberFormat.parse(mix[0].partition("g")[0])
    space, parts = baked(model, x, other if other.granularity == "channel" else EIGHT, act, own)
    writer.blueprint = Blueprint.of(model, x, space)  # the trace is the same for all formats
    size = writer.write(path, parts)
    choices = chosen(space, parts)
    promised = sum(writer.layer_bytes(layer, choices[layer.name].weight, choices[layer.name].activation) for layer in space.layers)
    assert size == writer.overhead_bytes + promised == TARGETS["c"]().deployed_bytes(path)
    return difference(path, model, space, parts, x)


@needs_compiler
@pytest.mark.parametrize("mix", MIXES, ids="-".join)
def test_logits_of_every_format_with_float_and_eight_bit_inputs(
    mix: tuple[str, ...], net: tuple[nn.Module, Tensor, CWriter], tmp_path: Path
) -> None:
    assert write(net, tmp_path / "model.c", mix, FLOAT) < 2e-6
    assert write(net, tmp_path / "model.c", mix, EIGHT) < 2e-6


@needs_compiler
@pytest.mark.parametrize("bits", range(2, 8))
def test_inputs_of_every_width_are_packed(bits: int, net: tuple[nn.Module, Tensor, CWriter], tmp_path: Path) -> None:
    assert write(net, tmp_path / "model.c", MIXED, NumberFormat("uniform", bits)) < 2e-6
    text = (tmp_path / "model.c").read_text()
    assert "quantize_packed" in text
    assert "int32_t sum" in text


@needs_compiler
def test_scales_and_biases_that_half_precision_cannot_hold(net: tuple[nn.Module, Tensor, CWriter], tmp_path: Path) -> None:
    model, x, writer = net
    space, parts = baked(model, x)
    wide = tuple(replace(layer, wide=True) for layer in space.layers)
    layers = {
        layer.name: replace(
            each := parts.layers[layer.name],
            weight=replace(each.weight, scales=replace(each.weight.scales, values=each.weight.scales.numbers(), exponent=0)),  # type: ignore[arg-type]
            bias=each.bias if not hasattr(each.bias, "numbers") else replace(each.bias, values=each.bias.numbers(), exponent=0),  # type: ignore[type-var]
        )
        for layer in space.layers
    }
    space, parts = replace(space, layers=wide), replace(parts, layers=layers)
    writer.blueprint = Blueprint.of(model, x, space)
    writer.write(tmp_path / "model.c", parts)
    assert difference(tmp_path / "model.c", model, space, parts, x) < 2e-6


@needs_compiler
def test_the_file_holds_an_example_with_its_outputs(net: tuple[nn.Module, Tensor, CWriter], tmp_path: Path) -> None:
    write(net, tmp_path / "model.c", MIXED, FLOAT)
    program = CompiledModel(tmp_path / "model.c")
    given, expected = program.test_vector()
    assert torch.equal(given.reshape(2, 7, 7), net[1][0])
    assert torch.allclose(program(given[None])[0], expected, rtol=1e-5, atol=1e-6)


def test_the_same_numbers_give_the_same_file(net: tuple[nn.Module, Tensor, CWriter], tmp_path: Path) -> None:
    for name in ("one.c", "two.c"):
        write(net, tmp_path / name, MIXED, EIGHT)
    assert (tmp_path / "one.c").read_bytes() == (tmp_path / "two.c").read_bytes()


def test_what_no_layer_holds_is_all_of_the_overhead(net: tuple[nn.Module, Tensor, CWriter]) -> None:
    assert net[2].overhead_bytes == 0

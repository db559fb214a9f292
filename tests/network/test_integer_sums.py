"""Layers that multiply integers: which, that they compute what their values say, and that no order of additions changes them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.integer_sums import multiplies_integers
from mpsearch.network.network import Network
from mpsearch.network.trace import trace

FOUR, EIGHT = NumberFormat("uniform", 4), NumberFormat("uniform", 8)


class Net(nn.Module):
    """Convolutions of all kinds that multiply integers, linear layers on three and two axes, one without a bias."""

    def __init__(self, norm: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8) if norm else nn.Identity()
        self.grouped = nn.Conv2d(8, 8, 3, groups=4, padding=1, padding_mode="reflect")
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2, groups=2)
        self.line = nn.Conv1d(6, 6, 3)
        self.rows = nn.Linear(6, 5)
        self.last = nn.Linear(5, 4, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = self.up(torch.relu(self.grouped(x))).flatten(2)
        x = self.rows(torch.relu(self.line(x)).transpose(1, 2))
        y: Tensor = self.last(x.mean(1))
        return y


def baked(choice: str, net: nn.Module | None = None, method: str = "lsq", **settings: Any) -> tuple[nn.Module, Any, Parts, Tensor]:
    torch.manual_seed(0)
    model, x = (net or Net()).eval(), torch.randn(8, 3, 6, 6)
    layers = trace(model, x)
    wanted = Choice.parse(choice)
    space = Space(name="s", weights=(wanted.weight,), activations=(wanted.activation,)).resolve(layers)
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS[method](**settings))
    network.begin(Allocation({layer.name: menu[0] for layer, menu in zip(layers, space.menus, strict=True)}))
    return model, layers, bake(network), x


@pytest.mark.parametrize("choice", ["w1a4", "w2a4", "w3a3", "w4a8", "w8a8", "wta4", "wp3a4", "w4sa8", "w4za4"])
def test_every_layer_multiplies_integers_and_computes_what_its_values_say(choice: str) -> None:
    powers = {"method": "learned_range", "levels": "power_of_two"} if choice.startswith("wp") else {}
    model, layers, parts, x = baked(choice, Net(norm="s" not in choice), **powers)
    whole, values = install(model, layers, parts), install(model, layers, parts, integers=False)
    for layer in layers:
        module: Any = whole.get_submodule(layer.module)
        assert torch.equal(module.weight, module.weight.round()), layer.name
        assert module.weight.abs().max() <= 255
        held: Any = values.get_submodule(layer.module)
        assert not torch.equal(held.weight, held.weight.round())
    seen: list[Tensor] = []
    for module in (whole.get_submodule(layer.module) for layer in layers):
        module.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        first, second = whole(x), values(x)
    assert all(torch.equal(each, each.round()) for each in seen)
    assert (first - second).abs().median() <= 1e-4 * second.abs().max()


@pytest.mark.parametrize("choice", ["w4a4", "w2a8", "w8a8"])
def test_the_order_of_additions_changes_nothing(choice: str) -> None:
    """The channels of every convolution's input in another order, and sums in float64: bit for bit the same."""
    model, layers, parts, x = baked(choice)
    net: Any = install(model, layers, parts)
    first = net.first
    n = first.input_quantizer(x)
    shuffled = torch.randperm(3)
    for each in (
        F.conv2d(n[:, shuffled], first.weight[:, shuffled], padding=1),
        F.conv2d(n.double(), first.weight.double(), padding=1).float(),
    ):
        assert torch.equal(first.output_scaling(each), first(x))


def test_gradients_of_inputs_are_those_of_the_values() -> None:
    model, layers, parts, x = baked("w8a8")
    found = []
    for integers in (True, False):
        given = x.clone().requires_grad_()
        install(model, layers, parts, integers=integers)(given).square().sum().backward()
        assert given.grad is not None
        found.append(given.grad)
    assert found[0].abs().max() > 0
    assert (found[0] - found[1]).abs().median() <= 1e-3 * found[1].abs().max()


def test_what_else_stays_in_values() -> None:
    layers = {layer.name: layer for layer in trace(Net().eval(), torch.randn(4, 3, 6, 6))}
    first, conv = layers["first"], Net().first
    assert multiplies_integers(conv, first, FOUR, EIGHT)
    for weight, input in [
        (FLOAT, EIGHT),
        (FOUR, None),
        (FOUR, FLOAT),
        (FOUR, NumberFormat("power_of_two", 4)),
        (NumberFormat("multibit", 2), EIGHT),
        (NumberFormat("power_of_two", 8), EIGHT),
        (NumberFormat.parse("4g32"), EIGHT),
    ]:
        assert not multiplies_integers(conv, first, weight, input)
    for other in (replace(first, aliases=("x.weight",)), replace(first, read_elsewhere=True), replace(first, axes=(0,))):
        assert not multiplies_integers(conv, other, FOUR, EIGHT)
    assert not multiplies_integers(nn.Embedding(3, 8), first, FOUR, EIGHT)


class Standardised(nn.Conv2d):
    """Takes the mean off its weight, so integers would not do."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight - self.weight.mean((1, 2, 3), keepdim=True), self.bias)


class Elsewhere(nn.Module):
    """The head's weight is read by the loss's side, too."""

    def __init__(self) -> None:
        super().__init__()
        self.body = Standardised(3, 4, 3)
        self.head = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x).mean((2, 3))
        y: Tensor = self.head(x) + F.linear(x, self.head.weight)
        return y


def test_weights_that_others_read_or_change_stay_in_values() -> None:
    model, layers, parts, x = baked("w4a8", Elsewhere())
    assert [layer.read_elsewhere for layer in layers] == [False, True]
    net = install(model, layers, parts)
    for name in ("body", "head"):
        assert not hasattr(net.get_submodule(name), "output_scaling")
    assert torch.equal(net(x), install(model, layers, parts, integers=False)(x))


def test_hooks_of_the_user_see_outputs() -> None:
    seen: list[Tensor] = []
    net = Net()
    net.rows.register_forward_hook(lambda module, args, output: seen.append(output))
    model, layers, parts, x = baked("w4a8", net)
    seen.clear()
    install(model, layers, parts)(x)
    install(model, layers, parts, integers=False)(x)
    assert (seen[0] - seen[1]).abs().median() <= 1e-4 * seen[1].abs().max()

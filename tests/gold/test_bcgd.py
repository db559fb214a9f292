"""`bcgd` against the authors' code: activation, projection, blended steps.

One scale per tensor is one row here. `bits` of their weights are our `narrow` grid: ±1, −1 … 1, −7 … 7; of activations our unsigned grid.
Our activation step is `ratio · start`; with a start of 1 the ratio is their alpha, so rate and clamp act on the same numbers.
Where we deviate, and what is checked instead:

- Activations round to nearest, theirs up: their value at x is ours at x + alpha/2, less a hair for x on a step. So does the `full` rule.
- Bounds are on the ratio to the calibrated step, [1e-3, 5] of theirs where it is 0.1946, and apply after each optimizer step.
- A weight of exactly 0 goes to +scale at one bit, where theirs has a value of 0.
- The ternary scale is the mean over the weights that are kept, theirs over all: theirs = ours · kept/all. In blended steps at two bits
  this changes every later weight, so there projections of the file's own weights are compared, and no steps.
- Half-way values are rounded to even, theirs down (ternary: away from zero): those weights are moved off the border by 1e-6 of themselves.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.methods.bcgd import Bcgd
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import act_grid, weight_grid
from tests.gold import gold

CASES: list[Any] = gold("bcgd")["cases"]
WIDTHS = {"one_bit": 1, "ternary": 2, "four_bit": 4}
PUBLISHED_START = 0.1946


def cases(part: str) -> list[Any]:
    return [pytest.param(c["inputs"], c["outputs"], id=f"{k}-{c['case']}") for k, c in enumerate(CASES) if c["part"] == part]


def double(values: Any) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def attached(method: Bcgd, choice: Choice, weight: Tensor) -> Network:
    """A linear layer with one output."""
    model = nn.Sequential(nn.ReLU(), nn.Linear(weight.numel(), 1, bias=False))
    model[1].weight.data.copy_(weight.reshape(1, -1))
    x = torch.randn(8, weight.numel(), generator=torch.Generator().manual_seed(0))
    space = Space(name="one", weights=(choice.weight.bits,), activations=(choice.activation.bits,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    network.begin(space.uniform(choice))
    network.model.train()
    return network


def activation_of(network: Network) -> Any:
    quantizer = network.act_quantizer(network.space.layers[0])
    assert quantizer is not None
    return quantizer.double()


def test_every_part_is_compared() -> None:
    assert {case["part"] for case in CASES} == {"activation", "projection", "blended"}


@pytest.mark.parametrize(("inputs", "outputs"), cases("activation"))
def test_the_activation(inputs: Any, outputs: Any) -> None:
    method = Bcgd(step_gradient=inputs["rule"], rate=inputs["rate"])
    network = attached(method, Choice(4, inputs["bits"]), torch.ones(4))
    quantizer = activation_of(network)
    assert quantizer.grid == act_grid(inputs["bits"], signed=False)
    quantizer.begin(double(1.0))
    quantizer.ratio.data.fill_(outputs["alpha_used"])
    x, upstream = double(inputs["x"]).requires_grad_(), double(inputs["upstream"])
    quantizer(x).backward(upstream)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, double(outputs["dx"]), rtol=0, atol=0)
    up = x.detach() + outputs["alpha_used"] * (0.5 - 1e-9)
    if inputs["rule"] == "full":
        quantizer.ratio.grad = None
        quantizer(up).backward(upstream)
    with torch.no_grad():
        torch.testing.assert_close(quantizer(up), double(outputs["y"]), rtol=1e-10, atol=1e-10)
        method.before_step(network, 0.0)
    assert float(quantizer.ratio.grad) == pytest.approx(outputs["dalpha"], rel=1e-10, abs=1e-12)


@pytest.mark.parametrize(("inputs", "outputs"), cases("activation"))
def test_bounds_of_the_step(inputs: Any, outputs: Any) -> None:
    method = Bcgd()
    network = attached(method, Choice(4, inputs["bits"]), torch.ones(4))
    quantizer = activation_of(network)
    quantizer.begin(double(PUBLISHED_START))
    quantizer.ratio.data.fill_(inputs["alpha"] / PUBLISHED_START)
    with torch.no_grad():
        method.after_step(network, 0.0)
    assert float(quantizer.step_value().detach()) == pytest.approx(outputs["alpha_used"], rel=1e-6)


def projected(weight: Tensor, bits: int) -> Tensor:
    quantizer = Bcgd(grid="narrow", start="published").weight_quantizer(Rows("first", (1, weight.numel())))
    quantizer.set_grid(bits, weight_grid(bits, "narrow"))
    rows = weight.reshape(1, -1)
    quantizer.begin(rows, torch.ones(1))
    return quantizer(rows).reshape(weight.shape)


def off_the_border(weight: Tensor, bits: int) -> Tensor:
    """Half-way values moved towards where theirs round them; the largest weight, which defines the step, stays."""
    if bits == 2:
        border = (weight.abs() - 0.7 * weight.abs().mean()).abs() < 1e-6 * weight.abs()
        return torch.where(border, weight * (1 + 1e-6), weight)
    place = weight.abs() * 7.5 / weight.abs().max()
    border = ((place - place.floor()) - 0.5).abs() < 1e-5
    return torch.where(border & (weight.abs() < weight.abs().max()), weight * (1 - 1e-6), weight)


@pytest.mark.parametrize("name", WIDTHS)
@pytest.mark.parametrize(("inputs", "outputs"), cases("projection"))
def test_the_projection(inputs: Any, outputs: Any, name: str) -> None:
    weight, theirs, bits = torch.tensor(inputs["w"]), torch.tensor(outputs[name]), WIDTHS[name]
    ours = projected(off_the_border(weight, bits) if bits > 1 else weight, bits)
    if bits == 2:
        ours = ours * (theirs != 0).double().mean().float()
    if bits == 1:
        scale = weight.abs().mean()
        assert torch.allclose(ours[weight == 0], scale)
        assert (theirs[weight == 0] == 0).all()
        ours = torch.where(weight == 0, torch.zeros(()), ours)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("inputs", "outputs"), cases("blended"))
def test_blended_steps(inputs: Any, outputs: Any) -> None:
    start, target = torch.tensor(inputs["w_start"]), torch.tensor(inputs["target"])
    if inputs["bits"] == 2:
        befores = [start, *torch.tensor(outputs["latent"])[:-1]]
        for before, theirs in zip(befores, torch.tensor(outputs["projected"]), strict=True):
            share = (theirs != 0).float().mean()
            torch.testing.assert_close(projected(before, 2) * share, theirs, rtol=1e-5, atol=1e-6)
        return
    method = Bcgd(grid="narrow", start="published", rho=inputs["rho"])
    network = attached(method, Choice(inputs["bits"], FLOAT_BITS), start)
    layer: Any = network.model.get_submodule(network.space.layers[0].module)
    weight = network.latent_weight(network.space.layers[0])
    rule = torch.optim.SGD([weight], lr=inputs["lr"], momentum=inputs["momentum"], weight_decay=inputs["weight_decay"])
    for loss, latent, theirs in zip(outputs["loss"], outputs["latent"], outputs["projected"], strict=True):
        quantized = layer.weight.reshape(start.shape)
        torch.testing.assert_close(quantized.detach(), torch.tensor(theirs), rtol=1e-5, atol=1e-6)
        rule.zero_grad()
        ours = (quantized - target).square().sum() / 2
        ours.backward()
        assert ours.item() == pytest.approx(loss, rel=1e-5)
        with torch.no_grad():
            method.before_step(network, 0.0)
        rule.step()
        torch.testing.assert_close(weight.detach().reshape(start.shape), torch.tensor(latent), rtol=1e-5, atol=1e-6)

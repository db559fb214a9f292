"""Steps of one bit width are nobody else's business."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.methods import METHODS
from mpsearch.methods.any_precision import AnyPrecision, AnyStepActivation, AnyStepWeight
from mpsearch.methods.lsq import Lsq
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import act_grid, weight_grid

METHOD = AnyPrecision(grid="half", weight_widths=(1, 2, 4), act_widths=(2, 8))


def quantizer() -> tuple[AnyStepWeight, torch.Tensor]:
    layer = nn.Linear(12, 3)
    made = METHOD.weight_quantizer(Rows.of(layer, layer.weight))
    assert isinstance(made, AnyStepWeight)
    for bits in METHOD.weight_widths:
        made.set_grid(bits, weight_grid(bits, "half"))
        made.begin(layer.weight.detach(), torch.full((3,), 0.1 * bits))
    return made, layer.weight.detach().clone()


def test_it_is_no_method_to_retrain_with() -> None:
    assert not any(METHODS[name] is AnyPrecision for name in METHODS.names())


@pytest.mark.parametrize("bits", METHOD.weight_widths)
def test_a_width_computes_and_learns_as_lsq_does(bits: int) -> None:
    shared, weight = quantizer()
    shared.set_grid(bits, weight_grid(bits, "half"))
    alone = Lsq(grid="half").weight_quantizer(shared.rows)
    alone.set_grid(bits, weight_grid(bits, "half"))
    alone.begin(weight, torch.full((3,), 0.1 * bits))
    for one in (shared, alone):
        one(weight.requires_grad_()).square().sum().backward()
    assert torch.equal(shared(weight), alone(weight))
    (expected,) = (parameter.grad for parameter in alone.parameters())
    assert expected is not None
    assert expected.abs().sum() > 0
    gradients = {name: parameter.grad for name, parameter in shared.named_parameters()}
    torch.testing.assert_close(gradients.pop(f"step{bits}"), expected)
    assert set(gradients.values()) == {None}, "the other widths take no part"


@pytest.mark.parametrize("bits", METHOD.act_widths)
def test_activations_learn_as_lsq_does(bits: int) -> None:
    x = torch.rand(5, 7)
    gradients = []
    for one in (METHOD.act_quantizer(), Lsq().act_quantizer()):
        one.set_grid(bits, act_grid(bits, False))
        one.begin(torch.tensor(0.05))
        one.train()
        one(x).square().sum().backward()
        gradients.append([p.grad for p in one.parameters() if p.grad is not None])
    torch.testing.assert_close(gradients[0], gradients[1])
    assert isinstance(METHOD.act_quantizer(), AnyStepActivation)


def test_kept_weights_are_the_quantized_ones() -> None:
    shared, weight = quantizer()
    grids = {bits: weight_grid(bits, "half") for bits in METHOD.weight_widths}
    before = {}
    for bits, grid in grids.items():
        shared.set_grid(bits, grid)
        before[bits] = shared(weight).detach()
    shared.keep()
    for bits in (1, 4, 1, 2, 4):
        shared.set_grid(bits, grids[bits])
        assert torch.equal(shared(weight), before[bits])
        assert shared(weight) is shared(weight)
    shared.set_grid(FLOAT_BITS, None)
    assert torch.equal(shared(weight), weight)

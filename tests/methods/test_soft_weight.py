"""Soft rounding: where it begins, what it learns, how it ends."""

from __future__ import annotations

import pytest
import torch

from mpsearch.methods.soft_weight import SoftWeight
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import GRID_STYLES, weight_grid


def quantizer(style: str = "half", bits: int = 3) -> tuple[SoftWeight, torch.Tensor]:
    torch.manual_seed(0)
    made = SoftWeight(Rows("first", (4, 6)))
    made.set_grid(bits, weight_grid(bits, style))  # type: ignore[arg-type]
    made.begin(torch.randn(4, 6), torch.rand(4) + 0.3)
    return made, torch.randn(4, 6)


@pytest.mark.parametrize("bits", [1, 2, 3, 8])
@pytest.mark.parametrize("style", GRID_STYLES)
def test_it_begins_as_the_weight_itself_and_hardens_to_its_nearest_codes(style: str, bits: int) -> None:
    made, weight = quantizer(style, bits)
    nearest = made.export(weight)[0]
    made.soften(weight)
    codes = (weight / made.step.unsqueeze(1) - made.grid.offset).clamp(made.grid.lo, made.grid.hi)
    values = (codes + made.grid.offset) * made.step.unsqueeze(1)
    assert bool(((made(weight) - values).abs() <= 0.021 * made.step.unsqueeze(1)).all())
    assert torch.equal(made.harden(), nearest.float())
    assert torch.equal(made.export(weight)[0], nearest)


def test_gradients_reach_v_and_the_step_but_not_the_weight() -> None:
    made, weight = quantizer()
    v = made.soften(weight)
    weight.requires_grad_()
    made(weight).square().sum().backward()
    assert v.grad is not None
    assert made.step.grad is not None
    assert weight.grad is None


def test_driving_the_openness_to_zero_leaves_codes() -> None:
    made, weight = quantizer()
    v = made.soften(weight)
    optimizer = torch.optim.Adam([v], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        openness = made.openness(2.0)
        openness.backward()
        optimizer.step()
    assert float(openness.detach()) < 1e-3
    soft = made(weight).detach()
    codes = made.harden()
    torch.testing.assert_close(soft, (codes + made.grid.offset) * made.step.detach().unsqueeze(1), atol=1e-3, rtol=0)


def test_v_decides_the_code() -> None:
    made, weight = quantizer()
    v = made.soften(weight)
    with torch.no_grad():
        v.fill_(5.0)
    up = made.harden()
    v = made.soften(weight)
    with torch.no_grad():
        v.fill_(-5.0)
    down = made.harden()
    inside = (weight / made.step.unsqueeze(1) - 0.5 < made.grid.hi) & (weight / made.step.unsqueeze(1) - 0.5 > made.grid.lo)
    assert torch.equal((up - down)[inside], torch.ones_like(up)[inside])

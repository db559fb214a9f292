from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mpsearch.numbers.gradients.power_of_two_levels import quantize_to_powers

LAW = settings(deadline=None, max_examples=50)


def samples(seed: int, shape: tuple[int, ...] = (300,)) -> Tensor:
    """Magnitudes from 2^−9 to 2^5, both signs, and a zero."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.exp2(torch.rand(shape, generator=generator) * 14 - 9) * torch.randn(shape, generator=generator).sign()
    x.view(-1)[0] = 0.0
    return x


def by_hand(x: float, smallest: float, largest: float) -> float:
    size = abs(x)
    level = smallest if size < smallest else largest if size >= largest else 2.0 ** math.floor(0.5 + math.log2(size))
    return -level if x < 0 else level


@LAW
@given(low=st.integers(-8, 0), span=st.integers(0, 10), seed=st.integers(0, 99))
def test_is_the_formula_and_its_levels_are_powers_of_two(low: int, span: int, seed: int) -> None:
    smallest, largest = 2.0**low, 2.0 ** (low + span)
    x = samples(seed)
    y = quantize_to_powers(x, torch.tensor(smallest), torch.tensor(largest))
    assert y.tolist() == [by_hand(value, smallest, largest) for value in x.tolist()]
    assert (y.abs().log2() == y.abs().log2().round()).all()
    assert (y != 0).all()
    assert len(y.unique()) <= 2 ** (1 + math.ceil(math.log2(span + 1)))
    assert torch.equal(quantize_to_powers(y, torch.tensor(smallest), torch.tensor(largest)), y)


def test_the_sign_of_nothing_is_plus() -> None:
    assert quantize_to_powers(torch.tensor([0.0, -0.0]), torch.tensor(0.25), torch.tensor(4.0)).tolist() == [0.25, 0.25]


@LAW
@given(seed=st.integers(0, 99))
def test_levels_after_a_relu(seed: int) -> None:
    x = samples(seed)
    y = quantize_to_powers(x, torch.tensor(0.125), torch.tensor(4.0), zero=torch.tensor(True))
    assert (y[x < 0.125 / math.sqrt(2) * 0.999] == 0).all()
    middle = (x > 0.125 / math.sqrt(2) * 1.001) & (x <= 0.125)
    assert (y[middle] == 0.125).all()
    above = x > 0.125
    assert torch.equal(y[above], quantize_to_powers(x, torch.tensor(0.125), torch.tensor(4.0))[above])


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("limits", [(0.125, 4.0), (0.3, 5.1)])
def test_gradients_are_the_table(zero: bool, limits: tuple[float, float]) -> None:
    smallest, largest = limits
    x = samples(7).requires_grad_()
    low, high = torch.full_like(x, smallest).requires_grad_(), torch.full_like(x, largest).requires_grad_()
    y = quantize_to_powers(x, low, high, zero=torch.tensor(zero))
    dx, dlow, dhigh = torch.autograd.grad(y.sum(), (x, low, high))
    value, size = x.detach(), x.detach().clamp_min(0) if zero else x.detach().abs()
    sign = torch.where(value < 0, -1.0, 1.0)
    inside = (size >= smallest) & (size < largest)
    assert inside.any()
    torch.testing.assert_close(dx[inside], (y.detach().abs() / value.abs())[inside])
    assert (dx[~inside] == 0).all()
    moves_low = (size < smallest) & ((size >= smallest * math.sqrt(0.5)) if zero else torch.ones_like(inside))
    torch.testing.assert_close(dlow, torch.where(moves_low, sign, 0.0))
    torch.testing.assert_close(dhigh, torch.where(size >= largest, sign, 0.0))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in (dx, dlow, dhigh))


@pytest.mark.parametrize("zero", [False, True])
def test_on_the_smallest_level_the_value_has_the_gradient_and_on_the_largest_the_level(zero: bool) -> None:
    x = torch.tensor([0.25, 2.0], requires_grad=True)
    low, high = torch.full((2,), 0.25, requires_grad=True), torch.full((2,), 2.0, requires_grad=True)
    y = quantize_to_powers(x, low, high, zero=torch.tensor(zero))
    assert y.tolist() == [0.25, 2.0]
    gradients = torch.autograd.grad(y.sum(), (x, low, high))
    assert [gradient.tolist() for gradient in gradients] == [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]


def test_where_both_levels_are_one_the_largest_has_the_gradient() -> None:
    x, low, high = (torch.tensor([0.5], requires_grad=True) for _ in range(3))
    gradients = torch.autograd.grad(quantize_to_powers(x, low, high).sum(), (x, low, high))
    assert [gradient.item() for gradient in gradients] == [0.0, 0.0, 1.0]


def test_a_limit_gets_the_sum_over_what_it_serves() -> None:
    x = samples(3, (4, 50)).requires_grad_()
    low, high = torch.full((4, 1), 0.125, requires_grad=True), torch.tensor(2.0, requires_grad=True)
    dy = torch.randn(4, 50, generator=torch.Generator().manual_seed(1))
    _, dlow, dhigh = torch.autograd.grad(quantize_to_powers(x, low, high), (x, low, high), dy)
    sign, size = torch.where(x.detach() < 0, -1.0, 1.0), x.detach().abs()
    torch.testing.assert_close(dlow, (dy * sign * (size < 0.125)).sum(1, keepdim=True))
    torch.testing.assert_close(dhigh, (dy * sign * (size >= 2)).sum())

"""Laws of the quantizer with free step and range, and its gradients against the table worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mpsearch.numbers.gradients.learned_range import implied_bits, power_of_two, quantize_in_range, round_straight

LAW = settings(deadline=None, max_examples=50)
STEPS = st.floats(1e-3, 10.0)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def samples(seed: int, scale: float) -> Tensor:
    return torch.randn(400, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * scale


def symmetric(x: Tensor, top: Tensor, step: Tensor, *, codes: float = 127.0) -> Tensor:
    return quantize_in_range(x, -top, top, step, number(-codes), number(codes), number(0.0))


def unsigned(x: Tensor, top: Tensor, step: Tensor) -> Tensor:
    return quantize_in_range(x, torch.zeros_like(top), top, step, number(0.0), number(255.0), number(0.0))


def elementwise(top: float, step: float, x: Tensor, *, two: bool = False) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Q and its partial derivatives by x, top and step, each of the shape of x."""
    inputs = [x.clone().requires_grad_(), torch.full_like(x, top).requires_grad_(), torch.full_like(x, step).requires_grad_()]
    y = unsigned(*inputs) if two else symmetric(*inputs)
    by_x, by_top, by_step = torch.autograd.grad(y.sum(), inputs)
    return y.detach(), by_x, by_top, by_step


@LAW
@given(k=st.integers(1, 127), step=STEPS, seed=st.integers(0, 99))
def test_on_a_whole_range_it_is_the_uniform_quantizer(k: int, step: float, seed: int) -> None:
    x = samples(seed, k * step)
    y = symmetric(x, number(k * step), number(step))
    expected = x.sign() * step * (x.abs() / step + 0.5).floor().clamp(max=k)
    torch.testing.assert_close(y, expected, rtol=1e-9, atol=0)
    assert len(y.unique()) <= 2 * k + 1
    assert torch.equal(symmetric(-x, number(k * step), number(step)), -y)
    positive = unsigned(x, number(k * step), number(step))
    assert (positive[x <= 0] == 0).all()
    assert torch.equal(positive[x > 0], y[x > 0])


@LAW
@given(top=st.floats(0.5, 30.0), seed=st.integers(0, 99), relu=st.booleans())
def test_gradients_are_the_table(top: float, seed: int, relu: bool) -> None:
    """Also where top is no multiple of step, so that the last level is not where the clipping is."""
    step = 0.37
    x = samples(seed, top)
    y, dx, dtop, dstep = elementwise(top, step, x, two=relu)
    low = 0.0 if relu else -top
    kept = x.clamp(low, top)
    torch.testing.assert_close(dx, ((x > low) & (x < top)).double())
    torch.testing.assert_close(dtop, (x >= top).double() - (0.0 if relu else (x <= -top).double()))
    torch.testing.assert_close(dstep, (y - kept) / step)
    assert (dstep.abs() <= 0.5 + 1e-9).all()
    assert set(dtop.unique().tolist()) <= {-1.0, 0.0, 1.0}


@LAW
@given(k=st.integers(1, 60), seed=st.integers(0, 99))
def test_on_a_level_no_sample_moves_both_step_and_range(k: int, seed: int) -> None:
    step = 0.25
    _, _, dtop, dstep = elementwise(k * step, step, samples(seed, k * step))
    assert (dtop * dstep == 0).all()
    assert (dtop != 0).any()


def test_a_value_on_the_edge_belongs_to_the_range() -> None:
    _, dx, dtop, _ = elementwise(1.5, 0.5, number(1.5).reshape(1))
    assert (dx.item(), dtop.item()) == (0.0, 1.0)


def test_codes_beyond_the_grid_are_cut_off() -> None:
    x = torch.tensor([-9.0, 9.0, 2.0], dtype=torch.float64, requires_grad=True)
    y = symmetric(x, number(8.0), number(1.0), codes=3.0)
    assert y.tolist() == [-3.0, 3.0, 2.0]
    (dx,) = torch.autograd.grad(y.sum(), x)
    assert dx.tolist() == [0.0, 0.0, 1.0]


@LAW
@given(exponent=st.integers(-20, 20), factor=st.floats(0.75, 1.4))
def test_power_of_two(exponent: int, factor: float) -> None:
    x = torch.tensor(factor * 2.0**exponent, requires_grad=True)
    y = power_of_two(x)
    assert y.item() == 2.0**exponent
    (gradient,) = torch.autograd.grad(y, x)
    assert gradient.item() == pytest.approx(1 / factor, rel=1e-5)


def test_round_straight() -> None:
    x = torch.tensor([0.4, 0.5, 1.5, -0.7], requires_grad=True)
    y = round_straight(x)
    assert y.tolist() == [0.0, 0.0, 2.0, -1.0]
    assert torch.autograd.grad(y.sum(), x)[0].tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("k", "signed", "bits"),
    [(1, True, 2), (2, True, 3), (3, True, 3), (4, True, 4), (7, True, 4), (127, True, 8), (1, False, 1), (15, False, 4), (16, False, 5)],
)
def test_implied_bits(k: int, signed: bool, bits: int) -> None:
    step = number(0.3)
    assert implied_bits(k * step, step, number(0.0), signed=signed, lowest=1).item() == bits
    assert implied_bits((k + 0.5) * step, step, number(0.5), signed=signed, lowest=1).item() == bits


@LAW
@given(k=st.integers(1, 2**20))
def test_implied_bits_are_exact(k: int) -> None:
    """Where a logarithm of k + 1 in float32 would sometimes be a bit too many."""
    assert implied_bits(torch.tensor(float(k)), torch.tensor(1.0), torch.tensor(0.0), signed=False, lowest=1).item() == k.bit_length()


@LAW
@given(k=st.integers(2, 127), step=st.floats(0.01, 2.0))
def test_gradient_of_implied_bits(k: int, step: float) -> None:
    top, size = number(k * step).requires_grad_(), number(step).requires_grad_()
    dtop, dstep = torch.autograd.grad(implied_bits(top, size, number(0.0), signed=True, lowest=2), (top, size))
    assert dtop.item() == pytest.approx(1 / (math.log(2) * (k + 1) * step))
    assert dstep.item() == pytest.approx(-k * step / (math.log(2) * (k + 1) * step**2))


def test_no_gradient_at_the_lowest_bits() -> None:
    top = number(1.0).requires_grad_()
    bits = implied_bits(top, number(1.0), number(0.0), signed=True, lowest=2)
    assert bits.item() == 2
    assert torch.autograd.grad(bits, top)[0].item() == 0

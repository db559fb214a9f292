from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.numbers.power_of_two import codes, values


def quantized(x: torch.Tensor, scale: torch.Tensor, bits: int) -> torch.Tensor:
    return values(codes(x, scale, bits), scale)


@given(
    bits=st.integers(1, 5),
    exponent=st.integers(-6, 6),
    x=st.floats(-200, 200, width=32).filter(lambda value: value == 0 or abs(value) > 1e-30),
)
def test_is_equation_4_of_the_paper(bits: int, exponent: int, x: float) -> None:
    qmax = 2.0**exponent
    qmin = qmax * 2.0 ** -(2 ** (bits - 1) - 1)
    magnitude = abs(x)
    if magnitude <= qmin:
        expected = qmin
    elif magnitude > qmax:
        expected = qmax
    else:
        expected = 2.0 ** math.floor(0.5 + math.log2(magnitude))
    y = quantized(torch.tensor([[x]]), torch.tensor([qmax]), bits).item()
    assert y == math.copysign(expected, x if x else 1.0)


@pytest.mark.parametrize("bits", range(1, 9))
def test_all_codes_are_used_and_none_is_zero(bits: int) -> None:
    every = torch.arange(-(2 ** (bits - 1)), 2 ** (bits - 1), dtype=torch.int16)[None]
    levels = values(every, torch.ones(1))
    assert len(levels.unique()) == 2**bits
    assert (levels != 0).all()
    assert torch.equal(codes(levels, torch.ones(1), bits), every)


@given(bits=st.integers(1, 8), seed=st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_idempotent_odd_and_by_channel(bits: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, scale = torch.randn(3, 50, generator=generator), torch.rand(3, generator=generator) + 0.1
    y = quantized(x, scale, bits)
    assert torch.equal(quantized(y, scale, bits), y)
    assert torch.equal(quantized(-x, scale, bits), -y)
    assert torch.equal(quantized(x[1:2], scale[1:2], bits), y[1:2])


def test_borders_lie_at_the_square_root_of_two() -> None:
    border = math.sqrt(0.5)
    x = torch.tensor([[border * 0.999999, border * 1.000001]])
    assert quantized(x, torch.ones(1), 4).tolist() == [[0.5, 1.0]]

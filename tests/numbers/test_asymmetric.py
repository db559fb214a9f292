from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.numbers.asymmetric import fake_quantize_between, fit_asymmetric
from mpsearch.numbers.gradients.affine import codes, dequantize
from mpsearch.numbers.grid import weight_grid
from mpsearch.numbers.ranges import fit_steps


def fitted(rows: torch.Tensor, bits: int) -> torch.Tensor:
    steps, lo = fit_asymmetric(rows, bits)
    return fake_quantize_between(rows, steps, lo, 2**bits)


@settings(max_examples=60, deadline=None)
@given(bits=st.integers(2, 8), shift=st.floats(-3, 3), scale=st.floats(0.01, 100), seed=st.integers(0, 1000))
def test_values_lie_on_a_grid_with_an_exact_zero(bits: int, shift: float, scale: float, seed: int) -> None:
    rows = (torch.randn(3, 64, generator=torch.Generator().manual_seed(seed)) + shift) * scale
    steps, lo = fit_asymmetric(rows, bits)
    assert bool((steps > 0).all())
    assert bool((lo == lo.round()).all())
    assert bool((lo <= 0).all()) and bool((lo + 2**bits - 1 >= 0).all())  # noqa: PT018
    quantized = fake_quantize_between(rows, steps, lo, 2**bits)
    assert torch.allclose(fake_quantize_between(quantized, steps, lo, 2**bits), quantized, rtol=1e-5)
    assert all(len(row.unique()) <= 2**bits for row in quantized)
    assert torch.equal(fake_quantize_between(torch.zeros(3, 1), steps, lo, 2**bits), torch.zeros(3, 1))
    inside = (rows >= (lo * steps).unsqueeze(1)) & (rows <= ((lo + 2**bits - 1) * steps).unsqueeze(1))
    assert bool(((rows - quantized).abs() <= steps.unsqueeze(1) * 0.5001)[inside].all())


def test_one_sided_rows_lose_less_than_with_a_symmetric_grid() -> None:
    """The reason for the format: half of a symmetric grid's codes would never be used."""
    rows = torch.rand(4, 400, generator=torch.Generator().manual_seed(0)) + 0.1
    grid = weight_grid(4)
    column = fit_steps(rows, grid).unsqueeze(1)
    symmetric = dequantize(codes(rows, column, grid), column, grid.offset)
    assert (fitted(rows, 4) - rows).square().sum() < 0.5 * (symmetric - rows).square().sum()


def test_zeros_stay_zeros_and_one_bit_is_refused() -> None:
    assert torch.equal(fitted(torch.zeros(2, 5), 3), torch.zeros(2, 5))
    with pytest.raises(ValueError, match="2 bits or more"):
        fit_asymmetric(torch.ones(1, 3), 1)


def test_long_rows_are_fitted_on_a_sample() -> None:
    rows = torch.randn(2, 5000, generator=torch.Generator().manual_seed(1))
    assert float((fitted(rows, 8) - rows).abs().mean()) < 0.02

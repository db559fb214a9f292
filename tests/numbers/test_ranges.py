from __future__ import annotations

import pytest
import torch

from mpsearch.numbers.gradients.affine import codes, dequantize
from mpsearch.numbers.grid import Grid, GridStyle, weight_grid
from mpsearch.numbers.ranges import fit_step, fit_steps


def error(rows: torch.Tensor, steps: torch.Tensor, grid: Grid) -> torch.Tensor:
    return (dequantize(codes(rows, steps[:, None], grid), steps[:, None], grid.offset) - rows).square().sum(1)


@pytest.mark.parametrize("style", ["twos", "half"])
@pytest.mark.parametrize("bits", range(1, 9))
def test_no_other_step_is_much_better(bits: int, style: GridStyle) -> None:
    rows = torch.randn(6, 300, generator=torch.Generator().manual_seed(bits))
    grid = weight_grid(bits, style)
    best = error(rows, fit_steps(rows, grid), grid)
    for factor in torch.linspace(0.3, 3, 200):
        assert (best <= error(rows, fit_steps(rows, grid) * factor, grid) * 1.12).all()


def test_error_falls_with_bits() -> None:
    rows = torch.randn(4, 500, generator=torch.Generator().manual_seed(0))
    errors = [float(error(rows, fit_steps(rows, weight_grid(b, "half")), weight_grid(b, "half")).sum()) for b in range(1, 9)]
    assert errors == sorted(errors, reverse=True)


def test_scales_with_the_weights() -> None:
    rows = torch.randn(3, 100)
    torch.testing.assert_close(fit_steps(rows * 1e-7, weight_grid(4)), fit_steps(rows, weight_grid(4)) * 1e-7)


def test_row_of_zeros_gets_a_positive_step() -> None:
    assert (fit_steps(torch.zeros(2, 5), weight_grid(3)) > 0).all()
    assert (fit_steps(torch.zeros(2, 5), weight_grid(1)) > 0).all()


def test_one_bit_is_the_mean_magnitude() -> None:
    assert fit_step(torch.tensor([1.0, -3.0, 2.0]), weight_grid(1)).item() == pytest.approx(4.0)

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mpsearch.numbers.gradients.affine import codes, dequantize
from mpsearch.numbers.grid import Grid, act_grid, weight_grid
from mpsearch.numbers.lp_clip import best_exponent, lp_multiplier


def normal(count: int = 16_000, seed: int = 0) -> Tensor:
    return torch.randn(1, count, generator=torch.Generator().manual_seed(seed))


def clip(rows: Tensor, grid: Grid, p: float) -> float:
    """Largest level."""
    return lp_multiplier(rows, torch.ones(len(rows)), grid, p) * (grid.hi + grid.offset)


def error(rows: Tensor, steps: Tensor, grid: Grid, p: float) -> float:
    return float((dequantize(codes(rows, steps[:, None], grid), steps[:, None], grid.offset) - rows).abs().pow(p).mean())


@pytest.mark.parametrize(("bits", "sigmas"), [(2, 1.49), (3, 2.05), (4, 2.51)])
def test_squared_error_of_a_gaussian(bits: int, sigmas: float) -> None:
    assert clip(normal(), weight_grid(bits, "half"), 2.0) == pytest.approx(sigmas, rel=0.04)


@pytest.mark.parametrize("grid", [weight_grid(1), weight_grid(2), weight_grid(3, "narrow"), weight_grid(4, "half"), act_grid(3, True)])
@pytest.mark.parametrize("p", [2.0, 3.1])
def test_no_factor_is_better(grid: Grid, p: float) -> None:
    """Against a dense grid, to 1 %, for rows of different sizes that share the factor."""
    rows = normal(6000).reshape(4, -1) * torch.tensor([[0.1], [1.0], [3.0], [0.5]])
    steps = rows.abs().amax(1) / 3
    found = error(rows, steps * lp_multiplier(rows, steps, grid, p), grid, p)
    assert found <= 1.01 * min(error(rows, steps * float(factor), grid, p) for factor in np.linspace(0.02, 6, 600))


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_squared_error_is_least_where_it_clips(bits: int) -> None:
    """The clip itself to 1 %, against a dense grid of clips."""
    rows, grid = normal(), weight_grid(bits, "half")
    found = clip(rows, grid, 2.0)
    top = grid.hi + grid.offset
    tried = found * np.linspace(0.8, 1.25, 901)
    errors = [error(rows, torch.full((1,), float(each) / top), grid, 2.0) for each in tried]
    assert found == pytest.approx(tried[int(np.argmin(errors))], rel=0.01)


@pytest.mark.parametrize("laplace", [False, True])
def test_larger_exponents_clip_less(laplace: bool) -> None:
    rows = normal() * (torch.rand(1, 16_000, generator=torch.Generator().manual_seed(1)).log().neg().sqrt() if laplace else 1.0)
    clips = [clip(rows, weight_grid(4, "half"), p) for p in (1.5, 2.0, 2.5, 3.0, 3.5, 4.0)]
    assert all(later >= earlier * 0.99 for earlier, later in pairwise(clips))
    assert clips[-1] > 1.1 * clips[0]


def test_at_an_exponent_without_end_clipping_costs_half_a_step() -> None:
    rows = torch.linspace(-1, 1, 4001).reshape(1, -1)
    assert clip(rows, weight_grid(3, "half"), 30.0) == pytest.approx(7 / 8, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(1e-7, 1e5), seed=st.integers(0, 20))
def test_the_factor_does_not_change_with_the_unit(scale: float, seed: int) -> None:
    rows, grid = normal(500, seed), weight_grid(3)
    assert lp_multiplier(rows * scale, torch.tensor([scale]), grid, 3.0) == pytest.approx(
        lp_multiplier(rows, torch.ones(1), grid, 3.0), rel=0.01
    )


@pytest.mark.parametrize("rows", [torch.zeros(2, 5), torch.full((1, 4), float("nan"))])
def test_nothing_to_fit(rows: Tensor) -> None:
    assert lp_multiplier(rows, torch.ones(len(rows)), weight_grid(2), 2.0) == 1.0


def test_the_vertex_of_a_parabola() -> None:
    exponents = np.linspace(2, 4, 10).tolist()
    assert best_exponent(exponents, [(p - 3.1) ** 2 + 0.4 for p in exponents]) == pytest.approx(3.1)
    assert best_exponent(exponents, [(p - 4.8) ** 2 for p in exponents]) == pytest.approx(4.8)


@pytest.mark.parametrize(
    ("losses", "expected"),
    [
        ([0.0, 1.0, 0.5], 2.0),  # opens downwards
        ([1.0, 1.0, 1.0], 2.0),  # flat
        ([3.0, 2.0, 1.01], 4.0),  # vertex far beyond
        ([1.0, float("inf"), float("nan")], 2.0),
        ([float("nan")] * 3, 2.0),
    ],
)
def test_no_vertex_to_believe(losses: list[float], expected: float) -> None:
    assert best_exponent([2.0, 3.0, 4.0], losses) == expected

"""Rounding under second moments: never worse than nearest codes, and exhaustively best where that can be told."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from mpsearch.numbers.compensated import Factored, compensated_codes, damped, fit_compensated, quadratic_error
from mpsearch.numbers.grid import GRID_STYLES, Grid, weight_grid

GRIDS = [weight_grid(bits, style) for bits in (1, 2, 3) for style in ("twos", "half")]


def problem(seed: int, groups: int = 2, channels: int = 3, d: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    """Weights, second moments of correlated inputs, and steps."""
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(groups, channels, d, generator=generator)
    mixing = torch.randn(groups, d, d, generator=generator)
    inputs = torch.randn(groups, 50, d, generator=generator) @ mixing
    steps = torch.rand(groups, channels, generator=generator) + 0.3
    return weights, inputs.mT @ inputs / 50, steps


def error(codes: Tensor, steps: Tensor, grid: Grid, weights: Tensor, moments: Tensor) -> Tensor:
    return quadratic_error((codes + grid.offset) * steps.unsqueeze(2) - weights, moments)


def nearest(weights: Tensor, steps: Tensor, grid: Grid) -> Tensor:
    return (weights / steps.unsqueeze(2) - grid.offset).round().clamp(grid.lo, grid.hi)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), grid=st.sampled_from(GRIDS))
def test_codes_are_of_the_grid_and_their_error_is_no_larger_than_that_of_nearest_codes_with_refitted_steps(seed: int, grid: Grid) -> None:
    weights, moments, steps = problem(seed)
    codes, found = fit_compensated(weights, moments, steps, grid, factors=(0.7, 1.0, 1.3), sweeps=4, damping=1e-6)
    assert torch.equal(codes, codes.round())
    assert bool(((codes >= grid.lo) & (codes <= grid.hi)).all())
    assert bool((found > 0).all())
    plain = error(nearest(weights, steps, grid), steps, grid, weights, moments)
    # Each is greedy, so a single row may lose; all rows together do not.
    assert error(codes, found, grid, weights, moments).sum() <= plain.sum() * 1.0001


@pytest.mark.parametrize("grid", GRIDS[:4], ids=str)
def test_close_to_the_best_of_all_codes(grid: Grid) -> None:
    weights, moments, steps = problem(3, groups=1, channels=8, d=5)
    moments = damped(moments, 1e-6)
    codes, found = fit_compensated(weights, moments, steps, grid, sweeps=3, damping=0.0)
    every = torch.tensor(list(itertools.product(range(grid.lo, grid.hi + 1), repeat=5)), dtype=torch.float32)
    best = torch.stack(
        [error(every[None], found[0, row].expand(1, len(every)), grid, weights[:, row : row + 1], moments)[0].min() for row in range(8)]
    )
    mine = error(codes, found, grid, weights, moments)[0]
    plain = error(nearest(weights, found, grid), found, grid, weights, moments)[0]
    assert (mine - best).mean() < 0.25 * (plain - best).mean()


@pytest.mark.parametrize("style", GRID_STYLES)
def test_without_correlation_it_is_nearest_rounding(style: str) -> None:
    weights, _, steps = problem(1)
    grid = weight_grid(3, style)  # type: ignore[arg-type]
    diagonal = torch.diag_embed(torch.rand(2, 6) + 0.1)
    assert torch.equal(compensated_codes(weights, diagonal, steps, grid), nearest(weights, steps, grid))


def test_more_sweeps_never_hurt() -> None:
    weights, moments, steps = problem(5, d=12)
    grid = weight_grid(2, "half")
    damped_moments = damped(moments, 0.01)
    errors = []
    for sweeps in range(4):
        codes, found = fit_compensated(weights, moments, steps, grid, sweeps=sweeps)
        errors.append(error(codes, found, grid, weights, damped_moments))
    assert all(bool((later <= earlier * 1.0001 + 1e-6).all()) for earlier, later in itertools.pairwise(errors))


def test_groups_do_not_touch_each_other() -> None:
    weights, moments, steps = problem(7)
    grid = weight_grid(3)
    both, steps_of_both = fit_compensated(weights, moments, steps, grid, damping=0.01)
    for group in range(2):
        one = slice(group, group + 1)
        codes, found = fit_compensated(weights[one], moments[one], steps[one], grid, damping=0.01)
        assert torch.equal(codes, both[one])
        torch.testing.assert_close(found, steps_of_both[one])


def test_inputs_that_are_all_zero_leave_nearest_codes() -> None:
    weights, _, steps = problem(2)
    grid = weight_grid(4)
    assert torch.equal(compensated_codes(weights, damped(torch.zeros(2, 6, 6), 0.01), steps, grid), nearest(weights, steps, grid))


@pytest.mark.parametrize("grid", GRIDS)
def test_moments_factored_once_give_the_same_codes_for_every_grid(grid: Grid) -> None:
    weights, moments, steps = problem(5)
    factored = Factored.of(damped(moments, 0.01))
    found = [fit_compensated(weights, given, steps, grid, factors=(0.8, 1.0), sweeps=1) for given in (moments, factored)]
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))

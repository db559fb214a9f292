from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mpsearch.numbers.blocked import blocked_codes, fit_blocked, refitted
from mpsearch.numbers.compensated import Factored, compensated_codes, damped, quadratic_error
from mpsearch.numbers.grid import Grid, weight_grid

C, D = 5, 48
GRID = weight_grid(3)


def problem(seed: int = 0) -> tuple[Tensor, Factored]:
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randn(C, D, generator=generator, dtype=torch.float64)
    inputs = torch.randn(200, D, generator=generator, dtype=torch.float64) @ torch.randn(D, D, generator=generator, dtype=torch.float64)
    return weights, Factored.of(damped((inputs.T @ inputs / 200).unsqueeze(0), 0.01))


def steps_of(weights: Tensor, groups: int) -> Tensor:
    return weights.reshape(C, groups, -1).abs().amax(2) / 3


def error(codes: Tensor, steps: Tensor, offset: Tensor, weights: Tensor, factored: Factored) -> Tensor:
    units = (codes.reshape(C, steps.shape[1], -1) + offset.unsqueeze(2)) * steps.unsqueeze(2)
    return quadratic_error((units.reshape(C, D) - weights).unsqueeze(0), factored.moments)[0]


@pytest.mark.parametrize("block", [1, 5, 48, 100])
def test_blocks_of_any_size_give_the_codes_of_the_column_loop(block: int) -> None:
    weights, factored = problem()
    steps = steps_of(weights, 1)
    wanted = compensated_codes(weights.unsqueeze(0), factored, steps.t(), GRID)[0]
    assert torch.equal(blocked_codes(weights, factored, steps, GRID, torch.zeros_like(steps), block), wanted)


@pytest.mark.parametrize("groups", [3, 6])
def test_each_column_has_the_step_of_its_own_group(groups: int) -> None:
    """Columns of one group scaled up, with their moments scaled down, are the same problem with other steps."""
    weights, factored = problem()
    scale = torch.logspace(-2, 2, groups, base=2, dtype=torch.float64).round(decimals=3).repeat_interleave(D // groups)
    steps = steps_of(weights, 1).expand(C, groups).contiguous()
    plain = blocked_codes(weights, factored, steps, GRID, torch.zeros_like(steps))
    share, order = factored.share, factored.order
    by_order = scale[order[0]]
    scaled = Factored(
        moments=factored.moments / scale[:, None] / scale, order=order, share=share * by_order[:, None] / by_order
    )  # R_ik/R_ii of H with rows and columns divided
    found = blocked_codes(weights * scale, scaled, steps * scale[:: D // groups], GRID, torch.zeros_like(steps))
    assert torch.equal(found, plain)


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("grid", [weight_grid(2), weight_grid(1), weight_grid(4, "half")])
def test_the_error_is_far_below_that_of_nearest_rounding(groups: int, grid: Grid) -> None:
    weights, factored = problem()
    steps = steps_of(weights, groups)
    offset = torch.full_like(steps, grid.offset)
    spread = steps.repeat_interleave(D // groups, 1)
    nearest = (weights / spread - grid.offset).round().clamp(grid.lo, grid.hi)
    codes, found = fit_blocked(weights, factored, steps, grid)
    assert codes.min() >= grid.lo
    assert codes.max() <= grid.hi
    assert torch.equal(codes, codes.round())
    before = error(nearest, steps, offset, weights, factored)
    assert float(error(codes, found, offset, weights, factored).sum()) < 0.7 * float(before.sum())


def test_refitted_steps_are_at_the_minimum() -> None:
    weights, factored = problem()
    steps, offset = steps_of(weights, 3), torch.zeros(C, 3, dtype=torch.float64)
    codes = blocked_codes(weights, factored, steps, GRID, offset)
    best = refitted(codes, weights, factored.moments[0], steps, offset)
    least = error(codes, best, offset, weights, factored)
    assert bool((least < error(codes, steps, offset, weights, factored)).all())
    for group in range(3):
        for change in (0.99, 1.01):
            moved = best.clone()
            moved[:, group] *= change
            assert bool((error(codes, moved, offset, weights, factored) > least).all())


def test_a_group_of_zeros_keeps_its_step() -> None:
    weights, factored = problem()
    weights[:, :16] = 0
    steps = steps_of(torch.ones_like(weights), 3)
    codes = torch.zeros_like(weights)
    codes[:, 16:] = weights[:, 16:].div(steps[:, 1:].repeat_interleave(16, 1)).round()
    found = refitted(codes, weights, factored.moments[0], steps, torch.zeros_like(steps))
    assert found[:, 0].tolist() == pytest.approx(steps[:, 0].tolist())
    assert bool((found > 0).all())


def test_more_candidates_and_refits_are_never_worse() -> None:
    weights, factored = problem()
    steps, offset = steps_of(weights, 3), torch.zeros(C, 3, dtype=torch.float64)
    efforts: list[tuple[tuple[float, ...], int]] = [((1.0,), 0), ((1.0,), 2), ((1.0, 0.8, 0.9), 2)]
    found = [fit_blocked(weights, factored, steps, GRID, factors=factors, refits=refits) for factors, refits in efforts]
    errors = [float(error(codes, fitted, offset, weights, factored).sum()) for codes, fitted in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > errors[-1]


def test_offsets_by_group_shift_the_codes() -> None:
    """A grid of its own range per group, as formats with a zero point have."""
    weights, factored = problem()
    shifted = weights + 1.5
    low, high = (getattr(shifted.reshape(C, 3, -1), end)(2) for end in ("amin", "amax"))
    steps = (high - low) / 7
    zeros = (-low / steps - 4).round()
    codes, fitted = fit_blocked(shifted, factored, steps, GRID, offset=-zeros)
    symmetric, wide = fit_blocked(shifted, factored, shifted.reshape(C, 3, -1).abs().amax(2) / 3, GRID)
    ours = error(codes, fitted, -zeros, shifted, factored)
    assert bool((ours < error(symmetric, wide, torch.zeros_like(wide), shifted, factored)).all())

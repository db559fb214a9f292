"""A sample stands for its rows, whatever their structure: steps fitted on it are those fitted on all values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from mpsearch.numbers.asymmetric import fake_quantize_between, fit_asymmetric
from mpsearch.numbers.gradients.affine import codes, dequantize
from mpsearch.numbers.grid import Grid, act_grid, weight_grid
from mpsearch.numbers.lp_clip import lp_multiplier
from mpsearch.numbers.ranges import fit_steps
from mpsearch.numbers.sample import Sample

CHANNELS = 8


def whole(rows: Tensor) -> Sample:
    return Sample.of(rows, rows.shape[1])


def normal(inputs: int) -> Tensor:
    return torch.randn(CHANNELS, inputs, 3, 3, generator=torch.Generator().manual_seed(inputs))


def centre_twice(weight: Tensor) -> Tensor:
    weight[:, :, 1, 1] *= 2
    return weight


def corner_alone(weight: Tensor) -> Tensor:
    weight[:, :, 0, 0] *= 10
    return weight


def rows_of_taps(weight: Tensor) -> Tensor:
    return weight * torch.tensor([0.2, 1.0, 3.0]).reshape(1, 1, 3, 1)


def every_eighth_input(weight: Tensor) -> Tensor:
    weight[:, ::8] *= 4
    return weight


def half_of_the_inputs(weight: Tensor) -> Tensor:
    weight[:, weight.shape[1] // 2 :] = 0
    return weight


def channels_differ(weight: Tensor) -> Tensor:
    return weight * torch.logspace(-3, 1, CHANNELS).reshape(-1, 1, 1, 1)


def heavy_tails(weight: Tensor) -> Tensor:
    return weight**3


STRUCTURES = (centre_twice, corner_alone, rows_of_taps, every_eighth_input, half_of_the_inputs, channels_differ, heavy_tails)


def error(rows: Tensor, steps: Tensor, grid: Grid) -> Tensor:
    return (dequantize(codes(rows, steps[:, None], grid), steps[:, None], grid.offset) - rows).square().sum(1)


@pytest.mark.parametrize("inputs", [256, 512])
@pytest.mark.parametrize("structure", STRUCTURES)
def test_steps_are_those_of_all_values(structure: Callable[[Tensor], Tensor], inputs: int) -> None:
    """Within 2 % in the mean. Single rows may find another of several minima, if it is as deep."""
    rows = structure(normal(inputs)).flatten(1)
    for bits in (1, 2, 4, 6, 8):
        grid = weight_grid(bits)
        found, best = fit_steps(rows, grid), fit_steps(whole(rows), grid)
        assert (found / best - 1).abs().mean() < 0.02, bits
        near = (found / best - 1).abs() < 0.02
        assert (near | (error(rows, found, grid) < error(rows, best, grid) * 1.12)).all(), bits


@pytest.mark.parametrize("structure", STRUCTURES)
def test_ranges_with_a_zero_point_are_those_of_all_values(structure: Callable[[Tensor], Tensor]) -> None:
    rows = structure(normal(512)).flatten(1) + 0.3
    for bits in (2, 4, 8):
        (found, lo), (best, best_lo) = fit_asymmetric(rows, bits), fit_asymmetric(whole(rows), bits)
        errors = [(fake_quantize_between(rows, s, low, 2**bits) - rows).square().sum() for s, low in ((found, lo), (best, best_lo))]
        assert errors[0] < errors[1] * 1.03, bits


@pytest.mark.parametrize("structure", STRUCTURES)
def test_no_other_factor_of_the_lp_norm_is_better(structure: Callable[[Tensor], Tensor]) -> None:
    """For a tensor of weights, and for the same values as one activation, where regular samples were 12 % off."""
    weight = structure(normal(512)).flatten(1)
    for rows, grid in ((weight, weight_grid(4)), (weight.reshape(1, -1), act_grid(4, True))):
        steps = torch.ones(len(rows))
        found = lp_multiplier(rows, steps, grid, 3.0)

        def at(factor: float, rows: Tensor = rows, grid: Grid = grid, steps: Tensor = steps) -> float:
            step = (steps * factor)[:, None]
            return float((dequantize(codes(rows, step, grid), step, grid.offset) - rows).abs().pow(3).double().mean())

        assert at(found) < 1.005 * min(at(found * factor) for factor in (0.7, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.2, 1.4))


def test_a_sample_has_the_mean_and_the_tails_of_its_rows() -> None:
    rows = normal(512).flatten(1)
    sample = Sample.of(rows, 512)
    assert sample.values.shape == (CHANNELS, 512)
    assert float(sample.counts.sum()) == pytest.approx(rows.shape[1])
    torch.testing.assert_close(sample.means(sample.values), rows.mean(1), atol=2e-3, rtol=0)
    torch.testing.assert_close(sample.sums(sample.values, sample.values), rows.square().sum(1), rtol=2e-3, atol=0)
    torch.testing.assert_close(sample.values[:, -64:], rows.sort(1).values[:, -64:])
    torch.testing.assert_close(sample.values[:, :64], rows.sort(1).values[:, :64])
    assert torch.equal(sample.largest, rows.abs().amax(1))


def test_short_rows_are_kept_whole_and_in_order() -> None:
    rows = normal(64).flatten(1)
    sample = Sample.of(rows, 512)
    assert torch.equal(sample.values, rows)
    assert torch.equal(sample.counts, torch.ones(rows.shape[1]))

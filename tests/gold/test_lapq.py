"""`lapq`'s clips and exponents against the authors' code, on our grids.

Their symmetric grid, clips ±c among the levels and no zero, is our `half`: `step = 2c / (2^b − 1)`; theirs for ReLU is the unsigned grid of
an activation: `step = c / (2^b − 1)`. Where a value is on a tie, float32 may round either way, so there the neighbour is as good.

Clips are compared by their error, as the file says, since the error has many minima: ours may be at most 1 % above the better of theirs and
of the file's scan. At 8 bits, where all three are in different minima, it may be at most 1 % above the worst of them. A factor per tensor
on steps per channel, as used, is one clip where a tensor is one row. The parabola's coefficients do not leave `best_exponent`; its vertex
is compared.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from mpsearch.numbers.gradients.affine import codes, dequantize, fake_quantize, fake_quantize_rows
from mpsearch.numbers.grid import Grid, weight_grid
from mpsearch.numbers.lp_clip import best_exponent, lp_multiplier
from tests.gold import gold

CASES: list[Any] = gold("lapq")["cases"]
DATA = {name: torch.tensor(values) for case in CASES if case["part"] == "data" for name, values in case["inputs"].items()}


def cases(part: str) -> list[Any]:
    return [pytest.param(case["inputs"], case["outputs"], id=f"{part}-{k}") for k, case in enumerate(CASES) if case["part"] == part]


def grid_and_step(inputs: Any, clip: float) -> tuple[Grid, Tensor]:
    top = 2 ** inputs["bits"] - 1
    if inputs["symmetric"]:
        return weight_grid(inputs["bits"], "half"), torch.tensor([2 * clip / top])
    return Grid(0, top), torch.tensor([clip / top])


def error(inputs: Any, clip: float) -> float:
    """Mean |Q(x) − x|^p."""
    x, (grid, step) = DATA[inputs["data"]], grid_and_step(inputs, clip)
    return float((dequantize(codes(x, step, grid), step, grid.offset) - x).abs().pow(inputs["p"]).mean())


def test_every_part_is_compared() -> None:
    assert {case["part"] for case in CASES} == {"data", "clip", "values", "parabola"}


@pytest.mark.parametrize(("inputs", "outputs"), cases("values"))
def test_values(inputs: Any, outputs: Any) -> None:
    x, theirs = torch.tensor(inputs["x"]), torch.tensor(outputs["y"])
    grid, step = grid_and_step(inputs, inputs["clip"])
    lo, hi = torch.tensor(float(grid.lo)), torch.tensor(float(grid.hi))
    if inputs["symmetric"]:
        ours = fake_quantize_rows(x.unsqueeze(0), step, lo, hi, torch.tensor(grid.offset))[0]
    else:
        ours = fake_quantize(x, step[0], lo, hi)
    place = x / step - grid.offset
    tie = ((place - place.floor()) - 0.5).abs() < 1e-5
    torch.testing.assert_close(ours[~tie], theirs[~tie], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close((ours - x).abs()[tie], (theirs - x).abs()[tie], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("inputs", "outputs"), cases("clip"))
def test_the_error_at_given_clips(inputs: Any, outputs: Any) -> None:
    for clip, expected in outputs["error_at"]:
        assert error(inputs, clip) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("inputs", "outputs"), cases("clip"))
@pytest.mark.parametrize("start", [0.5, 1.0, 3.0])
def test_the_clip_found(inputs: Any, outputs: Any, start: float) -> None:
    """From any step, since the search is over the factor on it."""
    x = DATA[inputs["data"]].unsqueeze(0)
    clip = start * float(x.abs().max())
    grid, steps = grid_and_step(inputs, clip)
    found = error(inputs, clip * lp_multiplier(x, steps, grid, inputs["p"]))
    theirs = [outputs["error_bounded"], outputs["error_brent"], outputs["scan_best_error"]]
    assert found <= 1.01 * (min(theirs) if inputs["bits"] < 8 else max(theirs))


@pytest.mark.parametrize(("inputs", "outputs"), cases("parabola"))
def test_the_exponent(inputs: Any, outputs: Any) -> None:
    for given, expected in zip(inputs["sets"], outputs["sets"], strict=True):
        assert best_exponent(given["p"], given["losses"]) == pytest.approx(expected["vertex"], rel=1e-10)

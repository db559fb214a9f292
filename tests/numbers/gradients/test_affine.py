"""Laws of the one quantizer, by Hypothesis, and its gradients against plain autograd."""

from __future__ import annotations

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mpsearch.numbers.gradients.affine import codes, dequantize, fake_quantize, fake_quantize_rows
from mpsearch.numbers.grid import GRID_STYLES, Grid, act_grid, weight_grid

WEIGHT_GRIDS = st.builds(weight_grid, st.integers(1, 8), st.sampled_from(GRID_STYLES))
ACT_GRIDS = st.builds(act_grid, st.integers(2, 8), st.booleans())


def limits(grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    return torch.tensor(float(grid.lo)), torch.tensor(float(grid.hi)), torch.tensor(grid.offset)


def rows(seed: int, scale: float = 1.0) -> Tensor:
    return torch.randn(5, 33, generator=torch.Generator().manual_seed(seed)) * scale


@given(grid=WEIGHT_GRIDS, seed=st.integers(0, 999), step=st.floats(1e-6, 1e3))
def test_values_lie_on_the_grid_and_inside_the_error_is_half_a_step(grid: Grid, seed: int, step: float) -> None:
    x, steps = rows(seed, step * grid.levels / 2), torch.full((5,), step)
    y = fake_quantize_rows(x, steps, *limits(grid))
    code = codes(x, steps[:, None], grid)
    assert grid.lo <= int(code.min()) <= int(code.max()) <= grid.hi
    assert torch.equal(y, dequantize(code, steps[:, None], grid.offset))
    inside = (x / step - grid.offset >= grid.lo) & (x / step - grid.offset <= grid.hi)
    assert ((x - y).abs()[inside] <= step * (0.5 + 1e-4)).all()


@given(grid=WEIGHT_GRIDS, seed=st.integers(0, 999))
def test_idempotent(grid: Grid, seed: int) -> None:
    steps = torch.rand(5, generator=torch.Generator().manual_seed(seed)) + 0.1
    once = fake_quantize_rows(rows(seed), steps, *limits(grid))
    assert torch.equal(fake_quantize_rows(once, steps, *limits(grid)), once)


@pytest.mark.parametrize("style", GRID_STYLES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_weights_have_all_levels_of_their_bits(bits: int, style: str) -> None:
    grid = weight_grid(bits, style)  # type: ignore[arg-type]
    values = fake_quantize_rows(torch.linspace(-300, 300, 4801).reshape(1, -1), torch.ones(1), *limits(grid))
    assert len(values.unique()) == grid.levels == 2**bits - (style == "narrow" and bits > 1)


@given(grid=ACT_GRIDS, step=st.floats(1e-3, 1e3), seed=st.integers(0, 999))
def test_activations_have_all_levels_zero_among_them_and_are_quantized_once(grid: Grid, step: float, seed: int) -> None:
    size = torch.tensor(step)
    bits = (grid.levels - 1).bit_length()
    values = fake_quantize(torch.linspace(-300, 300, 4801) * size, size, *limits(grid)[:2])
    assert len(values.unique()) == grid.levels == 2**bits
    assert (values == 0).any()
    once = fake_quantize(rows(seed, 10 * step), size, *limits(grid)[:2])
    assert torch.equal(fake_quantize(once, size, *limits(grid)[:2]), once)


@given(grid=WEIGHT_GRIDS, seed=st.integers(0, 999), exponent=st.integers(-8, 8))
def test_equivariant_under_scaling(grid: Grid, seed: int, exponent: int) -> None:
    """Clipped values, too; powers of two, so that nothing is rounded on the way."""
    x, steps, factor = rows(seed, grid.levels), torch.rand(5, generator=torch.Generator().manual_seed(seed)) + 0.5, 2.0**exponent
    assert torch.equal(fake_quantize_rows(factor * x, factor * steps, *limits(grid)), factor * fake_quantize_rows(x, steps, *limits(grid)))


@given(bits=st.integers(1, 8), style=st.sampled_from(("narrow", "half")), seed=st.integers(0, 999))
def test_symmetric_grids_are_odd(bits: int, style: str, seed: int) -> None:
    grid, steps = weight_grid(bits, style), torch.rand(5, generator=torch.Generator().manual_seed(seed)) + 0.5  # type: ignore[arg-type]
    x = rows(seed, grid.levels)
    assert torch.equal(fake_quantize_rows(-x, steps, *limits(grid)), -fake_quantize_rows(x, steps, *limits(grid)))


@given(grid=ACT_GRIDS, seed=st.integers(0, 999), step=st.floats(0.01, 2.0))
def test_activation_agrees_with_codes(grid: Grid, seed: int, step: float) -> None:
    x, s = rows(seed), torch.tensor(step)
    assert torch.equal(fake_quantize(x, s, *limits(grid)[:2]), dequantize(codes(x, s, grid), s, 0.0))


def reference(x: Tensor, step: Tensor, grid: Grid) -> Tensor:
    """The formula in plain autograd: rounding passed straight through, clamped half a step beyond the last level."""
    scaled = x / step - grid.offset
    kept = scaled.clamp(grid.lo - 0.5, grid.hi + 0.5)
    code = (kept.round() - kept).detach() + kept
    beyond = code.detach().clamp(grid.lo, grid.hi) - code.detach()
    return (code + beyond + grid.offset) * step


@pytest.mark.parametrize("style", GRID_STYLES)
@pytest.mark.parametrize("bits", range(1, 9))
def test_row_gradients_match_plain_autograd(bits: int, style: str) -> None:
    grid = weight_grid(bits, style)  # type: ignore[arg-type]
    dy = torch.randn(5, 33, dtype=torch.float64)
    results = []
    for function in (lambda x, s: fake_quantize_rows(x, s, *limits(grid)), lambda x, s: reference(x, s.unsqueeze(1), grid)):
        x = (rows(bits) * grid.levels).double().requires_grad_()
        step = (torch.rand(5, generator=torch.Generator().manual_seed(1)).double() + 0.7).requires_grad_()
        y = function(x, step)
        y.backward(dy)
        results.append((y.detach(), x.grad, step.grad))
    (y, dx, ds), (y0, dx0, _) = results
    torch.testing.assert_close(y, y0)
    torch.testing.assert_close(dx, dx0)
    x = (rows(bits) * grid.levels).double()
    step = torch.rand(5, generator=torch.Generator().manual_seed(1)).double() + 0.7
    scaled = x / step[:, None] - grid.offset
    inside = (scaled > grid.lo - 0.5) & (scaled < grid.hi + 0.5)
    per_element = torch.where(inside, (y - x) / step[:, None], y / step[:, None])
    torch.testing.assert_close(ds, (dy * per_element).sum(1))


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_activation_gradients(signed: bool, layout: torch.memory_format) -> None:
    grid = act_grid(3, signed)
    x = (torch.randn(4, 3, 5, 5) * 6).to(memory_format=layout).requires_grad_()
    step = torch.tensor(0.9, requires_grad=True)
    dy = torch.randn_like(x)
    y = fake_quantize(x, step, *limits(grid)[:2])
    y.backward(dy)
    scaled = x.detach() / 0.9
    inside = (scaled > grid.lo - 0.5) & (scaled < grid.hi + 0.5)
    torch.testing.assert_close(x.grad, torch.where(inside, dy, 0.0))
    expected = (dy * torch.where(inside, (y.detach() - x.detach()) / 0.9, y.detach() / 0.9)).sum()
    torch.testing.assert_close(step.grad, expected, rtol=1e-4, atol=1e-4)


def test_frozen_step_gets_no_gradient() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    fake_quantize_rows(x, torch.ones(2), *limits(weight_grid(2))).sum().backward()
    assert x.grad is not None


@pytest.mark.slow
def test_compiled_equals_eager_for_every_number_of_bits_with_one_compilation() -> None:
    torch.compiler.reset()
    counter = torch._dynamo.testing.CompileCounterWithBackend("inductor")
    compiled = torch.compile(fake_quantize_rows, backend=counter)
    x, steps = rows(0), torch.rand(5) + 0.1
    for bits in range(1, 9):
        assert torch.equal(compiled(x, steps, *limits(weight_grid(bits))), fake_quantize_rows(x, steps, *limits(weight_grid(bits))))
    assert counter.frame_count == 1


def test_one_bit_is_plus_and_minus_the_scale() -> None:
    y = fake_quantize_rows(torch.tensor([[-3.0, -0.1, 0.0, 0.2, 9.0]]), torch.tensor([2.0]), *limits(weight_grid(1)))
    assert y.tolist() == [[-1.0, -1.0, 1.0, 1.0, 1.0]] or y.tolist() == [[-1.0, -1.0, -1.0, 1.0, 1.0]]


@pytest.mark.parametrize("bits", [0, 9])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(ValueError, match="weight bits go from 1 to 8"):
        weight_grid(bits)


@pytest.mark.parametrize("bits", [1, 9])
def test_activation_bits_out_of_range(bits: int) -> None:
    with pytest.raises(ValueError, match="activation bits go from 2 to 8"):
        act_grid(bits, True)


def test_levels_by_style() -> None:
    values = {style: [(code + g.offset) for code in range(g.lo, g.hi + 1)] for style in GRID_STYLES if (g := weight_grid(2, style))}  # type: ignore[arg-type]
    assert values == {"twos": [-2, -1, 0, 1], "narrow": [-1, 0, 1], "half": [-1.5, -0.5, 0.5, 1.5]}


def test_four_bits_err_289_times_as_much_as_eight() -> None:
    """(255/15)² in squares, where neither clips: steps of 2 max|w| / (2^b − 1)."""
    w = torch.rand(1, 20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 - 1
    errors = []
    for bits in (4, 8):
        grid = weight_grid(bits, "half")
        step = w.abs().amax(1) / (grid.hi + grid.offset)
        errors.append(float((fake_quantize_rows(w, step, *limits(grid)) - w).square().sum()))
    assert errors[0] / errors[1] == pytest.approx(289, rel=0.02)

"""Blended coarse gradient descent: staircase and coarse derivatives, closed-form weights, the blend and what it guarantees.

Not tested as published: that any x > 0 fires the first level. The staircase here rounds to nearest, as the exported network does. Nor the
staircase of one bit: activations have two or more here. That 32 bits are a ReLU: the quantizer lets them through, the network has its
own ReLU before it.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Literal

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.methods.bcgd import Bcgd
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.quantizers import FixedActQuantizer
from mpsearch.network.trace import trace
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.coarse import STEP_RULES, StepRule, coarse_quantize
from mpsearch.numbers.gradients.affine import dequantize
from mpsearch.numbers.grid import GRID_STYLES, Grid, GridStyle, act_grid, weight_grid
from mpsearch.numbers.least_squares import alternate, first_steps
from mpsearch.numbers.ranges import fit_step, fit_steps

few = settings(max_examples=40, deadline=None)
GRIDS = st.builds(weight_grid, st.integers(1, 8), st.sampled_from(GRID_STYLES))
SEEDS = st.integers(0, 999)


def limits(grid: Grid) -> tuple[Tensor, Tensor, Tensor]:
    return torch.tensor(float(grid.lo)), torch.tensor(float(grid.hi)), torch.tensor(grid.offset)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def coarse(x: Tensor, step: Tensor, grid: Grid, rule: StepRule = "three") -> Tensor:
    lo, hi, _ = limits(grid)
    return coarse_quantize(x, step, lo, hi, rule)


# Activations.


@given(bits=st.integers(2, 8), signed=st.booleans(), seed=SEEDS, step=st.floats(0.01, 2))
@few
def test_staircase_is_the_exported_one(bits: int, signed: bool, seed: int, step: float) -> None:
    x = (normal(200, seed=seed) * step * 2**bits).float()
    method, fixed = Bcgd(), FixedActQuantizer()
    quantizer = method.act_quantizer()
    for each in (quantizer, fixed):
        each.set_grid(bits, act_grid(bits, signed))
        each.begin(torch.tensor(step))
    expected = fixed.eval()(x)
    assert torch.equal(quantizer.train()(x), expected)
    assert torch.equal(quantizer.eval()(x), expected)


@given(bits=st.integers(2, 8), seed=SEEDS, step=st.floats(0.01, 2))
@few
def test_staircase_rises_from_zero_to_the_top_level(bits: int, seed: int, step: float) -> None:
    s, grid = torch.tensor(step), act_grid(bits, False)
    x = (normal(200, seed=seed) * step * 2**bits).float().sort().values
    y = coarse(x, s, grid)
    assert (y.diff() >= 0).all()
    assert torch.equal(y, (y / s).round().clamp(0, grid.hi) * s)
    edges = coarse(torch.tensor([-9.0, 0.0, 0.49, 0.51, grid.hi, grid.hi + 9.0]) * s, s, grid) / s
    torch.testing.assert_close(edges, torch.tensor([0.0, 0.0, 0.0, 1.0, grid.hi, grid.hi]))


def test_derivative_by_x_is_one_up_to_the_top_level() -> None:
    x = torch.tensor([-1.0, 0.0, 1e-6, 0.4, 1.0, 1.5, 1.500001, 3.0], requires_grad=True)
    coarse(x, torch.tensor(0.5), act_grid(2, False)).sum().backward()
    assert x.grad.tolist() == [0, 0, 1, 1, 1, 1, 0, 0]
    x = torch.tensor([-9.0, -0.9, 0.0, 0.4, 0.6], requires_grad=True)
    coarse(x, torch.tensor(0.5), act_grid(2, True)).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]


def slopes(x: Tensor, step: float, grid: Grid, rule: StepRule) -> Tensor:
    """The derivative by the step, element by element."""
    found = []
    for element in x:
        s = torch.tensor(step, dtype=x.dtype, requires_grad=True)
        (gradient,) = torch.autograd.grad(coarse(element.reshape(1), s, grid, rule).sum(), s)
        found.append(gradient)
    return torch.stack(found)


@pytest.mark.parametrize("bits", [2, 4])
def test_derivative_by_the_step_takes_the_published_values(bits: int) -> None:
    grid, top = act_grid(bits, False), 2**bits - 1
    x = torch.tensor([-1.0, 0.0, 0.01, 0.3, 0.5 * top, 0.5 * top + 0.01, 99.0])
    assert slopes(x, 0.5, grid, "three").tolist() == [0, 0, 2 ** (bits - 1), 2 ** (bits - 1), 2 ** (bits - 1), top, top]
    assert slopes(x, 0.5, grid, "two").tolist() == [0, 0, 0, 0, 0, top, top]
    assert slopes(x, 0.5, grid, "full").tolist() == [0, 0, 0, 1, top, top, top]
    signed = act_grid(3, True)
    x = torch.tensor([-9.0, -0.7, 0.0, 0.7, 9.0])
    assert slopes(x, 0.5, signed, "three").tolist() == [-4, -2.5, 0, 2, 3]
    assert slopes(x, 0.5, signed, "two").tolist() == [-4, 0, 0, 0, 3]


@pytest.mark.parametrize("signed", [False, True])
def test_full_derivative_is_the_finite_difference_between_jumps(signed: bool) -> None:
    x, step, h, grid = normal(300) * 2, 0.37, 1e-6, act_grid(3, signed)
    x = x[((x / step - 0.5) - (x / step - 0.5).round()).abs() > 1e-3]
    low, high = (coarse(x, torch.tensor(step + d, dtype=x.dtype), grid) for d in (-h, h))
    inside = (x > grid.lo * step) & (x <= grid.hi * step)
    expected = (high - low) / (2 * h)
    torch.testing.assert_close(slopes(x, step, grid, "full"), expected, atol=1e-6, rtol=0)
    assert inside.any()
    assert not inside.all()


@pytest.mark.parametrize("rule", STEP_RULES)
@pytest.mark.parametrize("signed", [False, True])
def test_the_path_for_compilers_has_the_same_derivatives(rule: StepRule, signed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has masks instead of the one-pass kernel."""
    results = []
    for compiling in (False, True):
        monkeypatch.setattr(torch.compiler, "is_compiling", lambda answer=compiling: answer)
        x = (torch.arange(-40, 41) / 8).requires_grad_()
        step = torch.tensor(0.5, requires_grad=True)
        y = coarse(x, step, act_grid(3, signed), rule)
        y.backward(torch.linspace(-1, 2, 81))
        results.append((y.detach(), x.grad, step.grad))
    for eager, compiled in zip(*results, strict=True):
        torch.testing.assert_close(eager, compiled)


def test_calibrated_start_is_the_published_constant() -> None:
    """The least squared error of a rectified unit normal by nearest rounding; 2**16 quantiles stand for the integral."""
    x = torch.special.ndtri((torch.arange(2**16) + 0.5) / 2**16).clamp_min(0)

    def error(step: float, bits: int) -> float:
        return float((x - step * (x / step).round().clamp(0, 2**bits - 1)).square().mean())

    for bits, constant in {1: 1.2240, 2: 0.6508, 3: 0.3534, 4: 0.1932, 5: 0.1055, 6: 0.0573, 7: 0.0309, 8: 0.0165}.items():
        candidates = [constant + d / 4000 for d in range(-10, 11)]
        best = min(candidates, key=partial(error, bits=bits))
        assert best == pytest.approx(constant, abs=1e-3)
        if bits == 1:
            continue
        step = float(fit_step(x, act_grid(bits, False)))
        assert step == pytest.approx(constant, rel=0.08)
        assert error(step, bits) < 1.03 * error(best, bits)


# Weights.


@given(grid=GRIDS, seed=SEEDS)
@few
def test_no_sweep_raises_the_error_and_the_step_is_the_least_squares_one(grid: Grid, seed: int) -> None:
    rows = normal(4, 40, seed=seed)
    lo, hi, offset = (value.double() for value in limits(grid))
    errors = []
    for sweeps in range(1, 6):
        levels, steps = alternate(rows, first_steps(rows, lo, hi), lo, hi, offset, sweeps)
        codes = levels - offset
        assert torch.equal(codes, codes.round())
        assert grid.lo <= float(codes.min()) <= float(codes.max()) <= grid.hi
        torch.testing.assert_close(steps * (levels * levels).sum(1), (rows * levels).sum(1))
        errors.append((rows - levels * steps.unsqueeze(1)).square().sum(1))
    assert (torch.stack(errors).diff(dim=0) < 1e-9).all()


def test_published_starts() -> None:
    rows = normal(3, 50)
    lo, hi, offset = (value.double() for value in limits(weight_grid(4, "narrow")))
    start = first_steps(rows, lo, hi)
    torch.testing.assert_close(start, 2 * rows.abs().amax(1) / 15)
    levels, _ = alternate(rows, start, lo, hi, offset, 1)
    assert len(levels.unique()) <= 15
    assert torch.equal(levels, (rows / start.unsqueeze(1)).round().clamp(-7, 7))
    lo, hi, offset = (value.double() for value in limits(weight_grid(2, "narrow")))
    levels, steps = alternate(rows, first_steps(rows, lo, hi), lo, hi, offset, 1)
    large = rows.abs() >= 0.7 * rows.abs().mean(1, keepdim=True)
    assert torch.equal(levels, rows.sign() * large)
    torch.testing.assert_close(steps, (rows.abs() * large).sum(1) / large.sum(1))


def test_ternary_sweeps_come_close_to_the_exact_projection() -> None:
    """Exact: the K largest |w| that maximise (Σ|w|)²/K."""
    rows = normal(20, 60)
    lo, hi, offset = (value.double() for value in limits(weight_grid(2, "narrow")))
    levels, steps = alternate(rows, first_steps(rows, lo, hi), lo, hi, offset, 8)
    gain = rows.abs().sort(1, descending=True).values.cumsum(1).square() / torch.arange(1, 61)
    best = rows.square().sum(1) - gain.max(1).values
    error = (rows - levels * steps.unsqueeze(1)).square().sum(1)
    assert (error >= best - 1e-9).all()
    assert (error <= 1.05 * best).all()


@given(seed=SEEDS, factor=st.floats(0.01, 100))
@few
def test_one_bit_projection(seed: int, factor: float) -> None:
    rows = normal(3, 30, seed=seed)

    def project(w: Tensor) -> Tensor:
        lo, hi, offset = (value.double() for value in limits(weight_grid(1)))
        levels, steps = alternate(w, torch.ones(3).double(), lo, hi, offset, sweeps=1)
        return levels * steps.unsqueeze(1)

    quantized = project(rows)
    torch.testing.assert_close(quantized, rows.sign() * rows.abs().mean(1, keepdim=True))
    for delta in (0.9, 0.99, 1.01, 1.1):
        assert ((rows - quantized).square().sum(1) < (rows - delta * quantized).square().sum(1)).all()
    torch.testing.assert_close(project(quantized), quantized)
    torch.testing.assert_close(project(rows * factor), quantized * factor)
    torch.testing.assert_close(project(-rows), -quantized)


# One layer whose weight the tests choose.


def attached(method: Bcgd, bits: int, weight: Tensor, act_bits: int = FLOAT_BITS) -> Network:
    model = nn.Sequential(nn.Linear(weight.shape[1], len(weight), bias=False))
    model[0].weight.data.copy_(weight)
    x = normal(8, weight.shape[1]).float()
    space = Space(name="one", weights=(bits,), activations=(act_bits,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    network.begin(space.uniform(Choice(bits, act_bits)))
    network.model.double().train()
    return network


def latent(network: Network) -> Tensor:
    return network.latent_weight(network.space.layers[0])


def method_of(network: Network) -> Bcgd:
    assert isinstance(network.method, Bcgd)
    return network.method


def value(network: Network) -> Tensor:
    layer = network.model.get_submodule("0")
    assert isinstance(layer, nn.Linear)
    return layer.weight


def descend(network: Network, optimizer: torch.optim.Optimizer, coefficients: Tensor) -> None:
    optimizer.zero_grad()
    (value(network) * coefficients).sum().backward()
    with torch.no_grad():
        method_of(network).before_step(network, 0.0)
    optimizer.step()
    with torch.no_grad():
        method_of(network).after_step(network, 0.0)


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("rho", [0.0, 0.3, 1.0])
def test_a_step_goes_from_the_blend_along_the_gradient_at_the_quantized_weight(rho: float, bits: int) -> None:
    """ρ = 0 is the straight-through step, ρ = 1 projected coarse gradient descent."""
    network, coefficients = attached(Bcgd(rho=rho), bits, normal(3, 20)), normal(3, 20, seed=1)
    before, quantized = latent(network).detach().clone(), value(network).detach()
    descend(network, torch.optim.SGD([latent(network)], lr=0.1), coefficients)
    gradient = latent(network).grad
    assert gradient is not None
    assert torch.equal(gradient, coefficients)
    torch.testing.assert_close(latent(network).detach(), (1 - rho) * before + rho * quantized - 0.1 * coefficients)


def test_momentum_does_not_contain_the_blend_and_weight_decay_sees_it() -> None:
    network, coefficients = attached(Bcgd(rho=0.3), 1, normal(3, 20)), normal(3, 20, seed=1)
    blended = 0.7 * latent(network).detach() + 0.3 * value(network).detach()
    optimizer = torch.optim.SGD([latent(network)], lr=0.1, momentum=0.9, weight_decay=0.5)
    descend(network, optimizer, coefficients)
    torch.testing.assert_close(optimizer.state[latent(network)]["momentum_buffer"], coefficients + 0.5 * blended)


def test_blending_one_bit_keeps_signs_and_scale_and_closes_in() -> None:
    network = attached(Bcgd(rho=0.1), 1, normal(3, 20))
    quantized, distance = value(network).detach(), (latent(network) - value(network)).norm().item()
    for _ in range(5):
        with torch.no_grad():
            method_of(network).before_step(network, 0.0)
        torch.testing.assert_close(value(network).detach(), quantized)
        distance *= 0.9
        assert (latent(network) - value(network)).norm().item() == pytest.approx(distance)


@pytest.mark.parametrize("seed", range(3))
def test_the_loss_of_the_quantized_weights_never_rises(seed: int) -> None:
    """Random quadratic, exact projection, η < ρ/Lipschitz; with steps five times as long it does rise."""
    root, target = normal(16, 16, seed=seed), normal(2, 16, seed=seed + 100)
    curvature = root @ root.T / 16
    lipschitz = float(torch.linalg.eigvalsh(curvature)[-1])

    def losses(rate: float) -> Tensor:
        network = attached(Bcgd(rho=0.1), 1, normal(2, 16, seed=seed + 200))
        optimizer = torch.optim.SGD([latent(network)], lr=rate)
        found = []
        for _ in range(150):
            w = value(network).detach()
            found.append(((w - target) @ curvature * (w - target)).sum() / 2)
            descend(network, optimizer, (w - target) @ curvature)
        return torch.stack(found)

    steady = losses(0.99 * 0.1 / lipschitz)
    assert (steady.diff() <= 1e-9).all()
    assert steady[-1] < steady[0]
    assert (losses(5 * 0.1 / lipschitz).diff() > 1e-6).any()


@few
@given(bits=st.integers(1, 8), grid=st.sampled_from(GRID_STYLES), start=st.sampled_from(["calibrated", "published"]), seed=SEEDS)
def test_training_and_evaluation_see_what_is_exported(
    bits: int, grid: GridStyle, start: Literal["calibrated", "published"], seed: int
) -> None:
    weight = normal(3, 20, seed=seed).float()
    weight[2] = 0
    quantizer = Bcgd(grid=grid, start=start).weight_quantizer(Rows("first", (3, 20)))
    quantizer.set_grid(bits, weight_grid(bits, grid))
    quantizer.begin(weight, fit_steps(weight, quantizer.grid))
    weight[:2] += 0.3 * normal(2, 20, seed=seed + 1).float()
    codes, steps = quantizer.export(weight)
    assert quantizer.grid.lo <= int(codes.min()) <= int(codes.max()) <= quantizer.grid.hi
    assert (steps > 0).all()
    expected = dequantize(codes, steps.unsqueeze(1), quantizer.grid.offset)
    assert torch.equal(quantizer.train()(weight), expected)
    assert torch.equal(quantizer.eval()(weight), expected)
    torch.testing.assert_close(expected[2], torch.zeros(20))


def test_zero_goes_to_the_positive_level() -> None:
    weight = normal(1, 6)
    weight[0, 0] = 0.0
    assert value(attached(Bcgd(), 1, weight))[0, 0] > 0


def test_the_gradient_of_a_step_is_scaled_and_limited_and_the_step_bounded() -> None:
    for size, expected in ((1e9, 1.0), (-1e9, -1.0), (1e-3, None)):
        network = attached(Bcgd(rate=0.5), 1, normal(3, 20), act_bits=4)
        ratio = network.quantizer_parameters()[0]
        ratio.grad = torch.tensor(size, dtype=torch.float64)
        with torch.no_grad():
            method_of(network).before_step(network, 0.0)
            assert float(ratio.grad) == (expected or 0.5 * size)
            for far, bound in ((-3.0, 1e-3 / 0.1946), (99.0, 5 / 0.1946)):
                ratio.fill_(far)
                method_of(network).after_step(network, 0.0)
                assert float(ratio) == pytest.approx(bound)


def test_the_step_is_trained_relative_to_its_start() -> None:
    """So that one rate serves all bits: the gradient of the ratio is start · ∂L/∂step."""
    quantizer = Bcgd().act_quantizer().train()
    quantizer.set_grid(4, act_grid(4, False))
    quantizer.begin(torch.tensor(0.2))
    quantizer(torch.tensor([1.0, 99.0])).sum().backward()
    (ratio,) = quantizer.parameters()
    assert ratio.grad is not None
    assert float(ratio.grad) == pytest.approx(0.2 * (8 + 15))
    ratio.data.fill_(3.0)
    assert quantizer.step_value().item() == pytest.approx(0.6)
    quantizer.begin(torch.tensor(0.1))
    assert quantizer.step_value().item() == pytest.approx(0.1)


def test_32_bits_let_everything_through() -> None:
    quantizer = Bcgd().act_quantizer().train()
    quantizer.set_grid(FLOAT_BITS, None)
    x = torch.tensor([-1.0, 0.3, 99.0], requires_grad=True)
    y = torch.relu(quantizer(x))
    y.sum().backward()
    assert y.tolist() == x.relu().tolist()
    assert x.grad.tolist() == [0, 1, 1]


def test_one_compiled_graph_serves_every_allocation() -> None:
    torch.compiler.reset()
    weight_counter, act_counter = torch._dynamo.testing.CompileCounter(), torch._dynamo.testing.CompileCounter()
    rows = normal(3, 20).float()
    weight, act = Bcgd().weight_quantizer(Rows("first", (3, 20))), Bcgd().act_quantizer()
    compiled_weight, compiled_act = torch.compile(weight, backend=weight_counter), torch.compile(act, backend=act_counter)
    for bits in range(2, 9):
        weight.set_grid(bits, weight_grid(bits))
        weight.begin(rows, fit_steps(rows, weight.grid))
        act.set_grid(bits, act_grid(bits, True))
        act.begin(torch.tensor(2.0**-bits))
        torch.testing.assert_close(compiled_weight(rows), weight(rows))
        torch.testing.assert_close(compiled_act(rows), act(rows))
    assert weight_counter.frame_count == act_counter.frame_count == 1


@pytest.mark.parametrize(("name", "bad"), [("rho", -0.1), ("rho", 1.1), ("sweeps", 0), ("rate", -1.0)])
def test_a_value_out_of_range_is_refused(name: str, bad: float) -> None:
    wrong: dict[str, Any] = {name: bad}
    with pytest.raises(ConfigError, match=f"bcgd.{name} must be .*, not {bad}"):
        Bcgd(**wrong)

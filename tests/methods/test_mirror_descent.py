"""Mirror descent against its formulas, written out level by level.

Not tested: that the softmax's shares sum to 1 and commute with a convolution, since they are never formed; the chain-rule baseline
(GD-tanh), which is no member of the library, except as what the gradient must not be. The published β stands still for 200 iterations
and then jumps; ours rises with the progress of the training, whatever its length, and is compared with that staircase. The inverse of
the map is checked in double precision: in single precision tanh is 1 before the product of β and a is 10. The state is the dual in all
forms, so a weight at ±1, where the published multiplicative form divides by zero, is only a large number.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Literal

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
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.mirror_descent import MirrorDescent
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.gradients.affine import dequantize
from mpsearch.numbers.gradients.soft_rounding import softmax_code, softmax_reach, tanh_code, tanh_reach
from mpsearch.numbers.grid import GRID_STYLES, Grid, GridStyle, weight_grid
from mpsearch.tasks.task import Task
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe

Projection = Literal["tanh", "softmax"]
Form = Literal["stable", "direct"]
GRIDS = st.builds(weight_grid, st.integers(1, 8), st.sampled_from(GRID_STYLES))
BETAS = st.floats(0.25, 1e6, width=32)
MAPS = {"tanh": (tanh_code, tanh_reach), "softmax": (softmax_code, softmax_reach)}
few = settings(max_examples=40, deadline=None)
every_map = pytest.mark.parametrize("projection", MAPS)
every_form = pytest.mark.parametrize("form", ["stable", "direct"])


def soft(projection: Projection, x: Tensor, beta: float, grid: Grid) -> Tensor:
    code, reach = MAPS[projection]
    return code(x, torch.tensor(beta, dtype=x.dtype), torch.tensor(float(grid.lo)), torch.tensor(float(grid.hi)), reach(beta))


def written_out(projection: Projection, x: Tensor, beta: float, grid: Grid) -> Tensor:
    """Every threshold, or every level, in float64."""
    x = x.double().unsqueeze(-1)
    if projection == "tanh":
        thresholds = torch.arange(grid.lo, grid.hi).double() + 0.5
        return (grid.lo + grid.hi) / 2 + torch.tanh(beta * (x - thresholds)).sum(-1) / 2
    levels = torch.arange(grid.lo, grid.hi + 1).double()
    return (torch.softmax(-beta * (x - levels) ** 2, -1) * levels).sum(-1)


def points(grid: Grid, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(200, generator=generator) * (grid.levels + 3) + grid.lo - 2


@every_map
@few
@given(grid=GRIDS, beta=BETAS, seed=st.integers(0, 99))
def test_a_window_of_terms_is_the_whole_sum(projection: Projection, grid: Grid, beta: float, seed: int) -> None:
    x = points(grid, seed)
    torch.testing.assert_close(soft(projection, x, beta, grid).double(), written_out(projection, x, beta, grid), atol=3e-5, rtol=1e-6)


@every_map
@few
@given(grid=GRIDS, beta=BETAS, seed=st.integers(0, 99))
def test_maps_increase_within_the_outer_levels(projection: Projection, grid: Grid, beta: float, seed: int) -> None:
    code = soft(projection, points(grid, seed).sort().values, beta, grid)
    assert (code.diff() > -3e-5).all()
    assert grid.lo <= float(code.min()) <= float(code.max()) <= grid.hi
    assert code[-1] > code[0]


@every_map
@few
@given(grid=GRIDS, seed=st.integers(0, 99))
def test_in_the_limit_every_map_rounds_to_the_nearest_level(projection: Projection, grid: Grid, seed: int) -> None:
    x = points(grid, seed)
    x = x[((x - 0.5) - (x - 0.5).round()).abs() > 0.01]
    assert torch.equal(soft(projection, x, 1e5, grid), x.round().clamp(grid.lo, grid.hi))


@every_map
@few
@given(beta=st.floats(0.25, 50, width=32))
def test_two_levels_are_one_tanh_and_it_inverts(projection: Projection, beta: float) -> None:
    a = torch.linspace(-7 / beta, 7 / beta, 99, dtype=torch.float64)
    w = 2 * (soft(projection, a - 0.5, beta, weight_grid(1)) + 0.5)
    torch.testing.assert_close(w, torch.tanh(beta * a), atol=1e-9, rtol=0)
    torch.testing.assert_close(torch.atanh(w) / beta, a, atol=1e-3, rtol=0)


@every_map
@pytest.mark.parametrize("bits", [1, 2, 8])
def test_no_value_is_too_large(projection: Projection, bits: int) -> None:
    x = torch.tensor([-1e30, -1e4, -1.0, -0.5, -1e-30, 0.0, 1e-30, 0.5, 1 - 1e-7, 1e4, 1e30])
    for beta in (0.3, 2.0, 1e4, 1e35):
        assert torch.isfinite(soft(projection, x, beta, weight_grid(bits))).all()


# One layer whose weight the tests choose, in float64.


def attached(method: MirrorDescent, bits: int, weight: Tensor) -> Network:
    model = nn.Sequential(nn.Linear(weight.shape[1], len(weight), bias=False))
    model[0].weight.data.copy_(weight)
    x = torch.randn(8, weight.shape[1], generator=torch.Generator().manual_seed(0))
    space = Space(name="one", weights=(bits,), activations=(FLOAT_BITS,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    network.begin(space.uniform(Choice(bits)))
    network.model.double().train()
    return network


def latent(network: Network) -> Tensor:
    return network.latent_weight(network.space.layers[0])


def method_of(network: Network) -> MirrorDescent:
    assert isinstance(network.method, MirrorDescent)
    return network.method


def value(network: Network) -> Tensor:
    layer = network.model.get_submodule("0")
    assert isinstance(layer, nn.Linear)
    return layer.weight


def step_of(network: Network) -> Tensor:
    quantizer = network.weight_quantizer(network.space.layers[0])
    return quantizer.steps(latent(network).detach()).unsqueeze(1)


def exported(network: Network) -> Tensor:
    quantizer = network.weight_quantizer(network.space.layers[0])
    codes, steps = quantizer.export(latent(network).detach())
    return (codes + quantizer.grid.offset) * steps.unsqueeze(1)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def descend(network: Network, optimizer: torch.optim.Optimizer, loss: Callable[[Tensor], Tensor], progress: float) -> Tensor:
    """One step of the loop; returns the gradient of the quantized weight."""
    w = value(network)
    w.retain_grad()
    optimizer.zero_grad()
    loss(w).backward()
    optimizer.step()
    with torch.no_grad():
        method_of(network).after_step(network, progress)
    assert w.grad is not None
    return w.grad


@every_form
@every_map
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_the_gradient_reaches_the_dual_unchanged(bits: int, projection: Projection, form: Form) -> None:
    """And it is not the gradient by the chain rule, which has the map's slope as a factor."""
    network = attached(MirrorDescent(projection=projection, form=form, beta_start=3.0), bits, normal(3, 20))
    coefficients = normal(3, 20, seed=1)
    (value(network) * coefficients).sum().backward()
    gradient = latent(network).grad
    assert gradient is not None
    assert torch.equal(gradient, coefficients)
    if bits == 1:
        slope = 1.5 * (1 - (value(network) / (step_of(network) / 2)) ** 2)
        assert not torch.allclose(slope * coefficients, coefficients, rtol=0.1)


@pytest.mark.parametrize("rule", [torch.optim.SGD, torch.optim.Adam])
def test_a_hard_map_is_binary_connect_and_no_map_is_plain_descent(rule: type[torch.optim.Optimizer]) -> None:
    weight, target = normal(3, 20), normal(3, 20, seed=1)
    for bits in (1, FLOAT_BITS):
        network = attached(MirrorDescent(beta_start=1e35, beta_end=1e35), bits, weight)
        start = latent(network).detach().clone()
        expected = start.sign() * start.abs().mean(1, keepdim=True) if bits == 1 else start
        torch.testing.assert_close(value(network).detach(), expected, rtol=1e-6, atol=0)
        plain = nn.Parameter(start.clone())
        ours, theirs = (rule([parameter], lr=0.1) for parameter in (latent(network), plain))  # type: ignore[call-arg]
        for progress in (0.0, 0.3, 0.6):
            quantized = plain.detach().sign() * plain.detach().abs().mean(1, keepdim=True) if bits == 1 else plain.detach()
            plain.grad = quantized - target
            descend(network, ours, lambda w: ((w - target) ** 2).sum() / 2, progress)
            theirs.step()
        torch.testing.assert_close(latent(network).detach(), plain.detach(), rtol=1e-6, atol=1e-9)


def apart(*shape: int) -> Tensor:
    """Weights so far from zero that no sign changes."""
    return normal(*shape).sign() * 0.5 + 0.1 * normal(*shape, seed=2)


def pull(network: Network, target: Tensor) -> Callable[[Tensor], Tensor]:
    """A loss whose gradient is that of `½(w − target)²` less what would change mean|a| of a row, so that every form keeps its scales."""

    def loss(w: Tensor) -> Tensor:
        free, signs = w.detach() - target, latent(network).detach().sign()
        return (w * (free - signs * (free * signs).mean(1, keepdim=True))).sum()

    return loss


@every_map
def test_both_forms_are_one_step_by_step_until_beta_changes(projection: Projection) -> None:
    weight, target = apart(2, 12), 0.3 * normal(2, 12, seed=3)
    paths = []
    for form in ("stable", "direct"):
        for end in (2.0, 50.0):
            network = attached(MirrorDescent(projection=projection, form=form, beta_start=2.0, beta_end=end), 1, weight)
            optimizer = torch.optim.SGD([latent(network)], lr=5e-3)
            path = []
            for k in range(20):
                descend(network, optimizer, pull(network, target), k / 20)
                path.append(value(network).detach().clone())
            paths.append(torch.stack(path))
    constant_stable, annealed_stable, constant_direct, annealed_direct = paths
    assert (constant_stable[-1] - constant_stable[0]).abs().max() > 0.01
    torch.testing.assert_close(constant_stable, constant_direct, atol=1e-6, rtol=0)
    assert (annealed_stable[-1] - annealed_direct[-1]).abs().max() > 0.01


@every_map
@every_form
@pytest.mark.parametrize("huge", [1e4, 1e30])
def test_no_update_is_too_large(form: Form, projection: Projection, huge: float) -> None:
    """Weights at both outer levels, next to them and at zero, moved by far more than the map can tell from its ends."""
    weight = torch.tensor([[-1.0, -1 + 1e-7, 0.0, 1 - 1e-7, 1.0, 30.0, -30.0]]).double()
    for sign in (1.0, -1.0):
        network = attached(MirrorDescent(projection=projection, form=form, beta_start=2.0, beta_end=50.0), 2, weight)
        optimizer = torch.optim.SGD([latent(network)], lr=1.0)
        for progress in (0.0, 0.5, 1.0):
            descend(network, optimizer, lambda w: (w * sign * huge).sum(), progress)  # noqa: B023
            assert torch.isfinite(latent(network)).all()
            assert torch.isfinite(value(network)).all()
        assert torch.isfinite(exported(network)).all()


def test_direct_form_is_the_published_multiplicative_update() -> None:
    """`r = (1+w)/(1−w) · exp(−2βηg)`, `w ← (r−1)/(r+1)` on weights ±1 while β rises; ours have levels ±s and β in units of 2s."""
    network = attached(MirrorDescent(form="direct", beta_start=2.0, beta_end=100.0), 1, normal(2, 10))
    target, half = 0.3 * normal(2, 10, seed=3), step_of(network) / 2
    optimizer = torch.optim.SGD([latent(network)], lr=0.02)
    w = (value(network) / half).detach()
    for k in range(30):
        beta = method_of(network).beta((k - 1) / 30) if k else 2.0
        gradient = descend(network, optimizer, lambda x: ((x - target) ** 2).sum() / 2, k / 30)
        r = (1 + w) / (1 - w) * torch.exp(-2 * (beta / 2) * 0.02 * gradient / half)
        w = (r - 1) / (r + 1)
        torch.testing.assert_close((value(network) / half).detach(), w, atol=1e-9, rtol=0)


@pytest.mark.parametrize("grid", GRID_STYLES)
@pytest.mark.parametrize(("form", "end"), [("direct", 2.0), ("direct", 40.0), ("stable", 2.0)])
def test_softmax_is_the_exponentiated_gradient_over_all_levels(grid: GridStyle, form: Form, end: float) -> None:
    """One number a weight against one share a level: `u ← u · exp(−β η g_u)`, normalised, with `g_u = q · g`; the stable form at one β."""
    network = attached(MirrorDescent(projection="softmax", form=form, beta_start=2.0, beta_end=end, grid=grid), 2, apart(2, 10))
    g = weight_grid(2, grid)
    levels = torch.arange(g.lo, g.hi + 1).double() + g.offset
    step, target, rate = step_of(network), 0.5 * normal(2, 10, seed=3), 0.01
    optimizer = torch.optim.SGD([latent(network)], lr=rate)
    u = torch.softmax(-2.0 * (latent(network).detach().unsqueeze(-1) / step.unsqueeze(-1) - levels) ** 2, -1)
    for k in range(30):
        beta = method_of(network).beta((k - 1) / 30) if k else 2.0
        torch.testing.assert_close(value(network).detach(), (u * levels).sum(-1) * step, atol=1e-9, rtol=0)
        gradient = descend(network, optimizer, pull(network, target), k / 30)
        by_share = (gradient * step).unsqueeze(-1) * levels
        u = u * torch.exp(-beta * (2 * rate / step.unsqueeze(-1) ** 2) * by_share)
        u = u / u.sum(-1, keepdim=True)


@pytest.mark.parametrize(
    ("form", "rule"), [("direct", "sgd"), ("direct", "momentum"), ("direct", "adam"), ("stable", "sgd"), ("stable", "momentum")]
)
def test_two_level_softmax_is_tanh_for_every_optimizer(form: Form, rule: str) -> None:
    """Duals (−v, v) by level, each with its own optimizer state. (Adam's steps would change the scales that the stable form follows.)"""
    network = attached(MirrorDescent(projection="tanh", form=form, beta_start=2.0, beta_end=2.0), 1, apart(1, 10))
    step, target, rate = float(step_of(network)), 0.3 * normal(1, 10, seed=3), 0.01
    signs = torch.tensor([-0.5, 0.5], dtype=torch.float64)
    duals = nn.Parameter((latent(network).detach().unsqueeze(-1) / step) * 2 * signs)

    def optimizer(parameter: Tensor, scale: float) -> torch.optim.Optimizer:
        if rule == "adam":
            return torch.optim.Adam([parameter], lr=rate * scale, eps=0)
        return torch.optim.SGD([parameter], lr=rate * scale * (2 / step if scale != 1 else 1), momentum=0.9 * (rule == "momentum"))

    ours, theirs = optimizer(latent(network), 1.0), optimizer(duals, 1 / step)
    for k in range(25):
        u = torch.softmax(2.0 * duals.detach(), -1)
        w = (u * signs).sum(-1) * step
        torch.testing.assert_close(value(network).detach(), w, atol=1e-9, rtol=0)
        gradient = descend(network, ours, pull(network, target), k / 25)
        duals.grad = (gradient * step).unsqueeze(-1) * signs
        theirs.step()


def test_a_step_minimises_loss_plus_bregman_divergence() -> None:
    network = attached(MirrorDescent(form="direct", beta_start=3.0, beta_end=3.0), 1, normal(1, 8))
    step, rate, coefficients = float(step_of(network)), 0.2, normal(1, 8, seed=1)
    half, w = step / 2, value(network).detach()

    def potential(x: Tensor) -> Tensor:
        z = x / half
        return step * half / 6 * ((1 + z) * torch.log1p(z) + (1 - z) * torch.log1p(-z))

    x = torch.linspace(-half, half, 200_001, dtype=torch.float64)[1:-1].unsqueeze(1)
    slope = step / 3 * torch.atanh(w / half)
    cost = coefficients * x + (potential(x) - potential(w) - slope * (x - w)) / rate
    descend(network, torch.optim.SGD([latent(network)], lr=rate), lambda v: (v * coefficients).sum(), 0.0)
    torch.testing.assert_close(value(network).detach()[0], x[cost.argmin(0), 0], atol=2e-5 * half, rtol=0)


def test_beta_follows_the_published_staircase() -> None:
    """×1.02 every 200 of 100,000 iterations, the first of them at once."""
    method = MirrorDescent(beta_start=1.0, beta_end=1.02**500)
    for k in (1, 200, 201, 400, 5000, 99_999):
        assert 1 <= 1.02 ** (1 + (k - 1) // 200) / method.beta(k / 100_000) <= 1.0201
    assert method.beta(0.0) == 1.0
    assert MirrorDescent(beta_end=1e35).beta(1.0) == pytest.approx(1e35)


@every_map
@every_form
def test_annealing_finds_the_signs_of_a_separable_quadratic(form: Form, projection: Projection) -> None:
    target = normal(4, 30, seed=5)
    target = target.sign() * target.abs().clamp_min(0.05)
    network = attached(MirrorDescent(projection=projection, form=form, beta_end=60.0), 1, normal(4, 30))
    optimizer = torch.optim.SGD([latent(network)], lr=0.02)
    for k in range(250):
        descend(network, optimizer, lambda x: ((x - target) ** 2).sum() / 2, k / 250)
    assert torch.equal(exported(network).sign(), target.sign())


@every_form
def test_annealing_alone_moves_no_hard_weight(form: Form) -> None:
    network = attached(MirrorDescent(form=form), 2, normal(3, 20))
    hard, relaxed = exported(network), value(network).detach()
    for progress in (0.1, 0.5, 0.9):
        with torch.no_grad():
            method_of(network).after_step(network, progress)
    assert float(network.weight_quantizer(network.space.layers[0]).get_buffer("beta")) == pytest.approx(2 * 2e4**0.9)
    torch.testing.assert_close(exported(network), hard)
    assert torch.allclose(value(network), relaxed) == (form == "direct")


def test_zero_goes_to_the_positive_level() -> None:
    weight = normal(1, 6)
    weight[0, 0] = 0.0
    network = attached(MirrorDescent(), 1, weight)
    network.model.eval()
    assert value(network)[0, 0] > 0
    assert exported(network)[0, 0] > 0


@every_map
@every_form
@settings(max_examples=8, deadline=None)
@given(bits=st.integers(1, 8), grid=st.sampled_from(GRID_STYLES), seed=st.integers(0, 99))
def test_evaluation_is_what_is_exported(form: Form, projection: Projection, bits: int, grid: GridStyle, seed: int) -> None:
    network = attached(MirrorDescent(projection=projection, form=form, grid=grid), bits, normal(3, 20, seed=seed))
    network.model.float()
    optimizer = torch.optim.SGD([latent(network)], lr=0.1)
    for k in range(3):
        descend(network, optimizer, lambda x: (x * x).sum(), k / 3)
    network.model.eval()
    codes, steps = network.weight_quantizer(network.space.layers[0]).export(latent(network).detach())
    assert torch.equal(value(network), dequantize(codes, steps.unsqueeze(1), weight_grid(bits, grid).offset))


def test_a_killed_training_keeps_its_beta(tmp_path: Path) -> None:
    x = normal(64, 6).float()
    split = TensorSplit(x, (x[:, 0] > 0).long())
    recipe = Recipe(epochs=2, batch_size=16, lr=0.05, precision="float32", reestimate=0)

    def run(stop_at: int | None, checkpoint: Checkpoint | None) -> Tensor:
        network = attached(MirrorDescent(form="direct", beta_end=50.0), 2, normal(2, 6))
        network.model.float()
        hooks = Hooks.of(method_of(network), network)

        def stop(done: int, total: int) -> None:
            if done == stop_at:
                raise KeyboardInterrupt

        hooks.on_step = stop
        task, device = Task.classification(), torch.device("cpu")
        train(network.model, [], split, task, recipe, device=device, seed=0, hooks=hooks, checkpoint=checkpoint)
        return latent(network).detach()

    checkpoint = Checkpoint(tmp_path / "x.checkpoint", every=0.0)
    with pytest.raises(KeyboardInterrupt):
        run(5, checkpoint)
    assert torch.equal(run(None, checkpoint), run(None, None))


def test_one_compiled_graph_serves_every_allocation() -> None:
    torch.compiler.reset()
    counter = torch._dynamo.testing.CompileCounter()
    network = attached(MirrorDescent(), 3, normal(3, 20))
    quantizer = network.weight_quantizer(network.space.layers[0]).float()
    compiled, rows = torch.compile(quantizer, backend=counter), normal(3, 20).float()
    for bits in range(1, 9):
        quantizer.set_grid(bits, weight_grid(bits))
        quantizer.get_buffer("beta").fill_(2.0 * bits)
        torch.testing.assert_close(compiled(rows), quantizer(rows), atol=1e-5, rtol=0)
    assert counter.frame_count == 1


@pytest.mark.parametrize(("start", "end"), [(0.0, 10.0), (5.0, 2.0), (1.0, 1e36)])
def test_a_beta_out_of_range_is_refused(start: float, end: float) -> None:
    with pytest.raises(ConfigError, match=r"mirror_descent needs 0\.1 ≤ beta_start ≤ beta_end ≤ 1e\+35"):
        MirrorDescent(beta_start=start, beta_end=end)

"""The categorical quantizer, hard concrete masks and CPQ, by the properties of their sheet.

Not tested: the published error rates, and the sheet's gate against a learned-step baseline on CIFAR; both take real trainings.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.base import Batch
from mpsearch.methods.cpq import CategoricalWeight, Cpq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.affine import fake_quantize_rows
from mpsearch.numbers.gradients.categorical import Limits, Shape, log_mass, mode, mode_of_masked
from mpsearch.numbers.gradients.hard_concrete import gate, keep_probability, logistic_noise, logit_of, nested, nested_probability, sample
from mpsearch.numbers.grid import GRID_STYLES, Grid, GridStyle, weight_grid
from mpsearch.tasks.task import Task
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe

law = settings(deadline=None, max_examples=30)
SEEDS = st.integers(0, 999)
STYLES = st.sampled_from(GRID_STYLES)
GRIDS = st.builds(weight_grid, st.integers(1, 8), STYLES)
LITERAL = Shape(torch.tensor(1.0, dtype=torch.float64))


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def limits(grid: Grid) -> Limits:
    return Limits(*(torch.tensor(float(value), dtype=torch.float64) for value in (grid.lo, grid.hi, grid.offset)))


def nest(bits: int, style: GridStyle) -> Limits:
    """The grids of 2 … bits."""
    grids = [weight_grid(width, style) for width in range(2, bits + 1)]
    lows, highs = ([float(value) for value in values] for values in zip(*((g.lo, g.hi) for g in grids), strict=True))
    return Limits(torch.tensor(lows).double(), torch.tensor(highs).double(), torch.tensor(grids[0].offset).double())


def levels_of(grids: Limits) -> tuple[Tensor, Tensor]:
    """All levels h of the widest grid, and the index of the smallest grid that has each."""
    codes = torch.arange(int(grids.lo[-1]), int(grids.hi[-1]) + 1).double()
    inside = (codes[:, None] >= grids.lo) & (codes[:, None] <= grids.hi)
    return codes + grids.offset, inside.long().argmax(1)


def masses(x: Tensor, a: float, s: float, h: Tensor) -> Tensor:
    """π of every level, straight from the definition: `[…, levels]`."""
    x = x[..., None]
    return torch.sigmoid((a * (h + 0.5) - x) / s) - torch.sigmoid((a * (h - 0.5) - x) / s)


def slope(x: Tensor, a: float = 1.0, s: float = 1 / 3, grid: Grid = weight_grid(4, "narrow"), shape: Shape = LITERAL) -> Tensor:  # noqa: B008
    """∂value/∂x of each of the weights `[n]`."""
    x = x.double().reshape(1, -1).requires_grad_()
    mode(x, torch.tensor([a]).double(), torch.tensor([s]).double(), limits(grid), shape).sum().backward()
    assert x.grad is not None
    return x.grad[0]


@law
@given(grid=GRIDS, seed=SEEDS, ratio=st.floats(0.05, 2), straight=st.floats(0, 1))
def test_the_value_is_plain_rounding_whatever_the_spread(grid: Grid, seed: int, ratio: float, straight: float) -> None:
    a = normal(seed + 1, 3).abs().float() + 0.1
    x = normal(seed, 3, 40).float() * a[:, None] * grid.levels / 2
    one = [torch.tensor(float(value)) for value in (grid.lo, grid.hi, grid.offset)]
    found = mode(x, a, a * ratio, Limits(*one), Shape(torch.tensor(1.0), straight, True))
    assert torch.equal(found, fake_quantize_rows(x, a, *one))
    probabilities = masses(x[0].double(), float(a[0]), float(a[0]) * ratio, torch.arange(grid.lo, grid.hi + 1) + grid.offset)
    chosen = probabilities.gather(1, ((found[0] / a[0]) - grid.offset - grid.lo).round().long()[:, None])[:, 0]
    assert (chosen >= probabilities.amax(1) - 1e-6).all()


@law
@given(grid=GRIDS, seed=SEEDS, ratio=st.floats(0.1, 2))
def test_gradients_are_central_differences_through_the_chosen_bin(grid: Grid, seed: int, ratio: float) -> None:
    a, g = normal(seed + 1, 2).abs() + 0.2, normal(seed + 2, 2, 9)
    x = normal(seed, 2, 9) * a[:, None] * grid.levels / 3
    s = a * ratio
    leaves = x.clone().requires_grad_(), a.clone().requires_grad_(), s.clone().requires_grad_()
    found = mode(*leaves, limits(grid), LITERAL)
    (found * g).sum().backward()
    h, level = (found / leaves[1][:, None]).detach(), found.detach()

    def through(x: Tensor, a: Tensor, s: Tensor) -> Tensor:
        return level * log_mass(x, a[:, None] * (h - 0.5), a[:, None] * (h + 0.5), s[:, None]).exp()

    eps = 1e-6
    dx = (through(x + eps, a, s) - through(x - eps, a, s)) / (2 * eps)
    da = (through(x, a + eps, s) - through(x, a - eps, s)) / (2 * eps) + h
    ds = (through(x, a, s + eps) - through(x, a, s - eps)) / (2 * eps)
    for leaf, expected in zip(leaves, (g * dx, (g * da).sum(1), (g * ds).sum(1)), strict=True):
        torch.testing.assert_close(leaf.grad, expected, rtol=1e-4, atol=1e-5)


def test_log_mass_is_the_logarithm_of_the_definition_and_finite_far_away() -> None:
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)
    one = torch.tensor(1.0, dtype=torch.float64)
    torch.testing.assert_close(log_mass(x, 0 * one, one, one / 3), ((1 - x) * 3).sigmoid().sub((-x * 3).sigmoid()).log())
    far = torch.tensor([-1e4, 1e4], requires_grad=True)
    mass = log_mass(far, torch.tensor(0.0), torch.tensor(1.0), torch.tensor(0.05))
    mass.sum().backward()
    assert torch.isfinite(mass).all()
    torch.testing.assert_close(far.grad, torch.tensor([20.0, -20.0]))


def test_the_gradient_vanishes_on_levels_and_is_odd_about_them() -> None:
    """Tabled for a = 1, s = 1/3 at offsets t from a level: π and dπ/dt."""
    t = torch.tensor([0.0, 0.1, 0.25, 0.4, 0.499])
    table = torch.tensor([0.6351, 0.6267, 0.5838, 0.5115, 0.4532]), torch.tensor([0.0, -0.1685, -0.3949, -0.5564, -0.6141])
    pi = log_mass(t, torch.tensor(-0.5), torch.tensor(0.5), torch.tensor(1 / 3)).exp()
    torch.testing.assert_close(pi, table[0], rtol=0, atol=1e-4)
    for h in (-3.0, -1.0, 1.0, 2.0, 7.0):
        torch.testing.assert_close(slope(h + t) / h, table[1].double(), rtol=0, atol=1e-4)
        torch.testing.assert_close(slope(h - t), -slope(h + t), rtol=0, atol=1e-5)
    assert (slope(2 + t[1:]) < 0).all()
    assert (slope(2 - t[1:]) > 0).all()


def test_zero_bin() -> None:
    x = torch.linspace(-0.49, 0.49, 11)
    assert (slope(x) == 0).all()
    assert (slope(x, shape=Shape(LITERAL.gain, 0.0, True)) == 1).all()
    assert (slope(x + 2, shape=Shape(LITERAL.gain, 0.0, True)) == slope(x + 2)).all()


@law
@given(seed=SEEDS, grid=GRIDS)
def test_all_of_straight_through_is_the_library_s_own(seed: int, grid: Grid) -> None:
    x, a, g = normal(seed, 2, 30) * grid.levels / 3, torch.tensor([0.7, 1.1]).double(), normal(seed + 1, 2, 30)
    gradients = []
    for quantize in (
        lambda x, a: mode(x, a, a / 3, limits(grid), Shape(LITERAL.gain, 1.0)),
        lambda x, a: fake_quantize_rows(x, a, *limits(grid)),
    ):
        leaves = x.clone().requires_grad_(), a.clone().requires_grad_()
        (quantize(*leaves) * g).sum().backward()
        gradients.append([leaf.grad for leaf in leaves])
    torch.testing.assert_close(gradients[0], gradients[1])


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("style", GRID_STYLES)
def test_with_enough_straight_through_no_gradient_is_reversed_and_weights_still_gather(bits: int, style: GridStyle) -> None:
    grid = weight_grid(bits, style)
    largest = max(abs(grid.lo + grid.offset), grid.hi + grid.offset)
    shape = Shape(torch.tensor(1 / largest).double(), 0.4)
    x = torch.linspace(grid.lo + grid.offset - 0.49, grid.hi + grid.offset + 0.49, 4001)
    found = slope(x, grid=grid, shape=shape)
    assert (found > 0).all()
    outermost = grid.hi + grid.offset
    below, above = slope(torch.tensor([outermost - 0.3, outermost + 0.3]), grid=grid, shape=shape)
    assert below > above


@law
@given(seed=SEEDS, ratio=st.floats(0.02, 2))
def test_probabilities_sum_to_at_most_one_and_to_one_when_truncated(seed: int, ratio: float) -> None:
    x = normal(seed, 20) * 4
    h = torch.arange(-3, 4).double()
    total = masses(x, 1.0, ratio, h).sum(1)
    assert (total <= 1 + 1e-9).all()
    covered = log_mass(x, torch.tensor(-3.5), torch.tensor(3.5), torch.tensor(ratio)).exp()
    torch.testing.assert_close(total, covered)
    interior = x[x.abs() < 3]
    torch.testing.assert_close(masses(interior, 1.0, 0.02, h).sum(1), torch.ones_like(interior))


@pytest.mark.parametrize("start", [1.55, 1.8, 2.2, 2.45])
def test_weights_gather_where_plain_straight_through_drifts_away(start: float) -> None:
    """A constant gradient for which the level at 2 is helpful: g · G < 0."""
    x, plain, distances = start, start, []
    for _ in range(400):
        x -= 0.05 * -1.0 * float(slope(torch.tensor([x])))
        plain -= 0.05 * -1.0
        distances.append(abs(x - 2))
    assert all(later <= earlier for earlier, later in itertools.pairwise(distances))
    assert distances[-1] < 1e-3
    assert plain > 2.5


@pytest.mark.parametrize(("bits", "groups"), [(4, [[2, 3], [4, 5, 6, 7]]), (2, []), (3, [[2, 3]])])
def test_groups_are_the_levels_that_a_width_adds(bits: int, groups: list[list[int]]) -> None:
    h, owner = levels_of(nest(bits, "narrow"))
    for index, group in enumerate(groups, start=1):
        assert h[(owner == index) & (h > 0)].tolist() == group
        assert h[(owner == index) & (h < 0)].tolist() == [-k for k in reversed(group)]
    assert h[owner == 0].tolist() == [-1, 0, 1]


@law
@given(bits=st.integers(2, 8), style=STYLES, seed=SEEDS, data=st.data())
def test_hard_nested_masks_clip_to_a_narrower_grid(bits: int, style: GridStyle, seed: int, data: st.DataObject) -> None:
    hard = torch.tensor([float(data.draw(st.booleans())) for _ in range(bits - 2)]).double()
    keep = torch.cat([torch.ones(1).double(), nested(hard)])
    assert (keep[1:] <= keep[:-1]).all()  # contiguous
    kept = 2 + max((i + 1 for i in range(bits - 2) if hard[i]), default=0)
    x, a = normal(seed, 2, 50) * 2**bits, torch.tensor([0.9, 1.3]).double()
    found = mode_of_masked(x, a, a / 3, keep, nest(bits, style), LITERAL)
    assert torch.equal(found, fake_quantize_rows(x, a, *limits(weight_grid(kept, style))))


@law
@given(bits=st.integers(3, 5), style=STYLES, seed=SEEDS)
def test_soft_masks_take_the_most_probable_of_all_levels(bits: int, style: GridStyle, seed: int) -> None:
    grids = nest(bits, style)
    keep = torch.cat([torch.ones(1).double(), nested(torch.rand(bits - 2, generator=torch.Generator().manual_seed(seed)).double())])
    x = normal(seed, 1, 60) * 2 ** (bits - 1)
    found = mode_of_masked(x, torch.ones(1).double(), torch.full((1,), 0.4).double(), keep, grids, LITERAL)
    h, owner = levels_of(grids)
    best = h[(keep[owner] * masses(x[0], 1.0, 0.4, h)).argmax(1)]
    torch.testing.assert_close(found[0], best)


@law
@given(bits=st.integers(3, 5), style=STYLES, seed=SEEDS)
def test_gradients_under_masks_are_those_of_the_explicit_sum(bits: int, style: GridStyle, seed: int) -> None:
    """The telescoped normaliser against `e_i π_i / Σ_j e_j π_j` spelled out, for weights, step, spread and masks."""
    grids, (h, owner) = nest(bits, style), levels_of(nest(bits, style))
    soft = torch.rand(bits - 2, generator=torch.Generator().manual_seed(seed)).double() * 0.9 + 0.05
    reach = 0.8 * 2 ** (bits - 1)  # farther out the plain differences of the reference cancel
    x, g = (normal(seed, 1, 12) * reach / 2).clamp(-reach, reach), normal(seed + 1, 1, 12)

    def leaves() -> tuple[Tensor, Tensor, Tensor, Tensor]:
        a, s = torch.tensor([0.8]).double(), torch.tensor([0.4]).double()
        return x.clone().requires_grad_(), a.requires_grad_(), s.requires_grad_(), soft.clone().requires_grad_()

    def kept(masks: Tensor) -> Tensor:
        return torch.cat([torch.ones(1).double(), nested(masks)])

    mine = leaves()
    found = mode_of_masked(*mine[:3], kept(mine[3]), grids, LITERAL)
    (found * g).sum().backward()
    other = leaves()
    a, s = other[1], other[2]
    u = (a * (h + 0.5) - other[0][0][:, None]) / s, (a * (h - 0.5) - other[0][0][:, None]) / s
    weights = kept(other[3])[owner] * (u[0].sigmoid() - u[1].sigmoid())
    index = (found[0].detach() / 0.8 - h[0]).round().long()[:, None]
    chosen = (weights / weights.sum(1, keepdim=True)).gather(1, index)[:, 0]
    ((found.detach()[0] * chosen + a * h[index[:, 0]]) * g[0]).sum().backward()
    for one, two in zip(mine, other, strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-4, atol=1e-9)


def test_masks_leave_no_infinite_gradients() -> None:
    """Float32, weights far outside of what is kept, masks at exactly 0 and 1."""
    x = torch.tensor([[-500.0, -3.0, 0.0, 3.0, 127.0, 500.0]], requires_grad=True)
    a, s = torch.ones(1, requires_grad=True), torch.full((1,), 0.05, requires_grad=True)
    grids = Limits(*(value.float() for value in nest(8, "narrow")))
    for keep in ([1.0, 1, 1, 1, 1, 1, 1], [1.0, 1, 0, 0, 0, 0, 0], [1.0, 0, 0, 0, 0, 0, 0], [1.0, 1, 1, 0.3, 0.3, 0, 0]):
        e = torch.tensor(keep, requires_grad=True)
        mode_of_masked(x, a, s, e, grids, Shape(torch.tensor(1.0), 0.5, True)).sum().backward()
        for leaf in (x, a, s, e):
            assert leaf.grad is not None
            assert torch.isfinite(leaf.grad).all()


@pytest.mark.parametrize(("q", "at_test"), [(0.9, 0.674), (0.7, 0.285), (0.5, 0.102)])
def test_hard_concrete(q: float, at_test: float) -> None:
    phi = torch.full((200_000,), logit_of(q))
    assert float(keep_probability(phi)[0]) == pytest.approx(q, abs=1e-6)
    assert float(gate(phi)[0]) == pytest.approx(at_test, abs=1e-3)
    torch.manual_seed(0)
    z = sample(phi, logistic_noise(phi))
    assert 0 <= float(z.min()) <= float(z.max()) <= 1
    assert bool((z == 1).any())
    assert float((z > 0).float().mean()) == pytest.approx(q, abs=3 * math.sqrt(q * (1 - q) / len(phi)))


@law
@given(seed=SEEDS, masks=st.integers(1, 6))
def test_nested_probability_is_the_expected_number_of_kept_masks(seed: int, masks: int) -> None:
    q = torch.rand(masks, generator=torch.Generator().manual_seed(seed)).double()
    expected = 0.0
    for outcome in itertools.product((0, 1), repeat=masks):
        kept = max((i + 1 for i in range(masks) if outcome[i]), default=0)
        expected += kept * math.prod(float(p if on else 1 - p) for p, on in zip(q, outcome, strict=True))
        assert float(nested(torch.tensor(outcome).double()).sum()) == kept
    assert float(nested_probability(q).sum()) == pytest.approx(expected)


def attached(method: Cpq, bits: int | dict[str, int] = 8) -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    x = torch.randn(64, 6)
    space = Space(name="all", weights=(1, 2, 3, 4, 8, FLOAT_BITS), activations=(FLOAT_BITS,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x], method.grid), method)
    by_layer = bits if isinstance(bits, dict) else {layer.name: bits for layer in space.layers}
    network.begin(Allocation({name: Choice(b) for name, b in by_layer.items()}))
    return network


def quantizers_of(network: Network) -> dict[str, CategoricalWeight]:
    quantizers = {}
    for layer in network.space.layers:
        quantizer = network.weight_quantizer(layer)
        assert isinstance(quantizer, CategoricalWeight)
        quantizers[layer.name] = quantizer
    return quantizers


def fitted(network: Network, method: Cpq, epochs: int = 4) -> None:
    torch.manual_seed(1)
    x = torch.randn(96, 6)
    train(
        network.model,
        network.quantizer_parameters(),
        TensorSplit(x, (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long()),
        Task.classification(),
        Recipe(epochs=epochs, batch_size=16, lr=0.05, precision="float32"),
        device=torch.device("cpu"),
        seed=0,
        hooks=Hooks.of(method, network),
    )


def batch_at(progress: float) -> Batch:
    zero = torch.zeros(())
    return Batch(
        inputs=None, targets=zero, outputs=zero, loss=zero, task_loss=lambda o, t: zero, divergence=lambda r, o: zero, progress=progress
    )


def codes_of(network: Network) -> dict[str, Tensor]:
    return {layer.name: network.weight_quantizer(layer).export(network.latent_weight(layer).detach())[0] for layer in network.space.layers}


@pytest.mark.parametrize("style", GRID_STYLES)
def test_a_high_price_leaves_the_core_and_none_leaves_all(style: GridStyle) -> None:
    dear = Cpq(grid=style, bit_penalty=1e4)
    network = attached(dear)
    assert dear.learned_bits(network) == {"0": 8.0, "2": 8.0}
    fitted(network, dear)
    assert dear.learned_bits(network) == {"0": 2.0, "2": 2.0}
    core = weight_grid(2, style)
    for codes in codes_of(network).values():
        assert core.lo <= int(codes.min()) <= int(codes.max()) <= core.hi
    free = Cpq(grid=style, dropbits=True)
    network = attached(free)
    fitted(network, free)
    assert free.learned_bits(network) is None
    assert all(quantizer.width() == 8 for quantizer in quantizers_of(network).values())


def test_the_gates_say_the_bits_and_the_price_counts_them() -> None:
    method = Cpq(bit_penalty=2.0)
    network = attached(method, {"0": 8, "2": 4})
    first, second = quantizers_of(network).values()
    first.phi.data.fill_(-100)
    first.phi.data[0] = 100
    assert float(first.extra_bits().detach()) == pytest.approx(1)
    first.follow_gates()
    assert first.width() == 3
    assert (int(first.low), int(first.high)) == (-3, 3)
    second.phi.data.fill_(100)
    expected = 2.0 * (1 * 96 + 2 * 64) / 160
    assert float(method.objective(network, batch_at(0.2)).detach()) == pytest.approx(expected, rel=1e-5)


def test_the_search_ends_with_bits_frozen_and_no_masks() -> None:
    method = Cpq(bit_penalty=1.0, search=0.5)
    network = attached(method)
    with torch.no_grad():
        method.after_step(network, 0.4)
    first, weight = quantizers_of(network)["0"], network.latent_weight(network.space.layers[0])
    assert first.dropping
    assert len(first.noise.unique()) == len(first.noise)  # drawn
    first.phi.data[3:] = -100
    widest = weight.detach().clone()
    for progress in (0.45, 0.5):
        assert torch.equal(weight, widest)  # as long as masks may come back, weights may stay where the wider grids are
        with torch.no_grad():
            method.after_step(network, progress)
    bits = method.learned_bits(network)
    assert bits == {"0": 5.0, "2": 8.0}
    assert float(method.objective(network, batch_at(0.6))) == 0
    first.phi.data.fill_(-100)
    with torch.no_grad():
        method.after_step(network, 0.7)
    assert method.learned_bits(network) == bits
    assert float((weight.abs() / first.step[:, None]).detach().max()) == pytest.approx(16)
    network.model.train()
    trained = first(weight)
    first.redraw()
    assert torch.equal(first(weight), trained)
    first.eval()
    assert torch.equal(first(weight), trained)


def test_masks_are_drawn_once_a_step_in_training_and_never_in_evaluation() -> None:
    method = Cpq(dropbits=True, keep=0.5)
    network = attached(method, 4)
    quantizer, weight = quantizers_of(network)["0"], network.latent_weight(network.space.layers[0]).detach()
    full = fake_quantize_rows(weight, quantizer.step.detach(), quantizer.lo, quantizer.hi, quantizer.offset)
    quantizer.train()
    assert torch.equal(quantizer(weight), full)  # the first step keeps all
    drawn = []
    for _ in range(2):
        torch.manual_seed(5)
        values = []
        for _ in range(20):
            quantizer.redraw()
            values.append(quantizer(weight).detach())
            assert torch.equal(quantizer(weight), values[-1])
        drawn.append(values)
    assert all(torch.equal(one, two) for one, two in zip(*drawn, strict=True))
    assert any(not torch.equal(one, full) for one in drawn[0])
    quantizer.eval()
    state = torch.get_rng_state()
    for _ in range(5):
        quantizer.redraw()
        assert torch.equal(quantizer(weight), full)
    torch.set_rng_state(state)
    codes, steps = quantizer.export(weight)
    assert torch.equal(codes * steps[:, None], full)


def test_two_bits_and_fewer_have_nothing_to_drop() -> None:
    method = Cpq(dropbits=True, bit_penalty=1e3)
    network = attached(method, {"0": 2, "2": 1})
    fitted(network, method, epochs=2)
    assert method.learned_bits(network) == {"0": 2.0, "2": 1.0}
    assert all(float(quantizer.extra_bits().detach()) == 0 for quantizer in quantizers_of(network).values())


def test_float_layers_are_left_alone() -> None:
    method = Cpq(bit_penalty=1e3)
    network = attached(method, FLOAT_BITS)
    before = network.latent_weight(network.space.layers[0]).detach() * 1e3
    network.latent_weight(network.space.layers[0]).data.mul_(1e3)
    with torch.no_grad():
        method.after_step(network, 0.1)
    assert torch.equal(network.latent_weight(network.space.layers[0]), before)
    assert method.learned_bits(network) == {"0": 32.0, "2": 32.0}
    assert float(method.objective(network, batch_at(0.1))) == 0


@pytest.mark.parametrize(
    "rows", [Rows("first", (4, 3, 2)), Rows("transposed", (4, 3, 2), 2), Rows("embedding", (5, 4))], ids=lambda r: r.kind
)
def test_projections(rows: Rows) -> None:
    quantizer = CategoricalWeight(rows, Cpq())
    quantizer.set_grid(3, weight_grid(3, "narrow"))
    weight = normal(0, *rows.shape).float() * 100
    with torch.no_grad():
        quantizer.begin(rows.split(weight), torch.arange(1.0, rows.channels + 1))
        inner = rows.split(weight).abs() <= 4 * quantizer.step[:, None]
        before = rows.split(weight).clone()
        quantizer.spread.data[0] = 100
        quantizer.spread.data[1] = 0
        quantizer.project(weight)
    found = rows.split(weight)
    assert torch.equal(found[inner], before[inner])
    assert torch.equal(found[~inner], (before.sign() * 4 * quantizer.step.detach()[:, None])[~inner])
    ratio = (quantizer.spread / quantizer.step).tolist()
    assert ratio == pytest.approx([2, 0.05, *[1 / 3] * (rows.channels - 2)])


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_the_range_moves_alike_at_any_bits(bits: int) -> None:
    """With a gradient of one sign in every weight, none cancels: the worst case for the step's."""
    rows = Rows("first", (4, 3, 2))
    quantizer = CategoricalWeight(rows, Cpq())
    quantizer.set_grid(bits, weight_grid(bits, "narrow"))
    weight = rows.split(normal(0, *rows.shape).float())
    largest = max(quantizer.grid.hi + quantizer.grid.offset, 1)
    with torch.no_grad():
        quantizer.begin(weight, weight.abs().amax(1) / largest)
    value = quantizer.quantize(weight)
    value.backward(value.detach().sign())
    assert quantizer.step.grad is not None
    assert float(quantizer.step.grad.abs().max()) * largest <= 3 * weight.shape[1] ** 0.5


def test_a_checkpoint_holds_masks_and_learned_bits() -> None:
    method = Cpq(bit_penalty=30.0)
    network = attached(method)
    fitted(network, method, epochs=2)
    other = attached(method, 2)
    assert quantizers_of(other)["0"].dropping
    other.model.load_state_dict(network.model.state_dict())
    assert method.learned_bits(other) == method.learned_bits(network)
    assert not quantizers_of(other)["0"].dropping
    assert all(torch.equal(codes, codes_of(other)[name]) for name, codes in codes_of(network).items())


@pytest.mark.parametrize(
    "wrong", [{"bit_penalty": -1.0}, {"keep": 1.0}, {"search": 0.0}, {"straight": 1.5}, {"zero_bin": "soft"}], ids=lambda w: next(iter(w))
)
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"cpq\.{name} must be"):
        Cpq(**wrong)

"""Bit planes and BSQ, by the properties of its sheet; planes here start with the lowest bit and N is at most 7 (8 bits with the sign).

Not tested: the published compression rates (sheet, 11.11). They follow from N and parameter counts alone, and nothing here reports them.
The zero-bit layer of 11.9 does not exist here: what is tested is that one plane stays.
"""

from __future__ import annotations

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
from mpsearch.methods.bsq import Bsq, PlaneWeight
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.gradients.bit_planes import (
    PLANES,
    active_places,
    binary_planes,
    from_planes,
    largest_and_lowest,
    occupied,
    plane_norms,
    plane_sum,
)
from mpsearch.numbers.grid import GRID_STYLES, GridStyle, weight_grid
from mpsearch.numbers.ranges import fit_steps
from mpsearch.tasks.task import Task
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe

NO_OFFSET, HALF = torch.tensor(0.0), torch.tensor(0.5)
SEEDS = st.integers(0, 999)
law = settings(deadline=None, max_examples=30)


def rows_of(seed: int, channels: int = 3, n: int = 17) -> Tensor:
    return torch.randn(channels, n, generator=torch.Generator().manual_seed(seed))


def quantizer_at(weight: Tensor, bits: int, steps: Tensor | None = None) -> PlaneWeight:
    quantizer = PlaneWeight(Rows("first", tuple(weight.shape)), refit=False)
    quantizer.set_grid(bits, weight_grid(bits, "narrow"))
    with torch.no_grad():
        quantizer.begin(weight, fit_steps(weight, quantizer.grid) if steps is None else steps)
    return quantizer


def holding(integers: Tensor, low: int = 0, high: int = PLANES, bits: int = 8) -> PlaneWeight:
    """A quantizer with step 1 whose planes low … high − 1 are in use and hold these integers."""
    quantizer = quantizer_at(integers, bits, torch.ones(len(integers)))
    for plane, digits in zip((quantizer.p, quantizer.n), binary_planes(integers), strict=True):
        plane.data.copy_(digits)
    quantizer.places.copy_(active_places(low, high))
    return quantizer


def value(quantizer: PlaneWeight) -> Tensor:
    return quantizer(torch.empty(quantizer.rows.shape)).detach()


def requantized(quantizer: PlaneWeight, *, adjust: bool = True) -> PlaneWeight:
    with torch.no_grad():
        quantizer.requantize(adjust=adjust)
    return quantizer


def attached(method: Bsq, allocation: dict[str, int] | None = None, grid_bits: int = 8) -> Network:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 4))
    x = torch.randn(64, 6)
    space = Space(name="all", weights=(1, 2, 4, 8, FLOAT_BITS), activations=(FLOAT_BITS,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x], method.grid), method)
    bits = allocation or {layer.name: grid_bits for layer in space.layers}
    network.begin(Allocation({name: Choice(b) for name, b in bits.items()}))
    return network


def planes_of(network: Network) -> dict[str, PlaneWeight]:
    quantizers = {}
    for layer in network.space.layers:
        quantizer = network.weight_quantizer(layer)
        assert isinstance(quantizer, PlaneWeight)
        quantizers[layer.name] = quantizer
    return quantizers


def batch_at(progress: float) -> Batch:
    zero = torch.zeros(())
    return Batch(
        inputs=None, targets=zero, outputs=zero, loss=zero, task_loss=lambda o, t: zero, divergence=lambda r, o: zero, progress=progress
    )


def fitted(network: Network, method: Bsq, epochs: int = 4) -> None:
    torch.manual_seed(1)
    x = torch.randn(96, 6)
    split = TensorSplit(x, (x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long())
    train(
        network.model,
        network.quantizer_parameters(),
        split,
        Task.classification(),
        Recipe(epochs=epochs, batch_size=16, lr=0.05, precision="float32"),
        device=torch.device("cpu"),
        seed=0,
        hooks=Hooks.of(method, network),
    )


@law
@given(seed=SEEDS, bits=st.integers(2, 8))
def test_encoding_loses_at_most_half_a_step(seed: int, bits: int) -> None:
    weight = rows_of(seed)
    weight[:, 0] = 0
    largest = weight.abs().amax(1)
    steps = largest / (2 ** (bits - 1) - 1)
    found = value(quantizer_at(weight, bits, steps))
    assert ((found - weight).abs() <= steps[:, None] * (0.5 + 1e-4)).all()
    at = weight.abs().argmax(1, keepdim=True)
    torch.testing.assert_close(found.gather(1, at), weight.gather(1, at))
    assert (found[:, 0] == 0).all()
    assert (found * weight >= 0).all()


@law
@given(seed=SEEDS, bits=st.integers(2, 8))
def test_planes_start_at_the_float_weight(seed: int, bits: int) -> None:
    """Not only at its rounding; digits are 0 and 1 above the lowest plane, and p or n is 0."""
    weight = rows_of(seed)
    quantizer = quantizer_at(weight, bits)
    steps = quantizer.export(weight)[1][:, None]
    limit = quantizer.grid.hi
    torch.testing.assert_close(plane_sum(quantizer.p, quantizer.n, quantizer.places), (weight / steps).clamp(-limit, limit))
    assert set(quantizer.p[1:].unique().tolist()) | set(quantizer.n[1:].unique().tolist()) <= {0.0, 1.0}
    assert (quantizer.p * quantizer.n == 0).all()


@pytest.mark.parametrize("beyond", [False, True])
def test_gradients_of_planes_and_step(beyond: bool) -> None:
    """∂w/∂p_j = step 2^j, twice as much a plane higher, −∂w/∂n_j, whether or not v is clipped; ∂w/∂step = code."""
    generator = torch.Generator().manual_seed(0)
    p = (torch.rand(PLANES, 2, 5, generator=generator) + beyond).requires_grad_()
    n = torch.zeros(PLANES, 2, 5, requires_grad=True)
    step = torch.tensor([0.5, 2.0], requires_grad=True)
    places = active_places(1, 5)
    assert bool((plane_sum(p, n, places) > places.sum()).all()) is beyond
    g = torch.randn(2, 5, generator=generator)
    w = from_planes(p, n, step, places, NO_OFFSET)
    (w * g).sum().backward()
    assert p.grad is not None
    assert n.grad is not None
    for j in range(PLANES):
        expected = g * step.detach()[:, None] * (2**j if 1 <= j < 5 else 0)
        torch.testing.assert_close(p.grad[j], expected)
        torch.testing.assert_close(n.grad[j], -expected)
    torch.testing.assert_close(step.grad, (g * (w / step[:, None]).detach()).sum(1))


@law
@given(seed=SEEDS, low=st.integers(0, 5), extra=st.integers(1, 6), scale=st.floats(0.5, 150))
def test_requantizing_and_stripping_change_no_value_and_are_idempotent(seed: int, low: int, extra: int, scale: float) -> None:
    high = min(low + extra, PLANES)
    largest, lowest = largest_and_lowest(active_places(low, high))
    integers = (torch.round(rows_of(seed) * scale / lowest) * lowest).clamp(-largest, largest)
    quantizer = holding(integers, low, high)
    before = value(quantizer)
    assert torch.equal(before, integers)
    once = requantized(quantizer)
    assert torch.equal(value(once), before)
    assert once.planes_in_use() <= high - low
    state = {name: tensor.clone() for name, tensor in once.state_dict().items() if isinstance(tensor, Tensor)}
    again = requantized(once)
    assert all(torch.equal(again.state_dict()[name], tensor) for name, tensor in state.items())
    used = again.places > 0
    assert (again.p[~used] == 0).all()
    assert again.planes_in_use() == 1 or bool((again.p + again.n)[used][[0, -1]].flatten(1).any(1).all())


@law
@given(seed=SEEDS)
def test_codes_survive_requantization_of_real_planes(seed: int) -> None:
    """Without growth: whatever the planes have become, the last re-quantization does not move the exported numbers."""
    generator = torch.Generator().manual_seed(seed)
    quantizer = quantizer_at(rows_of(seed), 5)
    for plane in (quantizer.p, quantizer.n):
        plane.data.copy_(torch.rand(plane.shape, generator=generator) * 2 * (quantizer.places > 0).view(-1, 1, 1))
    weight = torch.empty(quantizer.rows.shape)
    codes, steps = quantizer.export(weight)
    again, same_steps = requantized(quantizer, adjust=False).export(weight)
    assert torch.equal(codes, again)
    assert torch.equal(steps, same_steps)


def scale_of(quantizer: PlaneWeight) -> float:
    """The paper's s: the value of all planes in use, were they one."""
    largest, lowest = largest_and_lowest(quantizer.places)
    step = quantizer.export(torch.empty(quantizer.rows.shape))[1][0] * lowest
    return float(step * (largest / lowest))


def test_two_empty_planes_at_the_bottom_are_dropped() -> None:
    quantizer = holding(torch.tensor([[4.0, -8.0, 100.0, 0.0]]))
    s = scale_of(quantizer)
    requantized(quantizer)
    assert quantizer.planes_in_use() == 5
    assert scale_of(quantizer) == pytest.approx(4 * s * (2**5 - 1) / (2**7 - 1))


def test_two_empty_planes_at_the_top_are_dropped() -> None:
    quantizer = holding(torch.tensor([[1.0, -31.0, 16.0, 0.0]]))
    s = scale_of(quantizer)
    requantized(quantizer)
    assert quantizer.planes_in_use() == 5
    assert scale_of(quantizer) == pytest.approx(s * 31 / 127)


def test_empty_planes_between_full_ones_stay() -> None:
    assert occupied(torch.tensor([[1.0, 64.0]]), 0, PLANES) == (0, PLANES)


def test_a_carry_grows_by_a_plane_up_to_the_bits_given() -> None:
    integers = torch.tensor([[8.0, -7.0, 1.0]])
    grown = holding(integers, 0, 4)
    grown.p.data[3, 0, 0] = 2  # 16: one more than four planes hold
    unclipped = plane_sum(grown.p, grown.n, grown.places)
    assert value(grown)[0, 0] == 15
    requantized(grown)
    assert grown.planes_in_use() == 5
    assert torch.equal(value(grown), unclipped)  # the function changes here: what was clipped counts now
    full = holding(integers, 0, 4, bits=5)
    full.p.data[3, 0, 0] = 2
    requantized(full)
    assert full.planes_in_use() == 4
    assert value(full)[0, 0] == 15


def test_groups_of_the_lasso() -> None:
    places = active_places(1, 6)
    p = torch.zeros(PLANES, 2, 3, requires_grad=True)
    n = torch.zeros(PLANES, 2, 3)
    norms = plane_norms(p, n, places)
    assert float(norms.detach().sum()) == pytest.approx(5e-4)
    norms.sum().backward()
    assert p.grad is not None
    assert torch.isfinite(p.grad).all()
    generator = torch.Generator().manual_seed(0)
    p, n = torch.rand(PLANES, 2, 3, generator=generator), torch.rand(PLANES, 2, 3, generator=generator)
    factors = torch.arange(1.0, PLANES + 1).view(-1, 1, 1)
    torch.testing.assert_close(plane_norms(p * factors, n * factors, places), plane_norms(p, n, places) * factors.flatten())
    torch.testing.assert_close(plane_norms(p, n, places)[2], (p[2].square().sum() + n[2].square().sum()).sqrt())


def test_the_lasso_weighs_layers_by_the_memory_they_take_now() -> None:
    method = Bsq(alpha=0.3)
    network = attached(method, {"0": 8, "2": 4})
    planes = planes_of(network)
    norms = {name: float(plane_norms(q.p, q.n, q.places).detach().sum()) for name, q in planes.items()}
    sizes = {"0": 96, "2": 64}
    expected = 0.3 * (sizes["0"] * 7 / 160 * norms["0"] + sizes["2"] * 3 / 160 * norms["2"])
    assert float(method.objective(network, batch_at(0.1)).detach()) == pytest.approx(expected, rel=1e-5)
    quantizer = holding(torch.zeros(2, 3), 0, 6)
    whole = float(quantizer.penalty().detach())
    quantizer.places.copy_(active_places(0, 3))
    assert float(quantizer.penalty().detach()) == pytest.approx(whole / 4)  # half the planes, each at half the coefficient


@pytest.mark.parametrize("method", [Bsq(alpha=0.0), Bsq(alpha=0.3, search=0.5)])
def test_no_lasso_without_alpha_or_after_the_search(method: Bsq) -> None:
    network = attached(method)
    assert float(method.objective(network, batch_at(0.5))) == 0


def test_a_layer_of_zeros_keeps_one_plane() -> None:
    quantizer = requantized(holding(torch.zeros(2, 3)))
    assert quantizer.planes_in_use() == 1
    assert torch.equal(value(quantizer), torch.zeros(2, 3))
    method = Bsq(alpha=1.0)
    network = attached(method)
    zero = planes_of(network)["0"]
    zero.p.data.zero_()
    zero.n.data.zero_()
    requantized(zero)
    assert method.learned_bits(network) == {"0": 2.0, "2": 8.0}


def test_after_a_huge_step_planes_are_in_bounds_and_dropped_ones_at_zero() -> None:
    method = Bsq(alpha=1.0)
    network = attached(method)
    for quantizer in planes_of(network).values():
        quantizer.places.copy_(active_places(1, 5))
        quantizer.p.data.normal_(0, 1e6)
        quantizer.n.data.normal_(0, 1e6)
        quantizer.scale.data.fill_(-3)
    with torch.no_grad():
        method.after_step(network, 0.0)
    for quantizer in planes_of(network).values():
        used = quantizer.places > 0
        for plane in (quantizer.p, quantizer.n):
            assert 0 <= float(plane.detach().min()) <= float(plane.detach().max()) <= 2
            assert (plane[~used] == 0).all()
            assert bool((plane[used] == 2).any())
        assert (quantizer.scale > 0).all()


@pytest.mark.parametrize("bits", [1, 2, 5, 8])
def test_a_step_of_sgd_moves_the_weight_as_far_as_a_float_weight(bits: int) -> None:
    weight = rows_of(0) * torch.tensor([0.01, 1.0, 30.0])[:, None]
    quantizer = quantizer_at(weight, bits)
    used = (quantizer.places > 0).view(-1, 1, 1)
    for plane in (quantizer.p, quantizer.n):
        plane.data.copy_(used * (0.5 + torch.rand(plane.shape, generator=torch.Generator().manual_seed(1))))
    g = rows_of(1)
    steps = quantizer.export(weight)[1][:, None]
    before = plane_sum(quantizer.p, quantizer.n, quantizer.places).detach() * steps
    quantizer.scale.requires_grad_(False)
    (quantizer(weight) * g).sum().backward()
    torch.optim.SGD([quantizer.p, quantizer.n], lr=1e-3).step()
    after = plane_sum(quantizer.p, quantizer.n, quantizer.places).detach() * steps
    torch.testing.assert_close(after - before, -1e-3 * g, rtol=2e-2, atol=1e-4 * float(steps.max()))


def test_loss_and_lasso_are_preconditioned_alike() -> None:
    """Else the optimum of their sum would move."""
    quantizer = quantizer_at(rows_of(0), 6)
    quantizer.penalty().backward()
    scaled = quantizer.p.grad.clone()
    quantizer.zero_grad()
    (quantizer.planes_in_use() * plane_norms(quantizer.p, quantizer.n, quantizer.places).sum()).backward()
    steps = quantizer.export(torch.empty(quantizer.rows.shape))[1].view(1, -1, 1)
    assert quantizer.p.grad is not None
    torch.testing.assert_close(scaled, quantizer.p.grad / (2 * steps**2 * quantizer.places.square().sum()))


@law
@given(seed=SEEDS)
def test_one_bit_is_the_sign(seed: int) -> None:
    weight = rows_of(seed)
    quantizer = quantizer_at(weight, 1)
    s = weight.abs().mean(1, keepdim=True)
    torch.testing.assert_close(value(quantizer), torch.where(weight >= 0, s, -s))
    before = value(quantizer)
    assert torch.equal(value(requantized(quantizer)), before)
    assert set(quantizer.export(weight)[0].unique().tolist()) <= {-1, 0}


def test_finetuning_brings_weights_back_to_the_grid() -> None:
    quantizer = holding(torch.tensor([[127.0, 3.0, -127.0]]))
    quantizer.p.data[0, 0, :2] = 1.5
    before = plane_sum(quantizer.p, quantizer.n, quantizer.places)[0, 1].clone()
    with torch.no_grad():
        quantizer.shrink()
    sums = plane_sum(quantizer.p, quantizer.n, quantizer.places).detach()
    assert float(sums[0, 0]) == pytest.approx(127)
    assert sums[0, 1] == before
    assert sums[0, 2] == -127


@pytest.mark.parametrize("style", GRID_STYLES)
def test_codes_are_narrow_whatever_the_grid(style: GridStyle) -> None:
    reference = attached(Bsq(), grid_bits=2)
    network = attached(Bsq(grid=style), grid_bits=2)
    for name, quantizer in planes_of(network).items():
        assert quantizer.grid == weight_grid(2, "narrow")
        codes, steps = quantizer.export(torch.empty(quantizer.rows.shape))
        wanted, wanted_steps = planes_of(reference)[name].export(torch.empty(quantizer.rows.shape))
        assert torch.equal(codes, wanted)
        assert torch.equal(steps, wanted_steps)


@pytest.mark.parametrize(("alpha", "planes"), [(0.008, {2, 3, 4}), (0.0, {7})])
def test_the_lasso_finds_the_bits_that_the_loss_needs(alpha: float, planes: set[int]) -> None:
    """The loss sees 8 of 40 directions, in which weights of 3 bits are optimal; the start adds much that it does not see."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.linalg.qr(torch.randn(40, 40, generator=generator))[0]
    seen, unseen = directions[:, :8], directions[:, 8:]
    targets = torch.randint(-3, 4, (4, 40), generator=generator) * 0.04
    start = targets + 0.5 * torch.randn(4, 32, generator=generator) @ unseen.T
    quantizer = quantizer_at(start, 8, start.abs().amax(1) / 127)
    optimizer = torch.optim.SGD(quantizer.parameters(), lr=0.05, momentum=0.9)
    for step in range(400):
        loss = 0.5 * ((quantizer(start) - targets) @ seen).square().sum()
        if step < 300:
            loss = loss + alpha * quantizer.penalty()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            quantizer.clip()
            if step < 300:
                if step % 100 == 99:
                    quantizer.requantize(adjust=True)
            else:
                quantizer.shrink()
    requantized(quantizer)
    assert quantizer.planes_in_use() in planes
    assert float(((value(quantizer) - targets) @ seen).square().sum()) < 0.01 * float((targets @ seen).square().sum())


def test_training_learns_bits_then_keeps_them() -> None:
    method = Bsq(alpha=0.5, interval=0.1, search=0.5)
    network = attached(method)
    fitted(network, method)
    bits = method.learned_bits(network)
    assert bits is not None
    assert all(2 <= b < 8 for b in bits.values())
    assert bits == {name: quantizer.planes_in_use() + 1 for name, quantizer in planes_of(network).items()}
    for quantizer in planes_of(network).values():
        codes, _ = quantizer.export(torch.empty(quantizer.rows.shape))
        largest, lowest = largest_and_lowest(quantizer.places)
        assert int(codes.abs().max()) <= int(largest)
        assert (codes % int(lowest) == 0).all()
        assert set(quantizer.p.unique().tolist()) | set(quantizer.n.unique().tolist()) <= {0.0, 1.0}


def test_bits_given_are_kept_and_finetuned() -> None:
    method = Bsq()
    network = attached(method)
    quantizer = planes_of(network)["0"]
    quantizer.p.data[6] = 2
    with torch.no_grad():
        method.after_step(network, 0.0)
    assert float(plane_sum(quantizer.p, quantizer.n, quantizer.places).detach().max()) < 127.01
    fitted(network, method, epochs=1)
    assert method.learned_bits(network) is None
    assert all(quantizer.planes_in_use() == 7 for quantizer in planes_of(network).values())


def test_float_and_one_bit_layers_report_what_they_have() -> None:
    method = Bsq(alpha=1.0)
    network = attached(method, {"0": FLOAT_BITS, "2": 1})
    assert method.learned_bits(network) == {"0": 32.0, "2": 1.0}
    fitted(network, method, epochs=1)
    assert method.learned_bits(network) == {"0": 32.0, "2": 1.0}


def test_rounds_are_counted_by_share_of_the_training_and_survive_a_checkpoint() -> None:
    method = Bsq(alpha=1e-9, interval=0.25, search=0.5)
    network = attached(method)
    quantizer = planes_of(network)["0"]
    counted = []
    for progress in (0.0, 0.2, 0.25, 0.3, 0.5, 0.9):
        quantizer.p.data[0] = 0.7
        with torch.no_grad():
            method.after_step(network, progress)
        counted.append((quantizer.rounds, bool((quantizer.p[0] == 0.7).any())))
    assert counted == [(0, True), (0, True), (1, False), (1, True), (3, False), (3, True)]
    other = attached(method)
    other.model.load_state_dict(network.model.state_dict())
    assert planes_of(other)["0"].rounds == 3


@law
@given(seed=SEEDS)
def test_momentum_does_not_bring_a_dropped_plane_back(seed: int) -> None:
    method = Bsq(alpha=1e-3)
    network = attached(method)
    quantizer = planes_of(network)["0"]
    optimizer = torch.optim.SGD(network.quantizer_parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for step in range(4):
        for parameter in network.quantizer_parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        optimizer.step()
        if step == 1:
            quantizer.places.copy_(active_places(2, 5))
        with torch.no_grad():
            method.after_step(network, 0.01)
    assert (quantizer.p[[0, 1, 5, 6]] == 0).all()
    assert bool((quantizer.p[2:5] > 0).any())


@pytest.mark.parametrize("wrong", [{"alpha": -1.0}, {"alpha": float("nan")}, {"interval": 0.0}, {"search": 1.5}])
def test_wrong_settings_are_refused(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=rf"bsq\.{name} must be"):
        Bsq(**wrong)

"""`learned_range` on powers of two: P3 of its paper (sheet's section 3), in the units of the file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT_BITS, NumberFormat
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.methods.learned_range import LearnedRange, soft_bits
from mpsearch.network.baked import CodedWeight, bake, install
from mpsearch.network.inputs import call
from mpsearch.numbers.grid import act_grid
from mpsearch.numbers.power_of_two import codes, fit_scales, values
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.targets.packed.write import PackedWriter
from tests.methods.learned_ranges import attached, data, mean_bits, trained, weight_quantizer

POWERS = LearnedRange(levels="power_of_two")
LEARNING = LearnedRange(levels="power_of_two", weight_budget=2.5)
ACTIVATIONS = LearnedRange(act_levels="power_of_two", act_budget=3.0)


def rows(seed: int = 0) -> torch.Tensor:
    return torch.randn(4, 60, generator=torch.Generator().manual_seed(seed)) * torch.tensor([[0.1], [1.0], [3.0], [0.02]])


def quantizer(method: LearnedRange, bits: int, weight: torch.Tensor) -> Any:
    return weight_quantizer(method, weight.abs().amax(1) / max(2 ** (bits - 1) - 1, 1), bits, weight)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 99), bits=st.integers(1, 8), learning=st.booleans())
def test_what_is_computed_is_what_the_file_holds_and_its_levels_are_powers_of_two(seed: int, bits: int, learning: bool) -> None:
    weight = rows(seed)
    made = quantizer(LEARNING if learning else POWERS, bits, weight)
    written, scales = made.export(weight)
    computed = made(weight).detach()
    assert torch.equal(values(written, scales), computed)
    exponents = (computed.abs() / scales[:, None]).log2()
    assert torch.equal(exponents, exponents.round())
    assert -(2 ** (bits - 1)) + 1 <= int(exponents.min()) <= int(exponents.max()) <= 0
    assert torch.equal(computed < 0, weight < 0)


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_fitted_scales_beat_the_largest_weight(bits: int) -> None:
    weight = rows()
    largest = weight.abs().amax(1)
    fitted = fit_scales(weight, largest, bits)

    def error(scales: torch.Tensor) -> torch.Tensor:
        return (values(codes(weight, scales, bits), scales) - weight).square().sum(1)

    assert (error(fitted) <= error(largest)).all()
    assert error(fitted).sum() < 0.95 * error(largest).sum()


def test_an_empty_channel_keeps_its_scale() -> None:
    weight = torch.zeros(1, 5)
    assert fit_scales(weight, torch.tensor([0.7]), 3).tolist() == [pytest.approx(0.7)]


def test_gradients_are_the_papers() -> None:
    """∂Q/∂x = |Q|/|x| between q and m; ∂Q/∂q = sign(x) below q, ∂Q/∂m = sign(x) from m on, and 0 elsewhere."""
    weight = torch.tensor([[0.1, -0.1, 0.9, -0.9, 0.9, 3.0, 3.0, -0.6]], requires_grad=True)
    made = weight_quantizer(LEARNING, torch.tensor([1.0]), 3, weight.detach())
    with torch.no_grad():
        made.top.fill_(2.0)
        made.bottom.fill_(0.5)
        made.ratios.fill_(1.0)
    out = made(weight)
    assert out.tolist() == [[0.5, -0.5, 1.0, -1.0, 1.0, 2.0, 2.0, -0.5]]
    grad, dtop, dbottom = torch.autograd.grad(out, (weight, made.top, made.bottom), torch.tensor([[1.0, 1, 1, 1, 1, 1, 1, 1]]))
    expected = [0.0, 0.0, 1 / 0.9, 1 / 0.9, 1 / 0.9, 0.0, 0.0, 0.5 / 0.6]
    assert grad[0].tolist() == pytest.approx(expected, rel=1e-5)
    assert float(dtop) == pytest.approx(2.0)
    assert float(dbottom) == pytest.approx(0.0, abs=1e-6)  # one weight of each sign lies below q
    (dbottom,) = torch.autograd.grad(made(weight)[0, 0], made.bottom)
    assert float(dbottom) == pytest.approx(1.0)


@pytest.mark.parametrize("snap", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gradients_are_whole_where_q_starts(bits: int, snap: bool) -> None:
    """At the lowest level of the allocation, where a clamp would pass half of them."""
    weight = torch.tensor([[1e-4, 1e-4, 1.0]])
    made = weight_quantizer(LearnedRange(levels="power_of_two", weight_budget=2.0, snap=snap), torch.tensor([0.1]), bits, weight)
    with torch.no_grad():
        made.bottom.copy_(made.top * 2.0 ** (1 - 2 ** (bits - 1)))
    (dbottom,) = torch.autograd.grad(made(weight).sum(), made.bottom)
    per_pair = float(made.snapped(made.bottom.detach()) / made.bottom.detach()) * float(made.ratios)
    assert float(dbottom) == pytest.approx(2 * per_pair)
    if bits > 2:
        (dbottom,) = torch.autograd.grad(made.bits_now(), made.bottom)
        span = 2 ** (bits - 1) - 1
        expected = -1 / (math.log(2) ** 2 * (span + 1) * float(made.bottom.detach()))
        assert float(dbottom) == pytest.approx(expected)


def test_both_ends_are_snapped_each_to_its_own_power_of_two() -> None:
    """1.4 to 1 and 0.36 to 0.5: their ratio is a half, where that of 0.36 to 1.4 would be a quarter."""
    made = weight_quantizer(LearnedRange(levels="power_of_two", weight_budget=2.0, snap=True), torch.tensor([1.0]), 4, torch.ones(1, 2))
    with torch.no_grad():
        made.top.fill_(1.4)
        made.bottom.fill_(0.36)
        made.ratios.fill_(1.0)
    assert made(torch.tensor([[0.01, -9.0]])).tolist() == [[0.5, -1.0]]


@pytest.mark.parametrize(("ratio", "bits"), [(1, 2), (2, 2), (8, 3), (128, 4)])
def test_bits_follow_from_the_two_ends(ratio: int, bits: int) -> None:
    made = quantizer(LEARNING, 8, rows())
    with torch.no_grad():
        made.bottom.copy_(made.top / ratio)
    assert made.whole_bits() == bits
    made.bits_now().backward()
    assert (float(made.bottom.grad or 0) < 0) == (bits > 2)  # pushed up by a price, unless at the least


@settings(deadline=None, max_examples=30)
@given(bits=st.integers(1, 8), moves=st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=2))
def test_after_any_update_the_ends_are_in_order(bits: int, moves: list[float]) -> None:
    weight = rows()
    made = quantizer(LEARNING, bits, weight)
    with torch.no_grad():
        for parameter, move in zip((made.top, made.bottom), moves, strict=True):
            parameter.add_(move)
        made.project()
    top, bottom = float(made.top.detach()), float(made.bottom.detach())
    assert 0 < bottom <= top
    assert min(bits, 2) <= made.whole_bits() <= bits
    assert min(bits, 2) <= made.soft_bits() + 1e-4
    written, _ = made.export(weight)
    assert -(2 ** (bits - 1)) <= int(written.min()) <= int(written.max()) <= 2 ** (bits - 1) - 1


def test_training_finds_bits_near_the_budget() -> None:
    network = trained(LEARNING, Choice(4), lr=0.1)
    learned = cast(Any, LEARNING.learned_bits(network))
    assert mean_bits(network, learned) <= 3.2
    assert all(2 <= bits <= 4 for bits in learned.values())
    assert all(bits - 1 < soft_bits(network)[name] < bits + 0.4 for name, bits in learned.items())  # the span is rounded, then the bits up


@pytest.mark.parametrize("method", [POWERS, LEARNING, LearnedRange(levels="power_of_two", snap=True)])
def test_the_file_is_of_powers_of_two_and_exactly_as_large_as_its_cost_says(method: LearnedRange) -> None:
    network = trained(method, Choice(3, 8), epochs=2)
    parts = bake(network)
    powers = NumberFormat("power_of_two", 3)
    weights = [baked.weight for baked in parts.layers.values() if isinstance(baked.weight, CodedWeight)]
    assert [weight.format for weight in weights] == [powers] * len(network.space.layers)
    counted = size(CostInputs(space=network.space, formats=(method.stores,))).total(network.space.uniform(Choice(3, 8)))
    packed = sum(len(powers.pack(weight.codes.numpy(), weight.scales.values.numpy())[0]) for weight in weights)
    codes_bytes = sum(powers.code_bytes(layer.channels, layer.weights // layer.channels) for layer in network.space.layers)
    assert packed == codes_bytes < counted
    network.model.eval()
    with torch.no_grad():
        plain, live = call(install(network.architecture, network.space.layers, parts), data().x), call(network.model, data().x)
    torch.testing.assert_close(plain, live, atol=2e-2 * float(live.abs().max()), rtol=0)
    if method.snap:
        for layer in network.space.layers:
            scales = network.weight_quantizer(layer).export(network.latent_weight(layer))[1]
            assert torch.equal(scales.log2(), scales.log2().round())


def act_quantizer(method: LearnedRange, bits: int, step: float, *, signed: bool = False) -> Any:
    made = method.act_quantizer()
    made.set_grid(bits, None if bits == FLOAT_BITS else act_grid(bits, signed))
    made.begin(torch.tensor(step))
    return made


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 99), bits=st.integers(2, 8), signed=st.booleans(), step=st.floats(0.01, 2), snap=st.booleans())
def test_activations_are_zero_or_powers_of_two_times_the_largest(seed: int, bits: int, signed: bool, step: float, snap: bool) -> None:
    x = 3 * torch.randn(500, generator=torch.Generator().manual_seed(seed))
    made = act_quantizer(LearnedRange(act_levels="power_of_two", snap=snap), bits, step, signed=signed)
    out = made(x if signed else x.relu()).detach()
    exponents = (out[out != 0].abs() / made.step_value().detach()).log2()
    assert torch.equal(exponents, exponents.round())
    assert -min(2 ** (bits - 1), 16) < float(exponents.min()) <= float(exponents.max()) <= 0
    assert len(out.unique()) <= 2**bits
    assert bool((out == 0).any()) != signed
    assert torch.equal(made(out).detach(), out)
    if snap:
        assert float(made.step_value().detach()).hex().startswith("0x1.0000000000000p")


def test_gradients_of_activations_are_the_papers() -> None:
    """As those of weights, but none at the zero level."""
    made = act_quantizer(ACTIVATIONS, 3, 1.0)
    with torch.no_grad():
        made.top.fill_(2.0)
        made.bottom.fill_(0.5)
    x = torch.tensor([-1.0, 0.1, 0.4, 0.9, 3.0], requires_grad=True)
    out = made(x)
    assert out.tolist() == [0.0, 0.0, 0.5, 1.0, 2.0]
    grad, dtop, dbottom = torch.autograd.grad(out.sum(), (x, made.top, made.bottom))
    assert grad.tolist() == pytest.approx([0.0, 0.0, 0.0, 1 / 0.9, 0.0], rel=1e-5)
    assert (float(dtop), float(dbottom)) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(("ratio", "bits"), [(1, 2), (2, 2), (8, 3), (128, 4)])
def test_bits_of_activations_follow_from_the_two_ends(ratio: int, bits: int) -> None:
    made = act_quantizer(ACTIVATIONS, 8, 0.1)
    with torch.no_grad():
        made.bottom.copy_(made.top / ratio)
    assert made.whole_bits() == bits


def test_activations_too_find_bits_near_the_budget_and_are_scored_no_coarser_than_trained() -> None:
    network = trained(ACTIVATIONS, Choice(8, 4), lr=0.1)
    learned = cast(Any, ACTIVATIONS.learned_act_bits(network))
    assert all(2 <= bits <= 4 for bits in learned.values())
    assert sum(learned.values()) < 4 * len(learned)
    layer = next(layer for layer in network.space.layers if learned.get(layer.name, 4) < 4)
    quantizer = cast(Any, network.act_quantizer(layer))
    x = torch.logspace(-6, 3, 400)
    levels = {mode: set(quantizer.train(mode)(x).detach().tolist()) for mode in (True, False)}
    assert levels[True] < levels[False]


def test_the_file_knows_the_levels_of_activations(tmp_path: Path) -> None:
    network = trained(LearnedRange(act_levels="power_of_two"), Choice(4, 4), epochs=1)
    parts = bake(network)
    blueprint = Blueprint(architecture=network.architecture, inputs=None, layers=network.space.layers)
    PackedWriter(blueprint).write(tmp_path / "net.safetensors", parts)
    artifact = read_artifact(tmp_path / "net.safetensors")
    assert set(artifact.file.description.bits[2::3]) == {"p", "q"}  # the input has negatives, what comes after a ReLU has not
    loaded = artifact.install(network.architecture)
    x = data().x
    with torch.no_grad():
        assert torch.equal(call(loaded, x), call(install(network.architecture, network.space.layers, parts), x))


def test_half_precision_goes_through() -> None:
    made = act_quantizer(LearnedRange(act_levels="power_of_two"), 4, 0.1)
    x = torch.rand(50).bfloat16()
    assert made(x).dtype == torch.bfloat16
    assert torch.equal(made(x), made(x.float()).bfloat16())


def test_float_layers_learn_nothing() -> None:
    network = attached(LEARNING)
    network.begin(network.space.uniform(Choice(FLOAT_BITS)))
    assert set(soft_bits(network).values()) == {FLOAT_BITS}


def test_the_other_parametrizations_are_uniform_only() -> None:
    with pytest.raises(ConfigError, match=r"learned_range\.levels must be uniform, or power_of_two with the parametrization u3"):
        LearnedRange(levels="power_of_two", parametrization="u1")
    with pytest.raises(ConfigError, match=r"learned_range\.act_levels must be uniform, or power_of_two with the parametrization u3"):
        LearnedRange(act_levels="power_of_two", parametrization="u2")

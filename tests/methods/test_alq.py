"""`alq` in training: bases go by the loss to the very number asked for, then signs and scales follow.

Properties of the tensor mathematics (sketch, nearest levels, fit, score, selection) are in `tests/quant/test_multibit.py`. Not tested here:
the other three groupings (only output channels are groups; `Rows` has its tests), the sums of removal scores as a signal (the signal here
reads off what a short training keeps, and its table is convex and falling by construction: `tests/signals/test_learned_bits.py`),
stochastic rounding (there is none: the schedule is exact), published accuracies, and the sheet's LeNet-5 on MNIST, which would take
a download.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError, ModelError
from mpsearch.core.number_format import FLOAT, FLOAT_BITS, NumberFormat
from mpsearch.core.space import Space
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods.alq import Alq
from mpsearch.network.baked import CodedWeight, bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.multibit import fit, scores, values
from mpsearch.tasks.task import Task
from mpsearch.training.loop import Hooks, train
from mpsearch.training.recipe import Recipe
from tests.networks import Depthwise, trained_statistics

TASK = Task.classification()


def data() -> TensorSplit:
    x = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    return TensorSplit(x, (x.mean((1, 2, 3)) > 0).long())


def network(bits: int = 2, **settings: Any) -> Network:
    torch.manual_seed(0)
    model, x = trained_statistics(Depthwise()), data().x
    space = Space(name="s", weights=(1, 2, 3, 8, FLOAT_BITS)).resolve(trace(model, x))
    made = Network(model, space, Calibration.fit(model, space, [x]), Alq(**settings))
    made.begin(space.uniform(Choice(bits)))
    return made


def method_of(made: Network) -> Alq:
    assert isinstance(made.method, Alq)
    return made.method


def quantizers(made: Network) -> list[Any]:
    return [made.weight_quantizer(layer) for layer in made.space.layers]


def trained(made: Network, epochs: int = 4, **hooks: Any) -> Network:
    recipe = Recipe(epochs=epochs, batch_size=24, lr=0.02, precision="float32", reestimate=96)
    own = replace(Hooks.of(method_of(made), made), **hooks)
    train(made.model, made.quantizer_parameters(), data(), TASK, recipe, device=torch.device("cpu"), seed=0, hooks=own)
    return made


def step(made: Network, progress: float, optimizer: torch.optim.Optimizer | None = None) -> None:
    """One training step by hand."""
    made.model.train()
    made.model.zero_grad(set_to_none=True)
    TASK.loss(call(made.model, data().x[:24]), data().y[:24]).backward()
    with torch.no_grad():
        method_of(made).before_step(made, progress)
    if optimizer is not None:
        optimizer.step()
    with torch.no_grad():
        method_of(made).after_step(made, progress)


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("variant", ["ste", "pure"])
def test_bases_fall_from_the_first_number_to_the_bits(bits: int, variant: str) -> None:
    made = network(bits, extra_bases=2, prune=0.5, variant=variant)
    counts: list[list[int]] = []
    trained(made, on_step=lambda done, total: counts.append([q.count for q in quantizers(made)]))
    channels = [q.rows.channels for q in quantizers(made)]
    assert counts[0] == [(bits + 2) * c for c in channels]
    assert counts[-1] == [bits * c for c in channels]
    assert all(np.less_equal(later, earlier).all() for earlier, later in itertools.pairwise(counts))
    assert counts[len(counts) // 4] == [bits * c + c for c in channels]
    assert len({int(n) for q in quantizers(made) for n in q.present.sum(1)}) > 1  # channels differ


def test_no_channel_has_more_than_eight_bases() -> None:
    made = network(8, extra_bases=7)
    before = [q.count for q in quantizers(made)]
    step(made, 0.0)
    assert [q.count for q in quantizers(made)] == before
    assert all(q.count <= q.room for q in quantizers(made))


def test_the_shortest_training_ends_at_the_bits() -> None:
    made = network(2, extra_bases=3)
    step(made, 0.0)
    assert all(q.count == 5 * q.rows.channels for q in quantizers(made))
    with torch.no_grad():
        method_of(made).after_epoch(made, 1.0)
    for layer, quantizer in zip(made.space.layers, quantizers(made), strict=True):
        assert quantizer.count == 2 * quantizer.rows.channels
        assert (quantizer.alpha[~quantizer.present] == 0).all()
        rows = quantizer.rows.split(made.latent_weight(layer).detach())
        refitted = fit(rows, quantizer.codes, quantizer.present, quantizer.curvature)  # what is left is fitted anew
        torch.testing.assert_close(quantizer.alpha.detach(), refitted, rtol=1e-4, atol=1e-6)


def test_removal_leaves_no_scale_behind() -> None:
    quantizer = quantizers(network(2))[0]
    gone = quantizer.present.clone()
    gone[1:] = False
    with torch.no_grad():
        quantizer.remove(gone)
    assert quantizer.present[0].sum() == 0
    assert values(quantizer.codes, quantizer.alpha)[0].tolist() == [0.0] * quantizer.elements
    assert (quantizer.codes[0] == 0).all()


def test_amid_pruning_the_file_holds_what_evaluation_computes() -> None:
    made = network(2, extra_bases=3, prune=1.0, scale_steps=0.0)
    step(made, 0.0)
    step(made, 0.5)
    made.model.eval()
    for layer in made.space.layers:
        quantizer, weight = made.weight_quantizer(layer), made.latent_weight(layer)
        assert quantizer.count > quantizer.room
        codes, alphas = quantizer.export(weight)
        assert (alphas > 0).sum() == quantizer.room
        assert torch.equal(quantizer.rows.split(quantizer(weight)), values(codes, alphas))
    before = [q.count for q in quantizers(made)]
    for part in bake(made).layers.values():
        assert isinstance(part.weight, CodedWeight)
        assert part.weight.format == NumberFormat("multibit", 2)
        assert part.weight.format.pack(part.weight.codes.numpy(), part.weight.scales.values.numpy())
    assert [q.count for q in quantizers(made)] == before


def test_removed_are_those_of_least_score_the_second_time_too() -> None:
    """Half of the bases twice: after the first removal scores and bases must still belong together."""
    made = network(2, extra_bases=2, prune=0.5, score_lr=1.0)
    step(made, 0.0)
    for progress in (0.25, 0.5):
        made.model.train()
        made.model.zero_grad(set_to_none=True)
        TASK.loss(call(made.model, data().x), data().y).backward()
        with torch.no_grad():
            method_of(made).before_step(made, progress)
            state = [(q.scores()[0].clone(), q.present.clone()) for q in quantizers(made)]
            method_of(made).after_step(made, progress)
        for quantizer, (found, before) in zip(quantizers(made), state, strict=True):
            gone = before & ~quantizer.present
            assert gone.any()
            assert found[gone].max() <= found[quantizer.present].min()


@pytest.mark.parametrize("variant", ["ste", "pure"])
def test_removed_bases_stay_away(variant: str) -> None:
    made = network(2, extra_bases=2, prune=0.1, scale_steps=0.4, variant=variant)
    optimizer = torch.optim.SGD(made.model.parameters(), lr=0.05, momentum=0.9)
    step(made, 0.0, optimizer)
    step(made, 0.1, optimizer)
    present = [q.present.clone() for q in quantizers(made)]
    for progress in (*torch.linspace(0.1, 0.55, 10), *torch.linspace(0.6, 1, 10)):
        step(made, float(progress), optimizer)
        for quantizer, held in zip(quantizers(made), present, strict=True):
            assert torch.equal(quantizer.present, held)
            assert (quantizer.alpha[~held] == 0).all()
            assert (quantizer.alpha >= 0).all()


def test_float_weights_take_the_gradient_of_the_quantized_ones() -> None:
    made = network(2)
    made.model.train()
    layer = made.space.layers[0]
    quantizer, weight = quantizers(made)[0], made.latent_weight(layer)
    slope = torch.randn(weight.shape)
    (quantizer(weight) * slope).sum().backward()
    assert weight.grad is not None
    assert torch.equal(weight.grad, slope)
    assert quantizer.alpha.grad is None
    assert torch.equal(quantizer.rows.split(quantizer(weight)), values(quantizer.codes, quantizer.alpha))


def test_once_signs_are_fixed_scales_move_and_signs_do_not() -> None:
    made = network(2, extra_bases=1, prune=0.3, scale_steps=0.4)
    optimizer = torch.optim.SGD(made.model.parameters(), lr=0.05)
    for progress in (0.0, 0.3, 0.5, 0.6):
        step(made, progress, optimizer)
    before = [(q.codes.clone(), q.alpha.detach().clone()) for q in quantizers(made)]
    weights = [made.latent_weight(layer).detach().clone() for layer in made.space.layers]
    for progress in (0.7, 0.8, 0.9):
        step(made, progress, optimizer)
    for layer, quantizer, (codes, alphas), weight in zip(made.space.layers, quantizers(made), before, weights, strict=True):
        assert torch.equal(quantizer.codes, codes)
        assert not torch.equal(quantizer.alpha, alphas)
        assert torch.equal(made.latent_weight(layer), weight)
    step(made, 0.0, optimizer)  # a further training begins: weights move, signs follow, and no base grows back
    step(made, 0.1, optimizer)
    assert not any(torch.equal(made.latent_weight(layer), weight) for layer, weight in zip(made.space.layers, weights, strict=True))
    assert not all(torch.equal(q.codes, codes) for q, (codes, _) in zip(quantizers(made), before, strict=True))
    assert all(q.count == 2 * q.rows.channels for q in quantizers(made))


def test_step_of_the_scales_is_that_of_the_weights_projected_on_the_signs() -> None:
    made = network(1)
    made.model.train()
    layer = made.space.layers[0]
    quantizer, weight = quantizers(made)[0], made.latent_weight(layer)
    quantizer.fixed.fill_(True)
    slope = torch.randn(weight.shape)
    (quantizer(weight) * slope).sum().backward()
    with torch.no_grad():
        method_of(made).before_step(made, 0.9)
    assert weight.grad is None or not weight.grad.any()
    assert not quantizer.alpha.grad[:, 1:].any()
    signs = quantizer.codes.float() * 2 - 1
    torch.testing.assert_close(quantizer.alpha.grad[:, 0], (signs * quantizer.rows.split(slope)).mean(1))


def test_a_scale_turned_negative_is_turned_with_its_signs() -> None:
    made = network(2)
    quantizer = quantizers(made)[0]
    quantizer.fixed.fill_(True)
    with torch.no_grad():
        quantizer.alpha[::2, 0] *= -1
        before = values(quantizer.codes, quantizer.alpha)
        quantizer.step(quantizer.rows.split(made.latent_weight(made.space.layers[0])), fix=True)
    assert (quantizer.alpha >= 0).all()
    assert torch.equal(values(quantizer.codes, quantizer.alpha), before)


def test_pure_keeps_no_weights_but_the_quantized() -> None:
    made = network(2, variant="pure")
    optimizer = torch.optim.SGD(made.model.parameters(), lr=0.05)
    for progress in (0.0, 0.4, 0.95):
        step(made, progress, optimizer)
        made.model.train()
        for layer in made.space.layers:
            weight = made.latent_weight(layer)
            torch.testing.assert_close(weight, made.weight_quantizer(layer)(weight), rtol=0, atol=0)


@given(seed=st.integers(0, 10**6), steps=st.integers(1, 6))
@settings(max_examples=15, deadline=None)
def test_moments_are_those_of_amsgrad(seed: int, steps: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    quantizer = quantizers(_shared())[0]
    quantizer.begin(torch.randn(quantizer.mean.shape, generator=generator), torch.empty(0))
    parameter = torch.nn.Parameter(torch.zeros_like(quantizer.mean))
    adam = torch.optim.Adam([parameter], lr=1e-3, amsgrad=True)
    for number in range(steps):
        parameter.grad = (torch.rand(quantizer.mean.shape, generator=generator) + 0.1) * 0.1**number
        quantizer.observe(parameter.grad)
        before = parameter.detach().clone()
        adam.step()
    state = adam.state[parameter]
    torch.testing.assert_close(quantizer.mean, state["exp_avg"])
    torch.testing.assert_close(quantizer.square, state["exp_avg_sq"])
    torch.testing.assert_close(quantizer.largest, state["max_exp_avg_sq"])
    slope = 1e-3 * quantizer.mean / (1 - 0.9**steps)
    torch.testing.assert_close(parameter.detach() - before, -slope / quantizer.curvature, rtol=1e-3, atol=1e-8)


def _shared(made: list[Network] = []) -> Network:  # noqa: B006
    if not made:
        made.append(network())
    return made[0]


def test_score_weighs_the_gradient_by_score_lr() -> None:
    made = network(2, score_lr=0.5)
    step(made, 0.0)
    quantizer = quantizers(made)[0]
    slope = 0.5 * quantizer.mean / (1 - 0.9)
    expected = scores(quantizer.codes, quantizer.alpha.detach(), slope, quantizer.curvature_of_scales)
    torch.testing.assert_close(quantizer.scores()[0], expected)


def test_curvature_of_a_scale_is_the_root_of_the_sum_of_squares() -> None:
    """Once signs are refitted it is `√(Σ_j v̂_j)`; while signs stay, squares of the scale's own gradients are averaged on top."""
    made = network(2, extra_bases=0)
    step(made, 0.0)
    quantizer = quantizers(made)[0]
    corrected = (1 - 0.999) ** 0.5
    root = quantizer.largest.sum(1, keepdim=True).sqrt().expand(-1, 2) / corrected
    torch.testing.assert_close(quantizer.curvature_of_scales[:, :2], root)
    slope = torch.full_like(quantizer.mean, 0.3)
    before, signs = quantizer.scale_square.clone(), quantizer.codes[:, None] >> torch.arange(2)[:, None] & 1
    quantizer.observe(slope)
    own = 0.999 * before[:, :2] + 0.001 * (0.3 * (signs.float() * 2 - 1).sum(2)).square()
    torch.testing.assert_close(quantizer.scale_square[:, :2], own)
    torch.testing.assert_close(quantizer.scale_largest, torch.maximum(before, quantizer.scale_square))
    assert not quantizer.scale_square[:, 2:].any()


def test_bases_that_are_added_have_a_curvature_at_once() -> None:
    made = network(2, extra_bases=3, prune=1.0, scale_steps=0.0)
    step(made, 0.0)
    for quantizer in quantizers(made):
        assert quantizer.present[:, 2:5].any()
        added = quantizer.curvature_of_scales[quantizer.present]
        assert (added > 1e-6).any()
        torch.testing.assert_close(quantizer.scale_largest, quantizer.largest.sum(1, keepdim=True) * quantizer.present)


@pytest.mark.parametrize("target", [0.6, 1.0, 2.3])
def test_with_a_target_bases_go_over_all_layers_together(target: float) -> None:
    made = trained(network(8, target_bits=target, prune=0.5))
    learned = method_of(made).learned_bits(made)
    assert learned is not None
    assert list(learned) == list(made.space.names)
    layers = made.space.layers
    weights = sum(layer.weights for layer in layers)
    mean = sum(layer.weights * learned[layer.name] for layer in layers) / weights
    largest = max(layer.weights / layer.channels for layer in layers)
    assert target - largest / weights < mean <= target
    assert len(set(learned.values())) > 1
    baked = bake(made).layers
    assert {layer.name: float((baked[layer.name].weight.scales.values != 0).sum() / layer.channels) for layer in layers} == pytest.approx(
        learned
    )


def test_the_target_is_met_by_the_least_scores_of_all_layers() -> None:
    made = network(8, target_bits=4.0, prune=0.5)
    step(made, 0.0)
    made.model.train()
    made.model.zero_grad(set_to_none=True)
    TASK.loss(call(made.model, data().x), data().y).backward()
    with torch.no_grad():
        method_of(made).before_step(made, 0.5)
        state = [(q.scores()[0].clone(), q.present.clone()) for q in quantizers(made)]
        method_of(made).after_step(made, 0.5)
    pairs = list(zip(quantizers(made), state, strict=True))
    assert max(float(found[held & ~q.present].max()) for q, (found, held) in pairs if (held & ~q.present).any()) <= min(
        float(found[q.present].min()) for q, (found, _) in pairs if q.present.any()
    )


def test_learned_bits_are_of_quantized_layers_and_only_with_a_target() -> None:
    assert method_of(network()).learned_bits(network()) is None
    made = network(8, target_bits=3.0)
    made.begin(Allocation({name: Choice(FLOAT_BITS if name == "head" else 8) for name in made.space.names}))
    step(made, 0.9)
    learned = method_of(made).learned_bits(made)
    assert learned is not None
    assert "head" not in learned


def test_with_a_target_no_layer_outgrows_its_bits() -> None:
    made = network(2, target_bits=8.0, extra_bases=3)
    step(made, 0.0)
    assert all(q.count <= q.room for q in quantizers(made))
    assert method_of(made).learned_bits(made) == dict.fromkeys(made.space.names, 2.0)


def test_channels_without_a_weight_and_weights_without_a_gradient() -> None:
    made = network(2, extra_bases=2, prune=0.5)
    with torch.no_grad():
        made.latent_weight(made.space.layers[0])[0] = 0
        made.weight_quantizer(made.space.layers[0]).begin(made.latent_weight(made.space.layers[0]).flatten(1), torch.empty(0))
    trained(made, epochs=2)
    for baked in bake(made).layers.values():
        assert torch.isfinite(baked.weight.scales.values).all()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_said_to_be_so(value: float) -> None:
    made = network(2)
    step(made, 0.0)
    with torch.no_grad():
        made.latent_weight(made.space.layers[1])[0, 0, 0, 0] = value
        method_of(made).after_step(made, 0.5)
    with pytest.raises(ModelError, match="not finite"):
        bake(made)


@pytest.mark.parametrize("bits", range(1, 9))
def test_all_bits_are_written_as_planes(bits: int) -> None:
    assert Alq(grid="half").stores(NumberFormat("uniform", bits)) == NumberFormat("multibit", bits)
    assert Alq().stores(NumberFormat("multibit", bits)) == NumberFormat("multibit", bits)


def test_float_and_other_kinds() -> None:
    assert Alq().stores(FLOAT) == FLOAT
    assert [Alq().stores(NumberFormat.parse(text)) for text in ("t", "h2", "p4", "4g64", "4z")] == [None] * 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"extra_bases": 8},
        {"extra_bases": -1},
        {"prune": 1.1},
        {"scale_steps": -0.1},
        {"prune": 0.6, "scale_steps": 0.5},
        {"variant": "float"},
        {"score_lr": -1.0},
        {"target_bits": 9.0},
        {"target_bits": -0.5},
    ],
    ids=str,
)
def test_values_out_of_range(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Alq(**wrong)
    assert caught.value.path == f"alq.{list(wrong)[-1]}"
    assert "\n" not in str(caught.value)

"""`lapq`, property by property of its paper.

Clips by Lp norms, the parabola and the separability index are tested in `tests/quant/test_lp_clip.py`, the library's grids (levels,
idempotence, oddness, scaling, which values there are at 2 bits) in `tests/quant/test_affine.py`. Not tested: correction of each
channel's mean, which an artifact cannot hold; re-estimating BatchNorm stands in for it, and BatchNorm's part in the search is tested.
Powell's method has twice as many rounds as there are dimensions: its line searches are inexact, so as many as dimensions do not suffice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.methods.lapq import JointSearch, Lapq
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import bake
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.tasks.task import Task
from tests.networks import NETWORKS, trained_statistics

TASK = Task.classification()
SPACE = Space(name="all", weights=(1, 2, 3, 4, 8, FLOAT_BITS), activations=(2, 4, 8, FLOAT_BITS))
QUICK: dict[str, Any] = {"iterations": 1, "points": 4, "evaluations": 60}


class Counted:
    """The divergence from the float network, as the engine hands it over: two batches, counted."""

    def __init__(self, network: Network, inputs: list[Any]) -> None:
        self.network, self.inputs, self.calls = network, inputs, 0
        with torch.no_grad():
            self.reference = [call(network.architecture, x) for x in inputs]

    def __call__(self) -> float:
        self.calls += 1
        apart = [TASK.divergence(r, call(self.network.model, x)) for x, r in zip(self.inputs, self.reference, strict=True)]
        return float(torch.cat(apart).mean())


def attached(name: str = "mlp", method: Lsq | None = None, *, change: Callable[[Any], object] | None = None) -> tuple[Network, Counted]:
    """A network with two batches; `change` is made to the float model after its ranges are fitted."""
    torch.manual_seed(0)
    build, inputs = NETWORKS[name]
    return _counted(trained_statistics(build()), [inputs(), inputs()], method, change)


def _counted(
    model: nn.Module, batches: list[Any], method: Lsq | None = None, change: Callable[[Any], object] | None = None
) -> tuple[Network, Counted]:
    space = SPACE.resolve(trace(model, batches[0]))
    calibration = Calibration.fit(model, space, batches)
    if change is not None:
        with torch.no_grad():
            change(model)
    network = Network(model, space, calibration, method or Lapq(**QUICK))
    return network, Counted(network, batches)


def calibrated(network: Network, loss: Callable[[], float], allocation: Allocation, method: Lapq | None = None) -> list[Tensor]:
    """The steps that are found."""
    network.begin(allocation)
    network.model.eval()
    with torch.no_grad():
        (method or Lapq(**QUICK)).calibrate(network, loss)
    return steps_of(network)


def steps_of(network: Network) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.quantizer_parameters()]


def mixed(network: Network) -> Allocation:
    menu = [Choice(1, 4), Choice(FLOAT_BITS, 2), Choice(2), Choice(4, 8), Choice(3, 2)]
    return Allocation({name: network.space.uniform(menu[i % 5])[name] for i, name in enumerate(network.space.names)})


def without_norm(change: Callable[[Any], object] | None = None) -> tuple[Network, Counted]:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    return _counted(model, [torch.randn(32, 6), torch.randn(32, 6)], change=change)


@pytest.fixture
def plain() -> tuple[Network, Counted]:
    """Without BatchNorm: what is searched is what is measured afterwards."""
    return without_norm()


# Phase 3 alone


def coupled(dimensions: int = 4) -> tuple[np.ndarray, Callable[[np.ndarray], float]]:
    target = np.linspace(-0.4, 0.3, dimensions)
    matrix = np.full((dimensions, dimensions), 0.95) + 0.05 * np.eye(dimensions)
    return target, lambda x: float((x - target) @ matrix @ (x - target)) / 2


def test_powell_reaches_the_minimum_that_one_sweep_over_coordinates_does_not() -> None:
    target, loss = coupled()
    search = JointSearch(loss, 4000, np.zeros(4))
    search.at(np.zeros(4))
    search.powell(8)
    swept = np.zeros(4)
    for i in range(4):
        grid = np.linspace(-1.2, 0.4, 400)
        swept[i] = grid[np.argmin([loss(np.where(np.arange(4) == i, u, swept)) for u in grid])]
    assert np.abs(search.best - target).max() < 0.02
    assert np.abs(swept - target).max() > 0.1


def test_the_order_of_tensors_does_not_matter() -> None:
    target, loss = coupled()
    order = np.array([2, 0, 3, 1])
    search = JointSearch(lambda x: loss(x[np.argsort(order)]), 4000, np.zeros(4))
    search.at(np.zeros(4))
    search.powell(8)
    assert np.abs(search.best - target[order]).max() < 0.02


def test_the_best_point_visited_is_kept_within_its_bounds_and_evaluations() -> None:
    seen: list[tuple[float, np.ndarray]] = []

    def rough(x: np.ndarray) -> float:
        value = float(np.sin(40 * x).sum() + (x**2).sum()) if len(seen) != 7 else float("nan")
        seen.append((value, np.array(x)))
        return value

    search = JointSearch(rough, 37, np.array([0.1, 0.2]))
    search.at(search.best)
    search.powell(50)
    assert len(seen) == 37
    assert search.lowest == np.nanmin([value for value, _ in seen])
    assert rough(search.best) == search.lowest
    points = np.stack([point for _, point in seen]) - np.array([0.1, 0.2])
    assert (points >= np.log(0.3) - 1e-9).all()
    assert (points <= np.log(1.5) + 1e-9).all()


def test_a_start_that_is_not_finite_is_left() -> None:
    search = JointSearch(lambda x: float("nan") if (x == 0).all() else 1.0, 5, np.zeros(2))
    search.at(np.zeros(2))
    search.at(np.ones(2))
    assert search.lowest == 1.0
    assert search.best.tolist() == [1.0, 1.0]


# The whole on networks


@pytest.mark.parametrize("choice", [Choice(1), Choice(2, 2), Choice(3, 4)], ids=str)
def test_the_loss_never_rises_and_falls_at_few_bits(plain: tuple[Network, Counted], choice: Choice) -> None:
    network, loss = plain
    network.begin(network.space.uniform(choice))
    with torch.no_grad():
        before = loss()
        calibrated(network, loss, network.space.uniform(choice))
        after = loss()
    assert after < 0.95 * before


def test_each_phase_helps(plain: tuple[Network, Counted]) -> None:
    network, loss = plain
    allocation = network.space.uniform(Choice(2, 2))
    losses = []
    for method in (Lapq(iterations=0), Lapq(iterations=2, evaluations=400)):
        calibrated(network, loss, allocation, method)
        with torch.no_grad():
            losses.append(loss())
    assert losses[1] < losses[0]


def test_with_eight_bits_there_is_nothing_to_lose(plain: tuple[Network, Counted]) -> None:
    """Against steps that clip nothing, of weights and of activations, in the divergence that all of it is about."""
    network, loss = plain
    calibrated(network, loss, network.space.uniform(Choice(8, 8)))
    largest: dict[str, float] = {}

    def see(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        return lambda module, args: largest.__setitem__(name, max(largest.get(name, 0.0), float(args[0].abs().max())))

    layers = network.space.layers
    handles = [network.architecture.get_submodule(layer.module).register_forward_pre_hook(see(layer.name)) for layer in layers]
    with torch.no_grad():
        found = loss()
        for x in loss.inputs:
            call(network.architecture, x)
        for handle in handles:
            handle.remove()
        for layer in layers:
            quantizer, act = network.weight_quantizer(layer), network.act_quantizer(layer)
            rows = quantizer.rows.split(network.latent_weight(layer))
            quantizer.begin(rows, rows.abs().amax(1) / 127)
            assert act is not None
            act.begin(torch.tensor(largest[layer.name] / act.grid.hi))
        assert found <= 1.01 * loss()


@pytest.mark.parametrize("name", ["mlp", "depthwise", "transformer", "tied", "shared", "transposed", "cross_attention"])
def test_any_network_under_a_mixed_allocation(name: str) -> None:
    network, loss = attached(name)
    allocation = mixed(network)
    first = calibrated(network, loss, allocation, Lapq(iterations=1, points=3, evaluations=12))
    assert loss.calls == 12
    assert all(bool(torch.isfinite(steps).all()) and bool((steps > 0).all()) for steps in first)
    bake(network)
    second = calibrated(network, loss, allocation, Lapq(iterations=1, points=3, evaluations=12))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_channels_keep_their_proportions() -> None:
    network, loss = attached("depthwise")
    allocation = network.space.uniform(Choice(2, 4))
    network.begin(allocation)
    before = steps_of(network)
    after = calibrated(network, loss, allocation)
    ratios = [b / a for a, b in zip(before, after, strict=True)]
    for ratio in ratios:
        torch.testing.assert_close(ratio, ratio.reshape(-1)[0].expand_as(ratio))
    assert any(abs(float(ratio.reshape(-1)[0]) - 1) > 0.01 for ratio in ratios)


def test_a_float_network_costs_nothing() -> None:
    network, loss = attached()
    calibrated(network, loss, network.space.uniform(Choice(FLOAT_BITS)))
    assert loss.calls == 0


def test_what_never_fires_stays_as_calibrated() -> None:
    network, loss = without_norm(lambda model: (model[0].weight.zero_(), model[0].bias.fill_(-1)))
    steps = calibrated(network, loss, network.space.uniform(Choice(3, 4)), Lapq(iterations=0, points=3, evaluations=5))
    assert all(bool(torch.isfinite(step).all()) for step in steps)
    act: Any = network.act_quantizer(network.space.layers[1])
    network.begin(network.space.uniform(Choice(3, 4)))
    index = [id(parameter) for parameter in network.quantizer_parameters()].index(id(act.step))
    torch.testing.assert_close(steps[index], act.step.detach(), rtol=1e-6, atol=0)


def test_activations_meet_quantized_predecessors(monkeypatch: pytest.MonkeyPatch, plain: tuple[Network, Counted]) -> None:
    """What an activation's step is fitted to is what the layers before it give with the steps of the same exponent."""
    network, loss = plain
    met: list[float] = []

    def spy(rows: Tensor, steps: Tensor, grid: object, p: float) -> float:
        if rows.shape[0] == 1:
            met.append(float(rows.sum()))
        return 2.0

    monkeypatch.setattr("mpsearch.methods.lapq.lp_multiplier", spy)
    calibrated(network, loss, network.space.uniform(Choice(3, 4)), Lapq(iterations=0, points=3, evaluations=5))
    assert len(met) == 4 * len(network.space.layers), "once an exponent and once at the vertex, on the first of two batches"
    network.begin(network.space.uniform(Choice(3, 4)))
    for layer in network.space.layers:
        act, weight = network.act_quantizer(layer), network.weight_quantizer(layer)
        assert act is not None
        act.begin(2 * act.step_value().detach())
        weight.begin(network.latent_weight(layer), 2 * weight.steps(network.latent_weight(layer)).detach())
    seen: list[float] = []
    for layer in network.space.layers:
        act = network.act_quantizer(layer)
        assert act is not None
        act.register_forward_pre_hook(lambda module, args: seen.append(float(args[0].sum())))
    with torch.no_grad():
        call(network.model, loss.inputs[0])
    assert met[: len(seen)] == pytest.approx(seen, rel=1e-4)


# BatchNorm


def test_batchnorm_is_left_as_it_was() -> None:
    network, loss = attached("depthwise")
    network.begin(network.space.uniform(Choice(2, 2)))
    before = {name: network.tensor(name).clone() for name in ("bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked")}
    calibrated(network, loss, network.space.uniform(Choice(2, 2)))
    assert all(torch.equal(network.tensor(name), tensor) for name, tensor in before.items())
    norms = [module for module in network.model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert all(not norm.training and norm.momentum == 0.1 and not norm._forward_pre_hooks for norm in norms)


def test_while_searching_batchnorm_goes_by_the_images_at_hand() -> None:
    """A constant on the input of the norm, such as quantization adds, changes nothing that is searched."""
    network, loss = attached("mlp")
    moved, loss_of_moved = attached("mlp", change=lambda model: model[1].running_mean.add_(100))
    loss_of_moved.reference = loss.reference
    allocation = network.space.uniform(Choice(2, 4))
    first, second = calibrated(network, loss, allocation), calibrated(moved, loss_of_moved, allocation)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_one_image_left_over_is_no_obstacle() -> None:
    network, loss = attached("mlp")
    loss.inputs = [loss.inputs[0], loss.inputs[1][:1]]
    loss.reference = [loss.reference[0], loss.reference[1][:1]]
    calibrated(network, loss, network.space.uniform(Choice(2, 4)))
    assert not network.model.training
    assert not any(module.training for module in network.model.modules())


@pytest.mark.parametrize(("field", "value"), [("iterations", -1), ("p_low", 0.0), ("p_high", 2.0), ("points", 2), ("evaluations", 11)])
def test_wrong_settings(field: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=rf"lapq\.{field} must be") as caught:
        Lapq(**{field: value})
    assert caught.value.path == f"lapq.{field}"

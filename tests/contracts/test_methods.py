"""One contract for every registered method.

Live and baked network agree bit for bit in every quantized weight. Their outputs do so only up to the folding of BatchNorm and the
half-precision scales of the file: what is scored and delivered is the baked network, and with that one the file agrees in every bit.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any, cast

import pytest
import torch

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import Space
from mpsearch.data.tensor_split import TensorSplit
from mpsearch.methods import METHODS, Method
from mpsearch.network.baked import CodedWeight, FloatWeight, Parts, bake, evaluated, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.grid import GRID_STYLES, GridStyle
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.targets.packed.write import write_artifact
from mpsearch.tasks.task import Task
from mpsearch.training import loop
from mpsearch.training.checkpoint import Checkpoint
from mpsearch.training.evaluate import evaluate
from mpsearch.training.loop import Hooks, reestimate_batchnorm, train
from mpsearch.training.recipe import Recipe
from tests.networks import Depthwise, trained_statistics

CPU = torch.device("cpu")
TASK = Task.classification()
SPACE = Space(name="all", weights=(1, 2, 3, 4, 8, FLOAT_BITS), activations=(2, 4, 8, FLOAT_BITS))
VARIANTS: dict[str, dict[str, Any]] = {
    "mirror_descent projection=softmax": {"projection": "softmax"},
    "mirror_descent form=direct": {"form": "direct"},
    "learned_range levels=power_of_two": {"levels": "power_of_two"},
    "learned_range act_levels=power_of_two": {"act_levels": "power_of_two"},
    "learned_range parametrization=u1": {"parametrization": "u1"},
    "learned_range parametrization=u2": {"parametrization": "u2"},
    "learned_range snap=True": {"snap": True},
    "pdq layerwise=True": {"layerwise": True},
    "pdq ste=False": {"ste": False},
    "alq variant=pure": {"variant": "pure"},
    "cpq dropbits=True": {"dropbits": True},
    "learned_range learning bits": {"weight_budget": 3.0, "act_budget": 4.0},
    "bsq learning bits": {"alpha": 0.05},
    "cpq learning bits": {"bit_penalty": 1.0},
    "alq learning bits": {"target_bits": 0.8},
}
"""Settings under which a method computes otherwise, writes another format or learns bits: the whole contract holds for them too."""
CHOICES = [Choice(1), Choice(2), Choice(3, 4), Choice(8, 8), Choice(FLOAT_BITS, 2)]


def data() -> TensorSplit:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(96, 1, 8, 8, generator=generator)
    return TensorSplit(x, (x.mean((1, 2, 3)) > 0).long())


def built(name: str, grid: str = "twos") -> Method:
    return METHODS[name.split()[0]](grid=cast(GridStyle, grid), **VARIANTS.get(name, {}))


def attached(method: str, grid: str = "twos") -> Network:
    torch.manual_seed(0)
    model, x = trained_statistics(Depthwise()), data().x
    space = SPACE.resolve(trace(model, x))
    return Network(model, space, Calibration.fit(model, space, [x]), built(method, grid))


def fitted(
    network: Network, choice: Choice, epochs: int = 2, seed: int = 0, *, checkpoint: Checkpoint | None = None, killed_at: int | None = None
) -> None:
    trained(network, network.space.uniform(choice), epochs, seed, checkpoint=checkpoint, killed_at=killed_at)


def trained(
    network: Network,
    allocation: Allocation,
    epochs: int = 2,
    seed: int = 0,
    *,
    checkpoint: Checkpoint | None = None,
    killed_at: int | None = None,
) -> None:
    def stop(done: int, total: int) -> None:
        if done == killed_at:
            raise KeyboardInterrupt

    network.begin(allocation)
    hooks = Hooks.of(network.method, network)
    hooks.on_step = stop
    train(
        network.model,
        network.quantizer_parameters(),
        data(),
        TASK,
        Recipe(epochs=epochs, batch_size=32, lr=0.01, precision="float32", reestimate=96),
        device=CPU,
        seed=seed,
        hooks=hooks,
        checkpoint=checkpoint,
    )


def assert_same_weights(one: Parts, other: Parts) -> None:
    """Every weight quantized, with the same codes and scales."""
    assert list(one.layers) == list(other.layers)
    for name in one.layers:
        first, second = one.layers[name].weight, other.layers[name].weight
        assert isinstance(first, CodedWeight)
        assert isinstance(second, CodedWeight)
        assert first.format == second.format
        assert torch.equal(first.codes, second.codes)
        assert torch.equal(first.scales.values, second.scales.values)
        assert first.scales.exponent == second.scales.exponent


def mixed(network: Network) -> Allocation:
    """Another choice for every layer."""
    return Allocation({name: network.space.uniform(CHOICES[i % 4])[name] for i, name in enumerate(network.space.names)})


@pytest.fixture(params=[*METHODS.names(), *VARIANTS])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_cites_its_paper(name: str) -> None:
    method = type(built(name))
    assert "arXiv" in method.paper
    assert method.description
    assert "arXiv" in (method.__doc__ or "")


def test_the_loop_knows_none_by_name(name: str) -> None:
    words = set(re.findall(r"\w+", Path(loop.__file__).read_text(encoding="utf-8")))
    assert not words & {name.split()[0], type(built(name)).__name__}


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_trained_network_is_its_baked_network(name: str, choice: Choice) -> None:
    network = attached(name, GRID_STYLES[choice.weight.bits % 3])
    fitted(network, choice)
    parts = bake(network)
    for layer in network.space.layers:
        weight = parts.layers[layer.name].weight
        assert isinstance(weight, FloatWeight) == choice.weight.is_float
        if isinstance(weight, CodedWeight):
            planes = (weight.scales.values != 0).sum(1) if weight.format.kind == "multibit" else None
            bits = torch.full((layer.channels,), choice.weight.bits) if planes is None else planes
            assert bits.sum() <= choice.weight.bits * layer.channels
            assert all(len(row.unique()) <= 2**own for row, own in zip(weight.codes, bits.tolist(), strict=True))
    network.model.eval()
    with torch.no_grad():
        plain, live = call(evaluated(network), data().x), call(network.model, data().x)
        assert torch.equal(call(install(network.architecture, network.space.layers, parts), data().x), plain)
    if choice.activation.bits == FLOAT_BITS:  # BatchNorm folded, scales in half precision
        torch.testing.assert_close(plain, live, atol=1e-2 * float(live.abs().max()), rtol=0)


def test_evaluated_baked_and_reloaded_networks_are_one_bit_for_bit_and_so_are_weights_in_training(name: str, tmp_path: Path) -> None:
    network = attached(name)
    allocation = mixed(network)
    trained(network, allocation)
    network.model.eval()
    for layer in network.space.layers:
        quantizer, weight = network.weight_quantizer(layer), network.latent_weight(layer).detach()
        codes, steps = quantizer.export(weight)
        values = network.stored(allocation[layer.name].weight).decode(codes, steps)
        assert torch.equal(quantizer.rows.split(quantizer(weight)).detach(), values)
    parts = bake(network)
    path = tmp_path / "model.safetensors"
    write_artifact(path, Blueprint(model="", options={}, layers=network.space.layers), parts)
    with torch.no_grad():
        scored = call(evaluated(network), data().x)
        assert torch.equal(call(install(network.architecture, network.space.layers, parts), data().x), scored)
        assert torch.equal(call(read_artifact(path).install(Depthwise()), data().x), scored)


def test_a_killed_training_goes_on_to_the_same_end(name: str, tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "x.checkpoint", every=0.0)
    with pytest.raises(KeyboardInterrupt):
        trained(network := attached(name), mixed(network), checkpoint=checkpoint, killed_at=4)
    ends = []
    for saved in (checkpoint, None):
        network = attached(name)
        trained(network, mixed(network), checkpoint=saved)
        ends.append(bake(network))
    assert_same_weights(*ends)
    assert all(torch.equal(tensor, ends[1].rest[key]) for key, tensor in ends[0].rest.items())


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_gradients_are_finite_and_reach_every_layer(name: str, choice: Choice) -> None:
    network = attached(name)
    network.begin(network.space.uniform(choice))
    network.model.train()
    TASK.loss(call(network.model, data().x), data().y).backward()
    gradients = [p.grad for p in network.model.parameters() if p.grad is not None]
    assert all(bool(torch.isfinite(g).all()) for g in gradients)
    for layer in network.space.layers:
        owned = [network.latent_weight(layer), *network.weight_quantizer(layer).parameters()]
        assert any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in owned)


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_short_training_does_not_raise_the_loss(name: str, choice: Choice) -> None:
    network = attached(name)
    network.begin(network.space.uniform(choice))
    reestimate_batchnorm(network.model, data(), Recipe(reestimate=96), device=CPU, seed=0)
    before = evaluate(network.model, data(), TASK, device=CPU).loss
    fitted(network, choice, epochs=6)
    assert evaluate(network.model, data(), TASK, device=CPU).loss < before


def test_same_seed_same_codes(name: str) -> None:
    results = []
    for _ in range(2):
        network = attached(name)
        fitted(network, Choice(2, 4))
        results.append(bake(network))
    assert_same_weights(*results)


def test_state_dict_and_deepcopy_round_trips(name: str) -> None:
    network = attached(name)
    fitted(network, Choice(3, 4))
    network.model.eval()
    with torch.no_grad():
        before = call(network.model, data().x)
        assert torch.equal(call(copy.deepcopy(network.model), data().x), before)
        other = attached(name)
        other.begin(other.space.uniform(Choice(8, 2)))
        other.model.load_state_dict(network.model.state_dict())
        other.model.eval()
        assert torch.equal(call(other.model, data().x), before)


def test_beginning_again_forgets_the_training(name: str) -> None:
    network = attached(name)
    allocation = network.space.uniform(Choice(2, 4))
    network.begin(allocation)
    first = bake(network)
    fitted(network, Choice(4, 8))
    network.begin(allocation)
    second = bake(network)
    assert_same_weights(first, second)
    assert all(torch.equal(tensor, second.rest[key]) for key, tensor in first.rest.items())

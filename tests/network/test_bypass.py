from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.layer import Layer
from mpsearch.core.space import Space
from mpsearch.methods.lsq import Lsq
from mpsearch.network.bypass import bypassed, on_same_inputs, statistics_kept
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from tests.networks import NETWORKS, trained_statistics

every_network = pytest.mark.parametrize("name", NETWORKS)


W2A4 = Choice(2, 4)


def attached(name: str, choice: Choice = W2A4) -> tuple[Network, Any]:
    torch.manual_seed(0)
    model, x = trained_statistics(NETWORKS[name][0]()), NETWORKS[name][1]()
    space = Space(name="t", weights=(2, 4, 32), activations=(4, 32)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(space.uniform(choice))
    return network, x


def visits(network: Network, x: Any) -> list[tuple[Layer, Tensor, Tensor]]:
    seen: list[tuple[Layer, Tensor, Tensor]] = []
    on_same_inputs(network, x, lambda *visit: seen.append(visit))
    return seen


@every_network
def test_bypassed_is_the_float_network(name: str) -> None:
    network, x = attached(name)
    network.model.eval()
    with torch.no_grad():
        before = call(network.model, x)
        with bypassed(network.model):
            assert torch.equal(call(network.model, x), call(network.architecture.eval(), x))
        assert torch.equal(call(network.model, x), before)
        with pytest.raises(ZeroDivisionError), bypassed(network.model):
            raise ZeroDivisionError
        assert torch.equal(call(network.model, x), before)


def test_a_graph_from_before_can_still_be_differentiated() -> None:
    network, x = attached("depthwise")
    network.model.train()
    outputs = call(network.model, x)
    with bypassed(network.model), statistics_kept(network.model):
        floats = call(network.model, x)
    (outputs - floats).square().sum().backward()


def test_kept_statistics_are_kept_and_the_batch_still_normalises() -> None:
    network, x = attached("depthwise")
    model = network.model.train()
    state = copy.deepcopy(model.state_dict())
    with torch.no_grad(), statistics_kept(model):
        outputs = call(model, x)
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items() if key.startswith("bn"))
    with torch.no_grad():
        assert torch.equal(call(model, x), outputs)
    assert not torch.equal(model.get_buffer("bn1.running_mean"), state["bn1.running_mean"])


@every_network
@pytest.mark.parametrize("training", [False, True])
def test_every_quantized_layer_is_shown(name: str, training: bool) -> None:
    network, x = attached(name)
    network.model.train(training)
    state, chance = copy.deepcopy(network.model.state_dict()), torch.get_rng_state()
    modes = [module.training for module in network.model.modules()]
    hooks = [len(module._forward_hooks) for module in network.model.modules()]
    seen = visits(network, x)
    assert {layer.name for layer, _, _ in seen} == set(network.space.names)
    assert len(seen) == {"shared": 4, "tied": 3}.get(name, len(network.space.layers))
    for _, floats, quantized in seen:
        assert floats.shape == quantized.shape
        assert not torch.equal(floats, quantized)
    again = visits(network, x)
    assert all(torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) for a, b in zip(seen, again, strict=True))
    assert torch.equal(torch.get_rng_state(), chance)
    assert [module.training for module in network.model.modules()] == modes
    assert [len(module._forward_hooks) for module in network.model.modules()] == hooks
    assert all(parameter.requires_grad for parameter in network.model.parameters())
    assert all(torch.equal(value, state[key]) for key, value in network.model.state_dict().items() if isinstance(value, Tensor))


@every_network
def test_gradients_reach_the_layer_alone(name: str) -> None:
    network, x = attached(name)
    network.model.train()

    def alone(layer: Layer, floats: Tensor, quantized: Tensor) -> None:
        assert not quantized.requires_grad
        network.model.zero_grad()
        floats.square().sum().backward()
        reached = [parameter for parameter in network.model.parameters() if parameter.grad is not None]
        assert [id(parameter) for parameter in reached] == [id(network.latent_weight(layer))]

    on_same_inputs(network, x, alone)


def test_both_sides_see_the_quantized_input() -> None:
    network, x = attached("mlp")
    inputs: dict[str, Tensor] = {}
    first, second = network.space.layers[:2]
    handles = [
        network.model.get_submodule(layer.module).register_forward_hook(
            lambda module, args, output, name=layer.name: inputs.__setitem__(name, args[0])
        )
        for layer in (first, second)
    ]
    network.model.eval()
    found = {layer.name: (floats, quantized) for layer, floats, quantized in visits(network, x)}
    for handle in handles:
        handle.remove()
    for layer in (first, second):
        module: Any = network.model.get_submodule(layer.module)
        z = inputs[layer.name]
        assert len(z.unique()) <= 16
        assert torch.equal(found[layer.name][0], F.linear(z, network.latent_weight(layer), module.bias))
        assert torch.equal(found[layer.name][1], F.linear(z, module.weight, module.bias))


def test_layers_with_float_weights_are_not_shown() -> None:
    network, x = attached("mlp", Choice(32, 4))
    assert visits(network, x) == []


def test_attention_keeps_its_other_weight_quantized() -> None:
    network, x = attached("transformer")
    network.model.eval()
    found = {layer.name: floats for layer, floats, _ in visits(network, x)}
    name = "encoder.layers.0.self_attn"
    assert not torch.equal(found[f"{name}.in_proj_weight"], found[f"{name}.out_proj"])


def test_dropout_is_not_taken_for_rounding() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 3))
    x = torch.randn(5, 6)
    space = Space(name="t", weights=(2,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(space.uniform(Choice(2)))
    network.model.train()
    trained = [quantized for _, _, quantized in visits(network, x)]
    network.model.eval()
    assert all(torch.equal(a, b) for a, (_, _, b) in zip(trained, visits(network, x), strict=True))

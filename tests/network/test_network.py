from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.space import LayerMenu, Space
from mpsearch.methods.learned_step import LearnedStepWeight
from mpsearch.methods.lsq import Lsq
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from tests.networks import Depthwise, trained_statistics


@pytest.fixture
def x() -> Tensor:
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def network(x: Tensor) -> Network:
    torch.manual_seed(0)
    model = trained_statistics(Depthwise())
    space = Space(name="t", weights=(2, 4, 32), activations=(4, 32), layers={"head": LayerMenu(activations=(32,))}).resolve(trace(model, x))
    return Network(model, space, Calibration.fit(model, space, [x]), Lsq())


def scores(network: Network, x: Tensor) -> Tensor:
    with torch.no_grad():
        return call(network.model.eval(), x)


def disturbed(network: Network) -> None:
    with torch.no_grad():
        for tensor in [*network.model.parameters(), *(b for b in network.model.buffers() if b.is_floating_point() and b.dim())]:
            tensor.add_(0.05 * torch.rand_like(tensor))


def test_all_float_computes_what_the_model_does(network: Network, x: Tensor) -> None:
    network.begin(network.space.uniform(Choice(32)))
    assert torch.equal(scores(network, x), scores_of(network.architecture, x))
    assert list(network.quantized(LearnedStepWeight)) == []


def scores_of(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return call(model, x)


def test_the_float_model_is_never_changed(network: Network, x: Tensor) -> None:
    before = {key: tensor.clone() for key, tensor in network.architecture.state_dict().items()}
    network.begin(network.space.uniform(Choice(2, 4)))
    disturbed(network)
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.architecture.state_dict().items())


def test_beginning_depends_on_the_allocation_alone(network: Network, x: Tensor) -> None:
    low, high = network.space.uniform(Choice(2, 4)), network.space.uniform(Choice(4, 4))
    network.begin(low)
    first = scores(network, x)
    network.begin(high)
    assert not torch.equal(scores(network, x), first)
    disturbed(network)
    network.begin(low)
    assert torch.equal(scores(network, x), first)
    assert network.allocation == low


def test_setting_bits_leaves_weights_alone(network: Network) -> None:
    network.begin(network.space.uniform(Choice(2, 4)))
    disturbed(network)
    before = [network.latent_weight(layer).clone() for layer in network.space.layers]
    network.set_bits(network.space.uniform(Choice(4, 4)))
    assert all(torch.equal(network.latent_weight(layer), kept) for layer, kept in zip(network.space.layers, before, strict=True))
    assert {network.weight_quantizer(layer).bits for layer in network.space.layers} == {4}


def test_every_parameter_belongs_to_the_model_or_to_a_quantizer(network: Network) -> None:
    own, learned = network.network_parameters(), network.quantizer_parameters()
    assert {id(p) for p in own}.isdisjoint(id(p) for p in learned)
    assert {id(p) for p in [*own, *learned]} == {id(p) for p in network.model.parameters()}
    assert len(own) == len(list(network.architecture.parameters()))
    assert len(learned) == 4 + 3  # a step a weight, and one an input that has a choice


def test_quantizers_stand_where_the_menu_has_a_choice(network: Network) -> None:
    assert [network.act_quantizer(layer) is None for layer in network.space.layers] == [False, False, False, True]
    network.begin(network.space.uniform(Choice(4, 4)))
    assert [layer.name for layer, _ in network.quantized(LearnedStepWeight)] == list(network.space.names)


def test_tensors_go_by_their_names_in_the_float_model(network: Network) -> None:
    for name, tensor in network.architecture.state_dict().items():
        assert torch.equal(network.tensor(name), tensor)


def test_shared_weights_serve_every_allocation_until_the_network_gets_its_own(network: Network, x: Tensor) -> None:
    model, space = network.architecture, network.space
    sharing = Network(model, space, Calibration.fit(model, space, [x]), Lsq(), shares=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    held = {tensor.data_ptr() for tensor in model.parameters() if tensor.dim() > 1}
    assert held <= {parameter.data_ptr() for parameter in sharing.network_parameters()}
    for choice in (Choice(2), Choice(4)):
        for each in (network, sharing):
            each.begin(space.uniform(choice))
        assert torch.equal(scores(sharing, x), scores(network, x))
    sharing.own_weights()
    assert not held & {parameter.data_ptr() for parameter in sharing.network_parameters()}
    disturbed(sharing)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    sharing.begin(space.uniform(Choice(2)))
    network.begin(space.uniform(Choice(2)))
    assert torch.equal(scores(sharing, x), scores(network, x))

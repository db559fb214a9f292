"""Every kind of network: traced, quantized, baked, written, read back: bit for bit the same, and exactly as large as promised."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.number_format import FLOAT_BITS
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.costs.base import CostInputs
from mpsearch.costs.size import size
from mpsearch.methods import METHODS
from mpsearch.network.baked import CodedWeight, bake, evaluated, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call, lay_out
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.numbers.grid import GridStyle
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.packed.artifact import read_artifact
from mpsearch.targets.packed.write import PackedWriter
from tests.networks import NETWORKS, TiedLanguageModel, trained_statistics

SPACE = Space(name="all", weights=(1, 2, 3, 4, 5, 6, 7, 8, FLOAT_BITS), activations=(2, 4, 8, FLOAT_BITS))


def prepared(
    name: str, method: str = "lsq", grid: GridStyle = "twos"
) -> tuple[torch.nn.Module, object, ResolvedSpace, Network, PackedWriter]:
    torch.manual_seed(0)
    factory, inputs = NETWORKS[name]
    model, x = trained_statistics(factory()), inputs()
    layers = trace(model, x)
    writer = PackedWriter(Blueprint(architecture=model, inputs=x, layers=layers))
    space = SPACE.resolve(layers, file_overhead=writer.overhead_bytes)
    calibration = Calibration.fit(model, space, [x])
    return model, x, space, Network(model, space, calibration, METHODS[method](grid=grid)), writer


def random_allocation(space: ResolvedSpace, seed: int) -> Allocation:
    random = np.random.default_rng(seed)
    return Allocation({name: menu[int(random.integers(len(menu)))] for name, menu in zip(space.names, space.menus, strict=True)})


@pytest.mark.parametrize("method", METHODS.names())
@pytest.mark.parametrize("name", NETWORKS)
def test_artifact_is_the_scored_network(name: str, method: str, tmp_path: Path) -> None:
    model, x, space, network, writer = prepared(name, method, "half" if len(name) % 2 else "narrow")
    for seed in range(4):
        allocation = random_allocation(space, seed)
        network.begin(allocation)
        parts = bake(network)
        scored = install(model, space.layers, parts)
        path = tmp_path / "model.safetensors"
        written = writer.write(path, parts)
        assert written == path.stat().st_size == size(CostInputs(space=space, formats=(network.method.stores,))).total(allocation)
        artifact = read_artifact(path)
        stored = {name: Choice(network.stored(choice.weight), choice.activation) for name, choice in allocation.items()}
        assert parts.allocation == allocation
        assert artifact.allocation == Allocation(stored)
        assert {name: layer.weight_format for name, layer in parts.layers.items()} == {name: each.weight for name, each in stored.items()}
        loaded = artifact.install(NETWORKS[name][0]())
        with torch.no_grad():
            assert torch.equal(call(loaded, x), call(scored, x))


@pytest.mark.parametrize("name", NETWORKS)
def test_baked_network_computes_what_training_saw(name: str) -> None:
    """Weights only, so that no activation sits on a rounding border: baking only folds and rounds scales to half precision."""
    _, x, space, network, _ = prepared(name)
    network.begin(space.uniform(Choice(4)))
    baked = evaluated(network)
    network.model.eval()
    with torch.no_grad():
        attached, plain = call(network.model, x), call(baked, x)
    torch.testing.assert_close(plain, attached, atol=2e-2 * float(attached.abs().max()), rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
def test_float_allocation_is_the_float_network(name: str) -> None:
    model, x, space, network, _ = prepared(name)
    network.begin(space.uniform(Choice(FLOAT_BITS)))
    baked = evaluated(network)
    with torch.no_grad():
        torch.testing.assert_close(call(baked, x), call(model, x), atol=5e-3, rtol=5e-3)
        network.model.eval()
        assert torch.equal(call(network.model, x), call(model, x)) or name in ("transformer", "cross_attention")


@pytest.mark.parametrize("name", NETWORKS)
def test_weights_take_at_most_two_to_the_bits_values(name: str) -> None:
    model, _, space, network, _ = prepared(name)
    for bits in (1, 2, 3):
        network.begin(space.uniform(Choice(bits)))
        parts = bake(network)
        install(model, space.layers, parts)
        for layer in space.layers:
            weight = parts.layers[layer.name].weight
            assert isinstance(weight, CodedWeight)
            assert all(len(row.unique()) <= 2**bits for row in weight.codes)


@pytest.mark.parametrize("name", NETWORKS)
def test_tracing_leaves_the_model_as_it_was(name: str) -> None:
    factory, inputs = NETWORKS[name]
    model, x = trained_statistics(factory()).train(), inputs()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    trace(model, x)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert torch.equal(random, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_tied_tensor_is_one_layer_and_stays_tied() -> None:
    _, _x, space, network, _ = prepared("tied")
    assert [layer.name for layer in space.layers] == ["embedding", "mix"]
    assert space.layers[0].aliases == ("head.weight",)
    network.begin(space.uniform(Choice(2)))
    assert isinstance(network.model, TiedLanguageModel)
    assert torch.equal(network.model.embedding.weight, network.model.head.weight)
    baked = evaluated(network)
    assert isinstance(baked, TiedLanguageModel)
    assert baked.embedding.weight is baked.head.weight


def test_norm_is_folded_only_where_that_is_exact() -> None:
    assert [layer.norm for layer in prepared("norm_used_twice")[2].layers] == ["", ""]
    assert [layer.norm for layer in prepared("depthwise")[2].layers] == ["bn1", "bn2", "", ""]
    assert [layer.norm for layer in prepared("mlp")[2].layers] == ["1", "", ""]
    assert prepared("one_and_three_d")[2].layers[0].norm == "norm"
    assert {layer.name: layer.norm for layer in prepared("transposed")[2].layers}["up"] == "norm"


def test_multiply_accumulates_by_hand() -> None:
    macs = {layer.name: layer.macs for layer in prepared("depthwise")[2].layers}
    assert macs == {"stem": 8 * 9 * 64, "depth": 8 * 9 * 64, "grouped": 16 * 4 * 9 * 16, "head": 160}
    assert {layer.name: layer.macs for layer in prepared("shared")[2].layers}["shared"] == 2 * 4 * 4 * 9 * 64
    attention = {layer.name: layer.macs for layer in prepared("transformer")[2].layers}
    assert attention["encoder.layers.0.self_attn.in_proj_weight"] == 12 * 3 * 16 * 16
    assert attention["encoder.layers.0.self_attn.out_proj"] == 12 * 16 * 16
    assert attention["embedding"] == 0


def test_attention_layers_by_name() -> None:
    names = {layer.name: layer for layer in prepared("cross_attention")[2].layers}
    assert {"attention.q_proj_weight", "attention.k_proj_weight", "attention.v_proj_weight", "attention.out_proj", "head"} == set(names)
    assert not names["attention.out_proj"].act_quantizable
    transformer = {layer.name: layer for layer in prepared("transformer")[2].layers}
    assert transformer["encoder.layers.0.self_attn.in_proj_weight"].act_quantizable
    assert not transformer["embedding"].act_quantizable


def test_activation_quantization_reaches_attention() -> None:
    _, x, space, network, _ = prepared("transformer")
    fine = Allocation({layer.name: Choice(FLOAT_BITS) for layer in space.layers})
    name = "encoder.layers.0.self_attn.in_proj_weight"
    network.begin(fine)
    network.model.eval()
    with torch.no_grad():
        before = call(network.model, x)
        network.begin(Allocation({**fine, name: Choice(FLOAT_BITS, 2)}))
        assert not torch.equal(call(network.model, x), before)


@given(seed=st.integers(0, 10**6))
@settings(max_examples=20, deadline=None)
def test_size_cost_is_the_file_size(seed: int) -> None:
    import tempfile

    _, _, space, network, writer = prepared("depthwise")
    allocation = random_allocation(space, seed)
    network.begin(allocation)
    with tempfile.TemporaryDirectory() as folder:
        assert writer.write(Path(folder) / "a.safetensors", bake(network)) == size(CostInputs(space=space)).total(allocation)


def test_nothing_to_quantize_is_said() -> None:
    with pytest.raises(ModelError, match="nothing to quantize"):
        trace(torch.nn.ReLU(), torch.randn(2, 3))


def test_failing_forward_is_said() -> None:
    with pytest.raises(ModelError, match="forward pass failed on a batch"):
        trace(torch.nn.Linear(3, 2), torch.randn(2, 5))


@pytest.mark.parametrize("name", NETWORKS)
@torch.no_grad()
def test_layouts_change_under_every_kind_of_network(name: str) -> None:
    make, inputs = NETWORKS[name]
    model, x = trained_statistics(make()), inputs()
    parameters = list(model.parameters())
    before = call(model, x)
    for layout in (torch.channels_last, torch.contiguous_format):
        assert lay_out(model, layout) is model
        assert all(p.is_contiguous(memory_format=layout) for p in model.parameters() if p.dim() == 4)
        torch.testing.assert_close(call(model, x), before)
    assert all(now is old for now, old in zip(model.parameters(), parameters, strict=True))

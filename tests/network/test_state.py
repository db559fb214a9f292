"""A module under several names is one module: in the state, in the file, and in the network that is loaded."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.choice import Choice
from mpsearch.core.space import Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import bake, evaluated, rest_of_state
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.state import distinct_state, sharing_copy
from mpsearch.network.trace import trace
from mpsearch.targets import TARGETS, Blueprint
from mpsearch.testing.networks import trained_statistics


class Repeated(nn.Module):
    """A block three times, as small language models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Sequential(nn.Linear(16, 16), nn.ReLU())] * 3)
        self.out = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        logits: Tensor = self.out(x)
        return logits


class Renamed(nn.Module):
    """Modules with a second name, by which they are called; a BatchNorm that is folded; a buffer and a parameter that two share."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(4)
        self.same_conv, self.same_norm = self.conv, self.norm
        self.scale = nn.Parameter(torch.ones(1))
        self.same_scale = self.scale
        self.out = nn.Linear(64, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.same_norm(self.same_conv(x.reshape(-1, 1, 4, 4)))).flatten(1)
        logits: Tensor = self.out(x) * self.same_scale
        return logits


@pytest.mark.parametrize("architecture", [Repeated, Renamed])
def test_what_is_shared_is_quantized_stored_and_loaded_once(architecture: type[nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = trained_statistics(architecture()), torch.randn(32, 16)
    space = Space(name="w", weights=(3,), activations=(32,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS["lsq"]())
    network.begin(space.uniform(Choice(3)))
    scored, parts, target = evaluated(network), bake(network), TARGETS["packed"]()
    path = tmp_path / target.file
    target.writer(Blueprint(architecture=model, inputs=x, layers=space.layers)).write(path, parts)
    loaded = target.read(path).install(copy.deepcopy(model))
    weights = 3 * sum(layer.weights for layer in space.layers) / 8
    assert path.stat().st_size < weights + 1500, "no weight is stored again as float32"
    with torch.no_grad():
        assert torch.equal(loaded(x), scored(x))
        assert not torch.equal(scored(x), model(x))
    for layer in space.layers:
        rows = loaded.get_submodule(layer.module).get_parameter(layer.parameter).flatten(1)
        assert all(len(row.unique()) <= 8 for row in rows), layer.name


def test_every_tensor_has_one_name() -> None:
    model = Renamed()
    names = list(distinct_state(model))
    assert names == [
        "scale", "conv.weight", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var", "norm.num_batches_tracked",
        "out.weight", "out.bias",
    ]  # fmt: skip
    assert rest_of_state(model, trace(model.eval(), torch.randn(8, 16))) == ["scale"]


def test_a_sharing_copy_has_memory_of_its_own_for_what_is_named_and_for_buffers() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model.tied = model[0]
    copied = sharing_copy(model, ["0.bias"])
    assert isinstance(copied, nn.Sequential)
    shared = {name for name, tensor in copied.state_dict().items() if tensor.data_ptr() == model.state_dict()[name].data_ptr()}
    assert shared == {"0.weight", "tied.weight", "1.weight", "1.bias"}
    assert copied.tied is copied[0]
    assert copied[0].weight is not model[0].weight
    copied.requires_grad_(False)
    copied[0].weight = nn.Parameter(torch.zeros(4, 4))
    assert model[0].weight.requires_grad
    assert model[0].weight.abs().sum() > 0

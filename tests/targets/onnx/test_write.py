"""Every kind of network in every format: as large as promised, read back as written, and computed by ONNX Runtime."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT, FLOAT_BITS
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.methods.base import Method
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call, samples_of
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint, Writer
from mpsearch.targets.onnx.target import Onnx
from mpsearch.targets.onnx.write import OnnxWriter
from mpsearch.tasks.outputs import most_samples_differ_by
from tests.networks import NETWORKS, trained_statistics

SPACE = Space(name="all", weights=(1, 2, 3, 4, 5, 6, 7, 8, FLOAT_BITS), activations=(2, 4, 8, FLOAT_BITS))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.second, self.third = nn.Conv2d(16, 16, 3, padding=1, groups=4), nn.Conv2d(16, 16, 1)
        self.wide, self.head = nn.Linear(256, 32), nn.Linear(32, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(x + self.third(torch.relu(self.second(x))))
        y: Tensor = self.head(torch.relu(self.wide(nn.functional.max_pool2d(x, 2).flatten(1))))
        return y


@cache
def prepared(name: str) -> tuple[nn.Module, Any, ResolvedSpace, Writer]:
    torch.manual_seed(0)
    factory, inputs = NETWORKS[name]
    model, x = trained_statistics(factory()), inputs()
    space = SPACE.resolve(trace(model, x))
    return model, x, space, OnnxWriter(Blueprint.of(model, x, space))


def baked(name: str, method: Method, seed: int) -> tuple[nn.Module, Any, ResolvedSpace, Writer, Parts]:
    model, x, space, writer = prepared(name)
    random = np.random.default_rng(seed)
    network = Network(model, space, Calibration.fit(model, space, [x]), method)
    network.begin(Allocation({layer: menu[int(random.integers(len(menu)))] for layer, menu in zip(space.names, space.menus, strict=True)}))
    return model, x, space, writer, bake(network)


def promised(writer: Writer, space: ResolvedSpace, parts: Parts) -> int:
    own = 0
    for layer in space.layers:
        held = parts.layers[layer.name]
        own += writer.layer_bytes(layer, held.weight_format, FLOAT if held.input is None else held.input.format)
    return writer.overhead_bytes + own


@pytest.mark.parametrize("name", NETWORKS)
def test_the_runtime_computes_the_scored_network(name: str, tmp_path: Path) -> None:
    for seed, method in enumerate((METHODS["lsq"](grid="half"), METHODS["lsq"](grid="narrow"), METHODS["alq"]())):
        model, x, space, writer, parts = baked(name, method, seed)
        path = tmp_path / "model.onnx"
        size = writer.write(path, parts)
        assert size == path.stat().st_size == promised(writer, space, parts)
        onnx.checker.check_model(str(path), full_check=True)
        artifact = Onnx().read(path)
        expected = call(install(model, space.layers, parts), x)
        torch.testing.assert_close(call(artifact.install(NETWORKS[name][0]()), x), expected, rtol=0, atol=0)
        runtime = artifact.executed()
        for samples in (1, 7):
            few = samples_of(x, slice(0, samples), 8)
            assert most_samples_differ_by(call(runtime, few), call(install(model, space.layers, parts), few)) < 1e-5


@pytest.mark.parametrize("choice", ["w1a4", "w2a8", "w4a4", "wta3", "w4za8", "w8a8"])
def test_integers_give_the_same_logits_bit_for_bit_in_any_order_of_addition(choice: str, tmp_path: Path) -> None:
    """Convolutions, a residual, max-pooling, linear layers: in ONNX Runtime, one sample at a time and all at once."""
    torch.manual_seed(0)
    model, x = trained_statistics(Residual()), torch.randn(64, 3, 8, 8)
    wanted = Choice.parse(choice)
    space = Space(name="one", weights=(wanted.weight,), activations=(wanted.activation,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS["lsq"](grid="narrow"))
    network.begin(Allocation({name: menu[0] for name, menu in zip(space.names, space.menus, strict=True)}))
    parts, path = bake(network), tmp_path / "model.onnx"
    writer = OnnxWriter(Blueprint.of(model, x, space))
    assert writer.write(path, parts) == promised(writer, space, parts)
    with torch.no_grad():
        expected = install(model, space.layers, parts)(x)
    runtime = Onnx().read(path).executed()
    assert torch.equal(runtime(x), expected)
    assert torch.equal(torch.cat([runtime(one) for one in x.split(1)]), expected)


def test_names_of_inputs_and_outputs_are_those_of_the_network(tmp_path: Path) -> None:
    _, _, _, writer, parts = baked("cross_attention", METHODS["lsq"](), 0)
    writer.write(tmp_path / "model.onnx", parts)
    graph = onnx.load(str(tmp_path / "model.onnx")).graph
    assert {value.name for value in graph.input} == {"query", "key", "value"}
    assert {value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.input, *graph.output)} == {"batch"}


@pytest.mark.parametrize("opset", [18, 19])
def test_an_older_opset_for_older_runtimes(opset: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = trained_statistics(Residual()), torch.randn(6, 3, 8, 8)
    space = SPACE.resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS["lsq"]())
    network.begin(space.uniform(Choice(4, 4)))
    parts, target = bake(network), Onnx(opset=opset)
    writer, path = target.writer(Blueprint.of(model, x, space)), tmp_path / "model.onnx"
    writer.write(path, parts)
    file = onnx.load(path)
    onnx.checker.check_model(file, full_check=True)
    assert {each.version for each in file.opset_import} == {opset}
    target.verify(path, parts, model, space.layers, x, promised(writer, space, parts))


def test_an_opset_that_no_exporter_writes_is_refused() -> None:
    for opset in (17, 21):
        with pytest.raises(ConfigError, match=f"opset: {opset} is not supported; 18 is the oldest"):
            Onnx(opset=opset)

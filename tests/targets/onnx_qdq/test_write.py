"""Every kind of network as a file of integers: of the promised bytes, valid, read back as written, and computed alike without fusion."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx.defs import onnx_opset_version
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError, ConfigError
from mpsearch.core.number_format import FLOAT, FLOAT_BITS, NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.methods.base import Method
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.inputs import call, samples_of
from mpsearch.network.network import Network
from mpsearch.network.trace import survey, trace
from mpsearch.targets import Blueprint, Writer, read_artifact
from mpsearch.targets.onnx import layout as names
from mpsearch.targets.onnx.graph import fill
from mpsearch.targets.onnx.runtime import RuntimeModel
from mpsearch.targets.onnx_qdq.artifact import QdqArtifact
from mpsearch.targets.onnx_qdq.target import OnnxQdq
from mpsearch.tasks.outputs import most_samples_differ_by
from tests.networks import NETWORKS, trained_statistics

TARGET = OnnxQdq()
ALL = Space(name="all", weights=(1, 2, 3, 4, 5, 6, 7, 8, FLOAT_BITS), activations=(2, 4, 8, FLOAT_BITS))


def written(
    name: str, path: Path, method: Method, space: Space = ALL, seed: int = 0, target: OnnxQdq = TARGET
) -> tuple[nn.Module, Any, ResolvedSpace, Writer, Parts]:
    torch.manual_seed(0)
    factory, inputs = NETWORKS[name]
    model, x = trained_statistics(factory()), inputs()
    resolved = space.resolve(trace(model, x))
    writer, random = target.writer(Blueprint.of(model, x, resolved)), np.random.default_rng(seed)
    network = Network(model, resolved, Calibration.fit(model, resolved, [x]), method)
    menus = zip(resolved.names, resolved.menus, strict=True)
    network.begin(Allocation({layer: menu[int(random.integers(len(menu)))] for layer, menu in menus}))
    parts = bake(network)
    writer.write(path, parts)
    return model, x, resolved, writer, parts


def promised(writer: Writer, space: ResolvedSpace, parts: Parts) -> int:
    own = 0
    for layer in space.layers:
        held = parts.layers[layer.name]
        own += writer.layer_bytes(layer, held.weight_format, FLOAT if held.input is None else held.input.format)
    return writer.overhead_bytes + own


class Residual(nn.Module):
    """Convolutions whose outputs are added, behind a norm and as they are; a ReLU6; a plain tail."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.first, self.second, self.short = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.tail = nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.stem(x)))
        y = nn.functional.relu6(self.first(x))
        y = self.second(y)
        y += self.short(x)
        return self.tail(torch.relu(y)).mean((2, 3))


def residual(path: Path, weights: int, activations: int) -> tuple[nn.Module, Tensor, ResolvedSpace, Parts]:
    torch.manual_seed(0)
    model, x = trained_statistics(Residual()), torch.randn(16, 3, 8, 8)
    space = Space(name="r", weights=(weights,), activations=(activations,)).resolve(survey(model, x).on_edges())
    assert {layer.name for layer in space.layers if layer.rounds_output} == {"second", "short"}
    assert {layer.name: layer.reads_with for layer in space.layers if layer.reads_with} == {"short": "first"}
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS["lsq"]())
    network.begin(Allocation({name: menu[0] for name, menu in zip(space.names, space.menus, strict=True)}))
    parts, writer = bake(network), TARGET.writer(Blueprint.of(model, x, space))
    assert writer.write(path, parts) == promised(writer, space, parts)
    return model, x, space, parts


@pytest.mark.parametrize("weights", [2, 4, 8])
def test_outputs_that_are_added_are_rounded_so_that_all_convolutions_are_integers(weights: int, tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    model, x, space, parts = residual(path, weights, 8)
    assert {name for name, each in parts.layers.items() if each.output is not None} == {"second", "short"}
    scored, artifact = install(model, space.layers, parts), TARGET.read(path)
    assert torch.equal(artifact.install(model)(x), scored(x))
    assert not torch.equal(install(model, space.layers, parts.for_floats(space.layers))(x), scored(x))
    assert most_samples_differ_by(without_fusion(artifact)(x), scored(x)) < 1e-5
    assert most_samples_differ_by(artifact.executed()(x), scored(x)) < 1e-5
    # Only the tail's output, an average of floats, is not rounded.
    assert kernels(path, tmp_path).count("QLinearConv") == 4


def test_no_weight_is_unpacked_at_every_call_where_there_is_no_kernel(tmp_path: Path) -> None:
    for weights, activations in ((4, FLOAT_BITS), (8, FLOAT_BITS), (4, 4), (8, 4)):
        path = tmp_path / TARGET.file
        model, x, space, parts = residual(path, weights, activations)
        assert not {"QLinearConv", "DequantizeLinear"} & set(kernels(path, tmp_path))
        assert most_samples_differ_by(TARGET.read(path).executed()(x), install(model, space.layers, parts)(x)) < 1e-5


def test_a_tensor_that_is_rounded_in_two_ways_is_computed_in_float(tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    model, x, space, parts = residual(path, 8, 8)
    assert parts.layers["first"].input is not None
    assert parts.layers["short"].input is not None
    assert torch.equal(parts.layers["first"].input.step, parts.layers["short"].input.step)
    other = replace(parts.layers["short"], input=replace(parts.layers["short"].input, step=torch.tensor(0.05)))
    parts = replace(parts, layers={**parts.layers, "short": other})
    TARGET.writer(Blueprint.of(model, x, space)).write(path, parts)
    held = {each.name for each in optimized(path, tmp_path).graph.initializer if len(each.dims) > 1}
    nodes = optimized(path, tmp_path).graph.node
    assert [node.op_type for node in nodes].count("QLinearConv") == 3
    assert not [node for node in nodes if node.op_type == "DequantizeLinear" and node.input[0] in held]
    assert most_samples_differ_by(without_fusion(TARGET.read(path))(x), install(model, space.layers, parts)(x)) < 1e-5


def optimized(path: Path, folder: Path) -> onnx.ModelProto:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    onnxruntime.InferenceSession(str(path), options)
    return onnx.load(options.optimized_model_filepath)


def kernels(path: Path, folder: Path) -> list[str]:
    return [node.op_type for node in optimized(path, folder).graph.node]


@pytest.mark.parametrize(("bits", "vnni", "precise"), [(7, False, "0"), (8, False, "1"), (8, True, "0")])
def test_slower_kernels_are_asked_for_only_where_the_others_could_saturate(bits: int, vnni: bool, precise: str, tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    chosen = Space(name="s", weights=(bits,), activations=(8,))
    written("mlp", path, METHODS["lsq"](), chosen, target=OnnxQdq(vnni=vnni))
    assert TARGET.read(path).settings()["session.x64quantprecision"] == precise


@pytest.mark.parametrize("slack", [0, 1, 100, 126, 127, 128, 129, 130, 131, 5000])
def test_a_file_is_filled_up_to_any_size(slack: int) -> None:
    model = onnx.ModelProto(graph=onnx.GraphProto(name="g"))
    model.metadata_props.add(key="pad", value="")
    size = model.ByteSize() + slack
    fill(model, size)
    assert model.ByteSize() == size


def without_fusion(artifact: QdqArtifact) -> RuntimeModel:
    return RuntimeModel(artifact.file.content, artifact.file.inputs, artifact.file.outputs, {"session.disable_quant_qdq": "1"})


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_held(name: str, tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    model, x, space, writer, parts = written(name, path, METHODS["lsq"]())
    assert path.stat().st_size == promised(writer, space, parts)
    onnx.checker.check_model(str(path), full_check=True)
    artifact = TARGET.read(path)
    scored = install(model, space.layers, parts)
    torch.testing.assert_close(call(artifact.install(NETWORKS[name][0]()), x), call(scored, x), rtol=0, atol=0)
    exact, default = without_fusion(artifact), artifact.executed()
    for samples in (1, 7):
        few = samples_of(x, slice(0, samples), 8)
        assert most_samples_differ_by(call(exact, few), call(scored, few)) < 1e-5
        assert most_samples_differ_by(call(default, few), call(scored, few)) < 0.05


@pytest.mark.parametrize(("name", "activations"), [("depthwise", (2, 8)), ("transformer", (8,)), ("bare", (FLOAT_BITS,))])
def test_two_bits_are_int2_on_request(name: str, activations: tuple[int, ...], tmp_path: Path) -> None:
    path, target = tmp_path / TARGET.file, OnnxQdq(int2=True)
    chosen = Space(name="two", weights=(1, 2, 4), activations=activations)
    model, x, space, writer, parts = written(name, path, METHODS["lsq"](), chosen, target=target)
    assert path.stat().st_size == promised(writer, space, parts)
    onnx.checker.check_model(str(path), full_check=True)
    held = onnx.load(str(path))
    assert (held.opset_import[0].version, held.ir_version) == (25, 13)
    assert onnx.TensorProto.INT2 in types(path).values()
    artifact, scored = target.read(path), install(model, space.layers, parts)
    torch.testing.assert_close(call(artifact.install(NETWORKS[name][0]()), x), call(scored, x), rtol=0, atol=0)
    exact, running = without_fusion(artifact), artifact.executed()
    for samples in (1, 7):
        few = samples_of(x, slice(0, samples), 8)
        assert most_samples_differ_by(call(exact, few), call(scored, few)) < 1e-5
        assert most_samples_differ_by(call(running, few), call(scored, few)) < 0.05


def test_settings_that_no_runtime_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="runtime: 'tensorrt' is none of onnxruntime, openvino"):
        OnnxQdq(runtime="tensorrt")
    with pytest.raises(ConfigError, match="int2: OpenVINO loads no INT2 weights; take runtime onnxruntime, or leave out int2"):
        OnnxQdq(runtime="openvino", int2=True)


def types(path: Path) -> dict[str, int]:
    return {tensor.name: tensor.data_type for tensor in onnx.load(str(path)).graph.initializer}


@pytest.mark.parametrize(
    ("bits", "type", "per_byte"), [(2, onnx.TensorProto.INT4, 2), (4, onnx.TensorProto.INT4, 2), (5, onnx.TensorProto.INT8, 1)]
)
def test_three_bits_cost_what_four_cost(bits: int, type: int, per_byte: int, tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    _, _, space, writer, _ = written("mlp", path, METHODS["lsq"](), Space(name="one", weights=(bits,)))
    codes = {name: kind for name, kind in types(path).items() if name.endswith("q")}
    assert set(codes.values()) == {type}
    first = space.layers[0]
    float_bytes = writer.layer_bytes(first, FLOAT, FLOAT)
    assert writer.layer_bytes(first, NumberFormat("uniform", bits), FLOAT) < float_bytes
    same = [each for each in (2, 3, 4, 5, 6, 7, 8) if (each <= 4) == (bits <= 4)]
    assert len({writer.layer_bytes(first, NumberFormat("uniform", each), FLOAT) for each in same}) == 1
    held = next(tensor for tensor in onnx.load(str(path)).graph.initializer if tensor.name.endswith("q"))
    assert len(held.raw_data) == -(-first.weights // per_byte)


def test_groups_of_a_linear_layer_are_blocks_without_a_reshape(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(64, 8)).eval(), torch.randn(5, 64)
    space = Space(name="g", weights=(NumberFormat.parse("4g32z"),)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS["lsq"]())
    network.begin(Allocation({"0": space.menus[0][0]}))
    parts, path = bake(network), tmp_path / TARGET.file
    TARGET.writer(Blueprint.of(model, x, space)).write(path, parts)
    graph = onnx.load(str(path)).graph
    dequantize = next(node for node in graph.node if node.op_type == "DequantizeLinear")
    assert {each.name: each.i for each in dequantize.attribute} == {"axis": 1, "block_size": 32}
    assert not [node for node in graph.node if node.op_type == "Reshape"]
    expected = install(model, space.layers, parts)(x)
    assert torch.equal(TARGET.read(path).install(model)(x), expected)
    assert most_samples_differ_by(without_fusion(TARGET.read(path))(x), expected) < 1e-5


def test_a_float_layer_stays_float_and_takes_no_quantizer(tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    written("mlp", path, METHODS["lsq"](), Space(name="f", weights=(FLOAT_BITS,)))
    kinds = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert not kinds & {"QuantizeLinear", "DequantizeLinear", "Clip"}


def test_below_eight_bits_an_input_of_openvino_is_clipped_first(tmp_path: Path) -> None:
    for bits, clipped in ((4, True), (8, False)):
        path, target = tmp_path / TARGET.file, OnnxQdq(runtime="openvino")
        written("depthwise", path, METHODS["lsq"](), Space(name="a", weights=(4,), activations=(bits,)), target=target)
        nodes = onnx.load(str(path)).graph.node
        producers = {node.output[0]: node.op_type for node in nodes}
        before = {producers.get(node.input[0]) == "Clip" for node in nodes if node.op_type == "QuantizeLinear"}
        assert before == {clipped}


def test_the_file_says_in_which_session_it_was_scored(tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    written("mlp", path, METHODS["lsq"]())
    model = onnx.load(str(path))
    metadata = {each.key: each.value for each in model.metadata_props}
    assert (
        json.loads(metadata["session"])
        == TARGET.read(path).settings()
        == {"session.disable_quant_qdq": "0", "session.x64quantprecision": "1"}
    )
    assert model.opset_import[0].version == 21 <= onnx_opset_version()


def test_a_file_that_asks_for_another_session_is_refused(tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    written("mlp", path, METHODS["lsq"]())
    model = onnx.load(str(path))
    metadata = {each.key: each.value for each in model.metadata_props} | {"session": '{"ep.context_file_path":"/etc/passwd"}'}
    metadata["digest"] = names.file_digest(metadata, model.graph)
    del model.metadata_props[:]
    for key, value in metadata.items():
        model.metadata_props.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ArtifactError, match=r"asks for a session with ep\.context_file_path"):
        read_artifact(path)


def test_a_renamed_file_is_still_recognised(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    written("mlp", path, METHODS["lsq"]())
    assert isinstance(read_artifact(path), QdqArtifact)


@pytest.mark.parametrize(
    ("weight", "activation", "reason"),
    [
        ("m2", "f", "no integers of 4 or 8 bits times a scale"),
        ("p4", "8", "'p4' are no integers"),
        ("h8", "f", "'h8' are no integers"),
        ("4", "p4", "does not round activations to powers of two"),
        ("4", "8", ""),
        ("f", "8", ""),
    ],
)
def test_what_cannot_be_held_is_named(weight: str, activation: str, reason: str) -> None:
    layer = trace(nn.Sequential(nn.Linear(6, 4)), torch.randn(5, 6))[0]
    said = TARGET.refuses(layer, NumberFormat.parse(weight), NumberFormat.parse(activation))
    assert (reason in said) if reason else said == ""

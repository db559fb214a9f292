"""A file may be scored in OpenVINO: it says so, is run so, and is the same network; without OpenVINO one line says what to install."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.errors import ArtifactError, ConfigError, DataError, ModelError
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.methods import METHODS
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint, Writer
from mpsearch.targets.onnx_qdq.openvino import OpenVinoModel
from mpsearch.targets.onnx_qdq.target import OnnxQdq
from mpsearch.tasks.outputs import most_samples_differ_by
from tests.networks import NETWORKS, trained_statistics

TARGET = OnnxQdq(runtime="openvino")


def pretend_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else found(name))


def prepared() -> tuple[nn.Module, Any, ResolvedSpace, Blueprint]:
    torch.manual_seed(0)
    factory, inputs = NETWORKS["depthwise"]
    model, x = trained_statistics(factory()), inputs()
    space = Space(name="few", weights=(4, 8), activations=(8,)).resolve(trace(model, x))
    return model, x, space, Blueprint.of(model, x, space)


def test_without_openvino_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    *_, blueprint = prepared()
    pretend_missing(monkeypatch)
    with pytest.raises(ConfigError, match=r"target 'onnx-qdq' with runtime openvino needs openvino; pip install 'mpsearch\[openvino\]'"):
        TARGET.writer(blueprint)
    with pytest.raises(ConfigError, match=r"a file scored in OpenVINO needs openvino; pip install 'mpsearch\[openvino\]'"):
        OpenVinoModel(b"", (), "y", {})


def written(path: Path) -> tuple[nn.Module, Any, ResolvedSpace, Writer, Parts]:
    pytest.importorskip("openvino")
    model, x, space, blueprint = prepared()
    network = Network(model, space, Calibration.fit(model, space, [x]), METHODS["lsq"]())
    network.begin(Allocation({name: menu[0] for name, menu in zip(space.names, space.menus, strict=True)}))
    writer, parts = TARGET.writer(blueprint), bake(network)
    writer.write(path, parts)
    return model, x, space, writer, parts


def test_the_file_names_its_runtime_and_is_run_there(tmp_path: Path) -> None:
    path = tmp_path / TARGET.file
    model, x, space, writer, parts = written(path)
    metadata = {each.key: each.value for each in onnx.load(str(path)).metadata_props}
    assert metadata["runtime"] == "openvino"
    assert json.loads(metadata["session"]) == {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"}
    size = writer.overhead_bytes + sum(
        writer.layer_bytes(layer, parts.layers[layer.name].weight_format, parts.layers[layer.name].choice.activation)
        for layer in space.layers
    )
    assert TARGET.verify(path, parts, model, space.layers, x, size) < 0.05
    running = TARGET.read(path).executed()
    assert isinstance(running, OpenVinoModel)
    expected = install(model, space.layers, parts)
    for samples in (1, 7):
        assert most_samples_differ_by(running(x[:samples]), expected(x[:samples])) < 0.05
    with pytest.raises(DataError, match="OpenVINO cannot run these inputs"):
        running(torch.zeros(2, 3))


def test_a_matrix_that_is_read_both_ways_is_refused_before_it_breaks_off() -> None:
    pytest.importorskip("openvino")
    factory, inputs = NETWORKS["bare"]
    model, x = factory(), inputs()
    blueprint = Blueprint.of(model, x, Space(name="few", weights=(4,)).resolve(trace(model, x)))
    with pytest.raises(ModelError, match=r"layer 'again' is multiplied both as it is and transposed, .*; take"):
        TARGET.writer(blueprint)


def test_what_it_cannot_load_is_said() -> None:
    pytest.importorskip("openvino")
    with pytest.raises(ArtifactError, match=r"OpenVINO refuses the file .*; export it again, for another runtime"):
        OpenVinoModel(b"no file", ("x",), "y", {})

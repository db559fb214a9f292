"""AIMET's encodings: what they say of weights and inputs, computed as they define it, is the scored network."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from torch import nn

from mpsearch.core.choice import Choice
from mpsearch.core.errors import ModelError
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import Space
from mpsearch.handovers import HANDOVERS
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import CodedWeight, Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets.blueprint import Blueprint
from tests.networks import NETWORKS, trained_statistics


class Encoded(OpRun):
    """Quantized and dequantized as an encoding says."""

    op_domain = "test"

    def _run(self, x: Any, scale: Any, offset: Any, bw: int = 0) -> Any:
        return (((np.clip(np.round(x / scale) - offset, 0, 2**bw - 1) + offset) * scale).astype(np.float32),)


class Residual(nn.Module):
    """One tensor enters two layers and an addition."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.left, self.right = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.head(torch.relu(self.left(x) + self.right(x) + x).mean((2, 3)))


def prepared(model: nn.Module, x: torch.Tensor, weight: str, activation: str) -> tuple[Blueprint, Parts]:
    torch.manual_seed(0)
    choice = Choice(NumberFormat.parse(weight), NumberFormat.parse(activation))
    space = Space(name="one", weights=(choice.weight,), activations=(choice.activation,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(space.uniform(choice))
    return Blueprint.of(model, x, space), bake(network)


def encoded(model: onnx.ModelProto, encodings: dict[str, Any]) -> onnx.ModelProto:
    """The graph with what the encodings ask for: weights quantized anew, and nodes for inputs."""
    held = {each.name: each for each in model.graph.initializer}
    for each in encodings["param_encodings"]:
        values = numpy_helper.to_array(held[each["name"]])
        shape = (-1, *[1] * (values.ndim - 1))
        scale, offset = (np.array(each[key], dtype=np.float64).reshape(shape) for key in ("scale", "offset"))
        codes = np.clip(np.round(values / scale) - offset, 0, 2 ** each["bw"] - 1)
        held[each["name"]].CopyFrom(numpy_helper.from_array(((codes + offset) * scale).astype(np.float32), each["name"]))
    about = {each["name"]: each for each in encodings["activation_encodings"]}
    for node in model.graph.node:
        if node.output[0] in about:
            assert node.op_type == "Identity"
            each = about[node.output[0]]
            node.op_type, node.domain = "Encoded", "test"
            for key in ("scale", "offset"):
                name = f"{node.output[0]}.{key}"
                model.graph.initializer.append(numpy_helper.from_array(np.array(each[key][0], dtype=np.float32), name))
                node.input.append(name)
            node.attribute.append(onnx.helper.make_attribute("bw", each["bw"]))
    model.opset_import.append(onnx.helper.make_opsetid("test", 1))
    return model


@pytest.mark.parametrize(("weight", "activation"), [("4", "8"), ("3z", "4"), ("t", "float")])
def test_what_the_encodings_say_is_the_scored_network(weight: str, activation: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, x = trained_statistics(Residual()), torch.randn(12, 3, 6, 6)
    blueprint, parts = prepared(network, x, weight, activation)
    coded = parts.layers["first"].weight
    assert isinstance(coded, CodedWeight)
    assert (coded.scales.values < 0).any()
    out = tmp_path / "net.onnx"
    contents = HANDOVERS["encodings"]().contents(out, blueprint, parts)
    assert set(contents) == {out, tmp_path / "net.encodings"}
    encodings = json.loads(contents[tmp_path / "net.encodings"])
    assert encodings["version"] == "1.0.0"
    assert len(encodings["param_encodings"]) == 4
    assert len(encodings["activation_encodings"]) == (4 if activation != "float" else 0)
    model = encoded(onnx.load_from_string(contents[out]), encodings)
    found = ReferenceEvaluator(model, new_ops=[Encoded]).run(None, {model.graph.input[0].name: x[:3].numpy()})
    with torch.no_grad():
        expected = install(blueprint.architecture, blueprint.layers, parts)(x[:3])
    np.testing.assert_allclose(np.asarray(next(iter(found))), expected.numpy(), atol=1e-5 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize(("weight", "activation"), [("4", "8"), ("t", "float")])
def test_aimet_itself_computes_the_scored_network(weight: str, activation: str, tmp_path: Path) -> None:
    pytest.importorskip("aimet_onnx")
    torch.manual_seed(0)
    network, x = trained_statistics(Residual()), torch.randn(12, 3, 6, 6)
    blueprint, parts = prepared(network, x, weight, activation)
    out = tmp_path / "net.onnx"
    for path, content in HANDOVERS["encodings"]().contents(out, blueprint, parts).items():
        path.write_bytes(content)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of AIMET about itself
        from aimet_onnx.quantsim import QuantizationSimModel, load_encodings_to_sim

        simulated = QuantizationSimModel(onnx.load(str(out)), config_file="default")
        load_encodings_to_sim(simulated, str(tmp_path / "net.encodings"), strict=False)
        encodings = json.loads((tmp_path / "net.encodings").read_text())
        named = {each["name"] for each in (*encodings["param_encodings"], *encodings["activation_encodings"])}
        assert named <= simulated.qc_quantize_op_dict.keys()
        assert {name for name, each in simulated.qc_quantize_op_dict.items() if each.enabled} == named
        found = simulated.session.run(None, {simulated.session.get_inputs()[0].name: x[:3].numpy()})[0]
        expected = install(blueprint.architecture, blueprint.layers, parts)(x[:3])
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize(("weight", "why"), [("h3", "half_step weights"), ("m2", "multibit weights"), ("4g32", "none for a group")])
def test_what_encodings_cannot_say_is_refused(weight: str, why: str) -> None:
    layer = trace(Residual().eval(), torch.randn(2, 3, 6, 6))[0]
    handover = HANDOVERS["encodings"]()
    assert why in handover.refuses(layer, NumberFormat.parse(weight), FLOAT)
    assert "powers of two" in handover.refuses(layer, FLOAT, NumberFormat.parse("p4"))


def test_a_weight_that_aimet_would_not_find_is_named(tmp_path: Path) -> None:
    torch.manual_seed(0)
    factory, inputs = NETWORKS["recurrent"]
    blueprint, parts = prepared(trained_statistics(factory()), inputs(), "4", "float")
    with pytest.raises(ModelError, match=r"the weight '.*' is no direct input of Conv, ConvTranspose, Gemm, MatMul"):
        HANDOVERS["encodings"]().contents(tmp_path / "net.onnx", blueprint, parts)

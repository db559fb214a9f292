"""QONNX: every format it can say, as Quant nodes define it; what it cannot is refused."""

from __future__ import annotations

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
from mpsearch.handovers.graph import check_computes
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.skeleton import skeleton_of
from tests.networks import trained_statistics

DOMAIN = "qonnx.custom_op.general"


class Quant(OpRun):
    """As the paper defines it; none of our code."""

    op_domain = DOMAIN

    def _run(self, x: Any, scale: Any, zero: Any, bits: Any, signed: int = 1, narrow: int = 0, rounding_mode: str = "ROUND") -> Any:
        assert rounding_mode == "ROUND"
        low = -(2 ** (bits - 1)) + narrow if signed else 0
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        return (((np.clip(np.round(x / scale + zero), low, high) - zero) * scale).astype(np.float32),)


class BipolarQuant(OpRun):
    op_domain = DOMAIN

    def _run(self, x: Any, scale: Any) -> Any:
        return (np.where(x >= 0, scale, -scale).astype(np.float32),)


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.up = nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.head = nn.Linear(4 * 64, 32)
        self.last = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.norm(self.first(x)))
        return self.last(torch.relu(self.head(torch.relu(self.up(x)).flatten(1))))


def prepared(weight: str, activation: str) -> tuple[Blueprint, Parts]:
    torch.manual_seed(0)
    model, x = trained_statistics(Tiny()), torch.randn(8, 2, 4, 4)
    choice = Choice(NumberFormat.parse(weight), NumberFormat.parse(activation))
    space = Space(name="one", weights=(choice.weight,), activations=(choice.activation,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(space.uniform(choice))
    return Blueprint.of(model, x, space), bake(network)


@pytest.mark.parametrize(("weight", "activation"), [("t", "8"), ("4z", "3"), ("h3", "float"), ("1", "2")])
def test_quant_nodes_compute_the_scored_network(weight: str, activation: str, tmp_path: Path) -> None:
    blueprint, parts = prepared(weight, activation)
    path = tmp_path / "net.onnx"
    ((written, content),) = HANDOVERS["qonnx"]().contents(path, blueprint, parts).items()
    assert written == path
    model = onnx.load_from_string(content)
    own = [node.op_type for node in model.graph.node if node.domain == DOMAIN]
    assert len(own) == 4 * ((weight != "float") + (activation != "float"))
    assert ("BipolarQuant" in own) == (weight == "1")
    assert {value.type.tensor_type.shape.dim[0].dim_value for value in (*model.graph.input, *model.graph.output)} == {1}
    one = blueprint.inputs[:1]
    found = ReferenceEvaluator(model, new_ops=[Quant, BipolarQuant]).run(None, {model.graph.input[0].name: one.numpy()})
    with torch.no_grad():
        expected = install(blueprint.architecture, blueprint.layers, parts)(one)
    np.testing.assert_allclose(np.asarray(next(iter(found))), expected.numpy(), atol=1e-5 * float(expected.abs().max()), rtol=0)


@pytest.mark.parametrize(("weight", "activation"), [("4z", "3"), ("1", "2")])
def test_qonnx_itself_computes_the_scored_network(weight: str, activation: str, tmp_path: Path) -> None:
    pytest.importorskip("qonnx")
    blueprint, parts = prepared(weight, activation)
    path, one = tmp_path / "net.onnx", blueprint.inputs[:1]
    path.write_bytes(HANDOVERS["qonnx"]().contents(path, blueprint, parts)[path])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of qonnx about itself
        from qonnx.core.modelwrapper import ModelWrapper
        from qonnx.core.onnx_exec import execute_onnx
        from qonnx.util.cleanup import cleanup_model

        model = cleanup_model(ModelWrapper(str(path)))
        (found,) = execute_onnx(model, {model.graph.input[0].name: one.numpy()}).values()
        expected = install(blueprint.architecture, blueprint.layers, parts)(one)
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5 * float(expected.abs().max()), rtol=0)


def test_scales_have_the_shape_of_what_shares_them(tmp_path: Path) -> None:
    blueprint, parts = prepared("4", "float")
    ((_, content),) = HANDOVERS["qonnx"]().contents(tmp_path / "net.onnx", blueprint, parts).items()
    held = {each.name: numpy_helper.to_array(each) for each in onnx.load_from_string(content).graph.initializer}
    shapes = {name.split(".")[-3]: array.shape for name, array in held.items() if name.endswith(".scale")}
    assert shapes == {"first": (8, 1, 1, 1), "up": (1, 4, 1, 1), "head": (32, 1), "last": (3, 1)}


@pytest.mark.parametrize(("weight", "activation", "why"), [("m3", "8", "multibit weights"), ("p4", "8", "power_of_two weights")])
def test_levels_that_are_not_evenly_spaced_are_refused(weight: str, activation: str, why: str) -> None:
    blueprint, _ = prepared("4", "8")
    handover = HANDOVERS["qonnx"]()
    assert why in handover.refuses(blueprint.layers[0], NumberFormat.parse(weight), NumberFormat.parse(activation))
    assert "powers of two" in handover.refuses(blueprint.layers[0], FLOAT, NumberFormat.parse("p4"))
    assert handover.refuses(blueprint.layers[0], NumberFormat.parse("4g32z"), FLOAT) == ""


def test_a_graph_that_computes_something_else_is_found_out(tmp_path: Path) -> None:
    blueprint, parts = prepared("float", "float")
    ((_, content),) = HANDOVERS["qonnx"]().contents(tmp_path / "net.onnx", blueprint, parts).items()
    model = onnx.load_from_string(content)
    bias = next(each for each in model.graph.initializer if each.name.endswith("last.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32(1), bias.name))
    del model.opset_import[1:]
    with pytest.raises(ModelError, match="'qonnx' computes outputs that differ by"):
        check_computes(model, skeleton_of(blueprint, "test"), blueprint, parts, "qonnx")

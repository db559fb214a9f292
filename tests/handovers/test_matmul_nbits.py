"""MatMulNBits: ONNX Runtime computes the scored network from packed weights; what it cannot hold is refused or stays float."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.number_format import FLOAT, NumberFormat
from mpsearch.core.space import ResolvedSpace, Space
from mpsearch.handovers import HANDOVERS
from mpsearch.methods.lsq import Lsq
from mpsearch.network.baked import Parts, bake, install
from mpsearch.network.calibrate import Calibration
from mpsearch.network.canonical import canonical
from mpsearch.network.inputs import call
from mpsearch.network.network import Network
from mpsearch.network.trace import trace
from mpsearch.targets import Blueprint
from mpsearch.tasks.outputs import prediction_of
from tests.language_models import llama

FORMATS = ("2g32", "3g32z", "4g64", "4z", "8g32z", "2g64z", "5", "tg32", "2", "8")


class Tokens(nn.Module):
    """Products with and without a bias, of two axes and of three; a convolution, which the operator does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(64, 64, 1)
        self.layers = nn.ModuleList(nn.Linear(64, 64, bias=number % 2 == 0) for number in range(8))
        self.wide = nn.Linear(64, 192)
        self.head = nn.Linear(192, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x.mT).mT
        for layer in self.layers:
            x = x + torch.relu(layer(x))
        return self.head(torch.relu(self.wide(x)).mean(1))


def quantized(model: nn.Module, x: Tensor, *formats: str) -> tuple[Blueprint, Parts, ResolvedSpace]:
    """Layers take the formats in turn, a convolution the first."""
    menu = tuple(NumberFormat.parse(text) for text in formats)
    space = Space(name="one", weights=menu, activations=(FLOAT,)).resolve(trace(model, x))
    network = Network(model, space, Calibration.fit(model, space, [x]), Lsq())
    network.begin(Allocation({name: Choice(menu[row % len(menu)]) for row, name in enumerate(space.names)}))
    return Blueprint.of(model, x, space, stores=[Lsq().stores]), bake(network), space


def written(blueprint: Blueprint, parts: Parts) -> bytes:
    (content,) = HANDOVERS["matmul-nbits"]().contents(Path("model.onnx"), blueprint, parts).values()
    return content


def ran(content: bytes, x: Tensor) -> Any:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def test_onnx_runtime_computes_the_scored_network_from_packed_weights() -> None:
    torch.manual_seed(0)
    model, x = Tokens().eval(), torch.randn(4, 7, 64)
    blueprint, parts, space = quantized(model, x, *FORMATS)
    content = written(blueprint, parts)
    with torch.no_grad():
        scored = call(install(model, space.layers, parts), x).numpy()
    assert np.abs(ran(content, x) - scored).max() < 1e-5 * np.abs(scored).max()
    graph = onnx.load_from_string(content).graph
    packed = [node for node in graph.node if node.op_type == "MatMulNBits"]
    assert len(packed) == 10
    assert {attribute.i for node in packed for attribute in node.attribute if attribute.name == "bits"} == {2, 4, 8}
    sizes = {each.name: len(each.raw_data) for each in graph.initializer}
    assert sizes["network.layers.1.weight.packed"] == 64 * 64 * 4 // 8
    assert not any(node.op_type in ("Gemm", "MatMul") for node in graph.node)
    assert "network.wide.weight" not in sizes


@pytest.mark.slow
def test_a_language_model_keeps_its_tied_embedding_in_float() -> None:
    made, tokens = llama()
    model = canonical(made)
    blueprint, parts, space = quantized(model, tokens, "4g32")
    content = written(blueprint, parts)
    with torch.no_grad():
        scored = prediction_of(call(install(model, space.layers, parts), tokens)).numpy()
    assert np.abs(ran(content, tokens) - scored).max() < 1e-4 * np.abs(scored).max()
    graph = onnx.load_from_string(content).graph
    assert sum(node.op_type == "MatMulNBits" for node in graph.node) == 14


@pytest.mark.parametrize(
    ("weight", "activation", "said"),
    [
        *((fine, "f", "") for fine in (*FORMATS, "f", "7z")),
        ("h4", "f", "MatMulNBits has no weights of the format 'h4'"),
        ("p4", "f", "MatMulNBits has no weights of the format 'p4'"),
        ("4s", "f", "MatMulNBits has no weights of the format '4s'"),
        ("4kz", "f", "MatMulNBits has no weights of the format '4kz'"),
        ("4", "8", "MatMulNBits takes float inputs"),
    ],
)
def test_what_a_linear_layer_can_hold(weight: str, activation: str, said: str) -> None:
    layers = {layer.kind: layer for layer in trace(Tokens().eval(), torch.randn(2, 7, 64))}
    given = FLOAT if activation == "f" else NumberFormat.parse(activation)
    assert HANDOVERS["matmul-nbits"]().refuses(layers["Linear"], NumberFormat.parse(weight), given) == said
    if activation == "f":
        assert HANDOVERS["matmul-nbits"]().refuses(layers["Conv1d"], NumberFormat.parse(weight), given) == ""

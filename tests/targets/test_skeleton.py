"""A network as a graph without numbers: its nodes, names and structure, whatever the numbers are; what cannot be traced is one line."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mpsearch.core.errors import ConfigError, ModelError
from mpsearch.network.canonical import canonical
from mpsearch.network.trace import trace
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.marks import QUANTIZE
from mpsearch.targets.skeleton import Skeleton, skeleton_of


class TwoHeads(nn.Module):
    """A convolution with BatchNorm, a buffer by a name that traced modules have themselves, two outputs by name."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.head, self.more = nn.Linear(4, 3), nn.Linear(4, 2)
        self.register_buffer("code", torch.ones(4))
        self.register_buffer("fixed", torch.full((4,), 2.0), persistent=False)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        x = torch.relu(self.norm(self.conv(x))).mean((2, 3)) * self.code + self.fixed
        return {"logits": self.head(x), "more": self.more(x)}


class DataDependent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) if x.sum() > 0 else -self.layer(x)


def skeleton(model: nn.Module, x: Any) -> Skeleton:
    model = canonical(model)
    return skeleton_of(Blueprint(architecture=model, inputs=x, layers=trace(model, x)), "target 'onnx'")


def test_norms_are_folded_and_every_input_of_a_layer_is_marked() -> None:
    found = skeleton(TwoHeads(), torch.randn(5, 1, 4, 4))
    kinds = [node.op_type for node in found.nodes]
    assert "BatchNormalization" not in kinds
    marks = {node.attribute[0].i: node for node in found.nodes if node.op_type == QUANTIZE}
    assert sorted(marks) == [0, 1, 2]
    conv = next(node for node in found.nodes if node.op_type == "Conv")
    assert conv.input[0] == marks[0].output[0]
    assert [found.state[name] for name in conv.input[1:]] == ["conv.weight", "conv.bias"]
    assert {attribute.name for attribute in conv.attribute} == {"pads", "kernel_shape"}, "what holds without an attribute is left out"


def test_names_and_structure_are_those_of_the_network() -> None:
    found = skeleton(TwoHeads(), torch.randn(5, 1, 4, 4))
    assert [(value.name, value.shape) for value in found.inputs] == [("x", ("batch", 1, 4, 4))]
    assert found.structure == {"logits": found.outputs[0].name, "more": found.outputs[1].name}
    assert {"code", "head.weight", "head.bias"} <= set(found.state.values())
    assert "fixed" not in found.state.values()
    assert any((value == 2).all() and value.size == 4 for value in found.constants.values()), "a buffer outside the state is a constant"


def test_the_graph_does_not_depend_on_the_numbers() -> None:
    x = torch.randn(5, 1, 4, 4)
    torch.manual_seed(1)
    first, second = skeleton(TwoHeads(), x), skeleton(TwoHeads(), x)
    assert [node.SerializeToString() for node in first.nodes] == [node.SerializeToString() for node in second.nodes]
    assert first.state == second.state


def test_what_cannot_be_traced_is_one_line() -> None:
    with pytest.raises(ModelError, match=r"^target 'onnx': torch.onnx.export cannot trace the network .*; use --target packed$"):
        skeleton(DataDependent(), torch.randn(5, 4))


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"target 'onnx' needs onnx, onnx_ir, onnxscript; pip install 'mpsearch\[onnx\]'"):
        skeleton(nn.Linear(4, 3), torch.randn(5, 4))

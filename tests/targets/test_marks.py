"""Marks become nodes with the number of their layer."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mpsearch.targets.marks import DOMAIN, QUANTIZE, ROUND, SCALE, Mark, MarkSums

pytest.importorskip("onnxscript")


class Marked(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.sums, self.last = Mark(3, QUANTIZE), MarkSums(4, nn.Parameter(torch.ones(2))), Mark(5, ROUND)

    def forward(self, x: Tensor) -> Tensor:
        rounded: Tensor = self.last(torch.relu(self.sums(torch.sin(self.first(x)))))
        return rounded


def test_they_are_nodes_of_our_domain_in_their_places() -> None:
    program = torch.onnx.export(Marked().eval(), (torch.randn(3, 2),), dynamo=True, optimize=False, verbose=False)
    assert program is not None
    nodes = [node for node in program.model.graph if node.domain == DOMAIN]
    assert [(node.op_type, node.attributes["layer"].as_int()) for node in nodes] == [(QUANTIZE, 3), (SCALE, 4), (ROUND, 5)]
    assert [len(node.inputs) for node in nodes] == [1, 2, 1]

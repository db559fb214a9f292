"""Marks in an exported graph: nodes of our own through which the inputs, the sums and the rounded outputs of layers pass."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["DOMAIN", "QUANTIZE", "ROUND", "SCALE", "Mark", "MarkSums"]

DOMAIN = "mpsearch"
"""Domain of the nodes that name layers."""

QUANTIZE = "QuantizeInput"
"""Node through which a layer's input passes; its attribute `layer` is the layer's number."""

ROUND = "RoundOutput"
"""Node through which the output of a layer passes that is rounded before it is added; alike."""

SCALE = "ScaleSums"
"""Node through which the output of a layer passes before its bias is added; alike."""


class Mark(nn.Module):
    """Marks the input of a layer, or its output, in the exported graph."""

    def __init__(self, number: int, kind: str) -> None:
        super().__init__()
        self.number, self.kind = number, kind

    def forward(self, x: Tensor) -> Tensor:
        """The tensor, through a node."""
        marked: Tensor = torch.onnx.ops.symbolic(
            f"{DOMAIN}::{self.kind}", (x,), {"layer": self.number}, dtype=x.dtype, shape=x.shape, version=1
        )
        return marked


class MarkSums(nn.Module):
    """Marks the sums of a layer in the exported graph, and adds its bias there."""

    def __init__(self, number: int, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.number, self.bias = number, bias

    def forward(self, sums: Tensor) -> Tensor:
        """Sums, through a node that has the bias as its second input."""
        given = (sums,) if self.bias is None else (sums, self.bias)
        marked: Tensor = torch.onnx.ops.symbolic(
            f"{DOMAIN}::{SCALE}", given, {"layer": self.number}, dtype=sums.dtype, shape=sums.shape, version=1
        )
        return marked

"""`QdqWriter`: writes ONNX files of INT4 and INT8 weights, and of inputs rounded by `QuantizeLinear`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, FloatWeight, QuantizedInput, StoredNumbers
from mpsearch.numbers.channels import Rows
from mpsearch.targets.onnx.graph import GraphWriter
from mpsearch.targets.onnx.sections import Digits, Section
from mpsearch.targets.onnx_qdq import layout
from mpsearch.targets.onnx_qdq.sections import bias_section, input_section, weight_section, zeros_section

__all__ = ["QdqWriter"]


class QdqWriter(GraphWriter):
    """Writes the ONNX files of one network; see `GraphWriter`."""

    target: ClassVar[str] = "onnx-qdq"
    version: ClassVar[str] = layout.VERSION
    opset: ClassVar[int] = layout.OPSET

    def weight(self, name: str, layer: Layer, rows: Rows, format: NumberFormat, weight: FloatWeight | CodedWeight | None) -> Section:
        """Integers, scales, `DequantizeLinear`."""
        return weight_section(name, layer, rows, format, weight)

    def bias(self, name: str, layer: Layer, bias: StoredNumbers | Tensor | None) -> Section:
        """float32."""
        return bias_section(name, layer, bias)

    def rounding(self, name: str, edges: Sequence[tuple[str, str]], format: NumberFormat, input: QuantizedInput | None) -> Section:
        """`QuantizeLinear` and `DequantizeLinear`."""
        return input_section(name, edges, format, input)

    def shared(self, digits: Sequence[Digits]) -> Section:
        """The zeros of inputs."""
        return zeros_section() if self.blueprint.quantizes_inputs else Section()

    @property
    def growing_lengths(self) -> int:
        """None."""
        return 0

    def settings(self) -> Mapping[str, str]:
        """Of the runtime's session."""
        return layout.written_settings(shares_weights=self.shares_weights)

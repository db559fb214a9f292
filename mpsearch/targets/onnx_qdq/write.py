"""`QdqWriter`: writes ONNX files of INT2, INT4 and INT8 weights, and of inputs rounded by `QuantizeLinear`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, FloatWeight, QuantizedInput
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.onnx.graph import GraphWriter
from mpsearch.targets.onnx.sections import Digits, Section
from mpsearch.targets.onnx_qdq import int2 as two_bits
from mpsearch.targets.onnx_qdq import layout
from mpsearch.targets.onnx_qdq.sections import bias_section, input_section, weight_section, zeros_section

__all__ = ["QdqWriter"]


class QdqWriter(GraphWriter):
    """Writes the ONNX files of one network; see `GraphWriter`.

    Args:
        blueprint: of the network.
        runtime: in which the files are scored, one of `layout.RUNTIMES`.
        int2: whether weights that two bits hold are INT2.

    Raises:
        ModelError: the network cannot be exported, or OpenVINO cannot run it.
        ConfigError: packages of the extra `onnx` are missing.
    """

    target: ClassVar[str] = "onnx-qdq"
    version: ClassVar[str] = layout.VERSION

    def __init__(self, blueprint: Blueprint, runtime: str = layout.ONNX_RUNTIME, *, int2: bool = False) -> None:
        self.runtime, self.int2, self.opset = runtime, int2, layout.OPSET
        if int2:
            self.opset, self.ir_version = two_bits.OPSET, two_bits.IR_VERSION
        super().__init__(blueprint)
        if runtime == layout.OPENVINO:
            self._check_orientations()

    def _check_orientations(self) -> None:
        """OpenVINO 2026.4 ends the whole process when it runs an INT4 matrix that one product reads as it is and another transposed."""
        seen: dict[str, int] = {}
        for node in self._nodes:
            if node.op_type not in ("Gemm", "MatMul"):
                continue
            transposed = next((each.i for each in node.attribute if each.name == "transB"), 0)
            for layer in self.blueprint.layers:
                name = self._layer_name(self._numbers[layer.name])
                if node.input[1] == name and seen.setdefault(name, transposed) != transposed:
                    raise ModelError(
                        f"target '{self.target}' with runtime openvino: the weight of layer '{layer.name}' is multiplied both as it is and "
                        "transposed, which OpenVINO does not survive; take runtime onnxruntime"
                    )

    def weight(self, name: str, layer: Layer, rows: Rows, format: NumberFormat, weight: FloatWeight | CodedWeight | None) -> Section:
        """Integers, scales, `DequantizeLinear`."""
        return weight_section(name, layer, rows, format, weight, int2=self.int2)

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
        """The runtime and its session, without fusion if there is INT2, which `check_runtime_loads_int2` says why."""
        if self.runtime == layout.OPENVINO:
            return layout.Session.in_openvino().metadata()
        return layout.Session.in_onnxruntime(shares_weights=self.shares_weights, fused=not self.int2).metadata()

"""`QdqWriter`: writes ONNX files of INT2, INT4 and INT8 weights, and of inputs rounded by `QuantizeLinear`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from mpsearch.core.errors import ModelError
from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import BakedLayer, CodedWeight, FloatWeight, Parts, QuantizedInput
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import act_grid
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.onnx.graph import GraphWriter
from mpsearch.targets.onnx.sections import Digits, Section
from mpsearch.targets.onnx_qdq import int2 as two_bits
from mpsearch.targets.onnx_qdq import layout
from mpsearch.targets.onnx_qdq.integers import integers_of
from mpsearch.targets.onnx_qdq.sections import bias_section, input_section, weight_section, zeros_section
from mpsearch.targets.roundings import RoundedOutput

__all__ = ["QdqWriter"]

_SAFE = 64
_BYTE = 8


class QdqWriter(GraphWriter):
    """Writes the ONNX files of one network; see `GraphWriter`.

    Args:
        blueprint: of the network.
        runtime: in which the files are scored, one of `layout.RUNTIMES`.
        int2: whether weights that two bits hold are INT2.
        vnni: whether the processors for which the file is add bytes' products in 32 bits.

    Raises:
        ModelError: the network cannot be exported, or OpenVINO cannot run it.
        ConfigError: packages of the extra `onnx` are missing.
    """

    target: ClassVar[str] = "onnx-qdq"
    version: ClassVar[str] = layout.VERSION

    def __init__(self, blueprint: Blueprint, runtime: str = layout.ONNX_RUNTIME, *, int2: bool = False, vnni: bool = False) -> None:
        self.runtime, self.int2, self.vnni, self.opset = runtime, int2, vnni, layout.OPSET
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

    def weight(
        self, name: str, layer: Layer, rows: Rows, format: NumberFormat, weight: FloatWeight | CodedWeight | None, *, fuses: bool
    ) -> Section:
        """Integers, scales, and the nodes that make them a weight."""
        dequantizes = fuses or self.runtime == layout.OPENVINO
        return weight_section(name, layer, rows, format, weight, dequantizes=dequantizes, widens=fuses, int2=self.int2)

    def bias(self, name: str, layer: Layer, bias: StoredNumbers | Tensor | None) -> Section:
        """float32."""
        return bias_section(name, layer, bias)

    def rounding(self, name: str, edges: Sequence[tuple[str, str]], format: NumberFormat, input: QuantizedInput | None) -> Section:
        """`QuantizeLinear` and `DequantizeLinear`; for ONNX Runtime, which has kernels for bytes alone, in float below 8 bits."""
        return input_section(name, edges, format, input, in_float=self._in_float(format))

    def _in_float(self, format: NumberFormat) -> bool:
        return self.runtime != layout.OPENVINO and format.bits < _BYTE

    def shared(self, digits: Sequence[Digits]) -> Section:
        """The zeros of inputs."""
        return zeros_section() if self.blueprint.quantizes_inputs else Section()

    @property
    def growing_lengths(self) -> int:
        """None."""
        return 0

    def fuses(self, number: int, parts: Parts) -> bool:
        """Whether the runtime may have an integer kernel.

        ONNX Runtime has some for inputs of 8 bits: of linear layers, and of convolutions whose output is rounded to 8 bits, too.
        """
        layer = self.blueprint.layers[number]
        input = parts.layers[layer.name].input
        if input is None or self._in_float(input.format):
            return False
        linear = isinstance(self.blueprint.architecture.get_submodule(layer.module), nn.Linear)
        return linear or self.runtime == layout.OPENVINO or self._absorbed(number, parts)

    def _absorbed(self, number: int, parts: Parts) -> bool:
        """Whether rounding to 8 bits follows a layer, and nothing else but what it makes superfluous."""
        layers, rounded = self.blueprint.layers, self._rounded.get(number)
        if rounded is None:
            return False
        inputs = [parts.layers[layers[reader].name].input for reader in rounded.readers]
        steps = {float(input.step) for input in inputs if input is not None}
        return len(steps) < 2 and all(_absorbs(rounded, input) for input in inputs)

    def unbounded(self, parts: Parts) -> frozenset[str]:
        """Those before roundings that cut lower."""
        return frozenset(each.bounded for number, each in self._rounded.items() if each.bounded and self._absorbed(number, parts))

    def settings(self, parts: Parts | None) -> Mapping[str, str]:
        """The runtime and its session."""
        if self.runtime == layout.OPENVINO:
            return layout.Session.in_openvino().metadata()
        saturates = not self.vnni and parts is not None and any(map(_may_saturate, parts.layers.values()))
        return layout.Session.in_onnxruntime(precise=saturates and not self.shares_weights).metadata()


def _absorbs(rounded: RoundedOutput, input: QuantizedInput | None) -> bool:
    """Whether the rounding of an input cuts as the ReLU before it does, which then need not be computed."""
    if input is None or input.format.bits < _BYTE:
        return False
    top = act_grid(_BYTE, input.signed).hi * float(input.step)
    return not rounded.relu or (not input.signed and top <= rounded.bound)


def _may_saturate(baked: BakedLayer) -> bool:
    """Whether two products of its integers with bytes can exceed 16 bits: 2 · 255 · 64 does not."""
    if baked.input is None or not isinstance(baked.weight, CodedWeight):
        return False
    integers = integers_of(baked.weight_format)
    return integers is not None and int(integers.of_codes(baked.weight.codes).abs().max()) > _SAFE

"""`OnnxWriter`: writes ONNX files whose packed weights are unpacked in the graph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, FloatWeight, QuantizedInput
from mpsearch.numbers.channels import Rows
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.onnx import layout, unpacking
from mpsearch.targets.onnx.graph import GraphWriter
from mpsearch.targets.onnx.sections import Digits, Initializer, Section, input_section, weight_section
from mpsearch.targets.skeleton import OPSET

if TYPE_CHECKING:
    import onnx

__all__ = ["OnnxWriter"]


class OnnxWriter(GraphWriter):
    """Writes the ONNX files of one network; see `GraphWriter`.

    Args:
        blueprint: of the network.
        opset: version of the standard operators.

    Raises:
        ModelError: the network cannot be exported.
        ConfigError: packages of the extra `onnx` are missing.
    """

    target: ClassVar[str] = "onnx"
    version: ClassVar[str] = layout.VERSION
    integers: ClassVar[bool] = True

    def __init__(self, blueprint: Blueprint, opset: int = OPSET) -> None:
        self.opset = opset
        super().__init__(blueprint)

    def weight(
        self, name: str, layer: Layer, rows: Rows, format: NumberFormat, weight: FloatWeight | CodedWeight | None, *, fuses: bool
    ) -> Section:
        """Digits, scales, and the nodes that make them a weight."""
        return weight_section(name, layer, rows, format, weight)

    def rounding(self, name: str, edges: Sequence[tuple[str, str]], format: NumberFormat, input: QuantizedInput | None) -> Section:
        """Rounded in float, as mpsearch does."""
        return input_section(name, edges, format, input)

    def shared(self, digits: Sequence[Digits]) -> Section:
        """Constants, and for each base the digits of all layers with what unpacks them."""
        constants = unpacking.constants(self.blueprint.formats, activations=self.blueprint.quantizes_inputs)
        held = [Initializer(name, value.dtype.name, value.shape, value) for name, value in constants.items()]
        nodes: list[onnx.NodeProto] = []
        for base in unpacking.bases_of(self.blueprint.formats):
            own = [each for each in digits if each.base == base]
            held += _stream(base, own)
            nodes += unpacking.unpacking_nodes(base, [each.name for each in own])
        return Section(tuple(held), tuple(nodes))

    @property
    def growing_lengths(self) -> int:
        """Of two tensors a base, their contents and axes; of the node that splits."""
        return 7 * len(unpacking.bases_of(self.blueprint.formats))


def _stream(base: int, digits: Sequence[Digits]) -> list[Initializer]:
    """All digits of a base, and how many each layer has; the bytes are those that layers need one by one, and one more."""
    size = 1 + sum(unpacking.packed_bytes(each.count, base) for each in digits)
    data = np.concatenate([np.zeros(0, dtype=np.uint8), *(each.data for each in digits if each.data is not None)])
    counts = [each.count for each in digits]
    counts.append(size * unpacking.Plane(base, 1).per_byte - sum(counts))
    name = unpacking.stream_name(base)
    return [
        Initializer(name, "uint8", (size, 1), unpacking.digits_to_bytes(data, base, size)[:, None]),
        Initializer(f"{name}z", "int64", (len(counts),), np.array(counts)),
    ]

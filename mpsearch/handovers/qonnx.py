"""`qonnx`: an ONNX graph with `Quant` and `BipolarQuant` nodes, for qonnx, FINN and hls4ml.

`Quant(x, s, z, b) = (clip(round(x / s + z), lo, hi) − z) · s`. Mid-rise weights have z = −½. The batch size is 1, as these tools need it.
Formats: Pappalardo et al., QONNX: Representing Arbitrary-Precision Quantized Neural Networks, arXiv 2206.07527.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.handovers import HANDOVERS
from mpsearch.handovers.base import Handover
from mpsearch.handovers.graph import Added, Array, check_computes, filled, of_every_weight
from mpsearch.network.baked import CodedWeight, Parts, QuantizedInput
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.skeleton import skeleton_of

if TYPE_CHECKING:
    import onnx

__all__ = ["Qonnx"]

_DOMAIN = "qonnx.custom_op.general"
_TINY = np.float32(1e-30)
"""Stands for a scale of 0, by which nothing can be divided."""


@HANDOVERS.register("qonnx")
class Qonnx(Handover):
    """Weights are float32 initializers that a `Quant` node follows."""

    name: ClassVar[str] = "qonnx"
    description: ClassVar[str] = "ONNX with Quant nodes, for qonnx, FINN and hls4ml"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Numbers that are not evenly spaced are refused."""
        if weight.granularity == "offset_superblock":
            return "Quant nodes have no offsets of superblocks"
        if not weight.is_float and not weight.evenly_spaced:
            return f"Quant nodes have evenly spaced levels, and {weight.kind} weights have others"
        return "Quant nodes have evenly spaced levels, and powers of two are not" if activation.kind == "power_of_two" else ""

    def contents(self, out: Path, blueprint: Blueprint, parts: Parts) -> Mapping[Path, bytes]:
        """One file.

        Raises:
            ModelError: the network cannot be exported, or the graph would not compute it.
            ConfigError: packages of the extra `onnx` are missing.
        """
        skeleton = skeleton_of(blueprint, "hand-over format 'qonnx'")

        def weight(name: str, layer: Layer, coded: CodedWeight, values: Array) -> Added:
            return _weight(name, values, coded.format, *_scales_and_zeros(blueprint, layer, coded))

        model = filled(skeleton, blueprint, parts, weight, _input, {_DOMAIN: 1}, batch=1)
        check_computes(_lowered(model), skeleton, blueprint, parts, self.name)
        return {out: model.SerializeToString()}


def _scales_and_zeros(blueprint: Blueprint, layer: Layer, coded: CodedWeight) -> tuple[Array, Array]:
    scales = of_every_weight(blueprint, layer, coded, coded.scales.numbers())
    offset = -0.5 if coded.format.kind == "half_step" else 0.0
    zeros = torch.full((len(coded.codes),), offset) if coded.zeros is None else coded.zeros
    return np.where(scales == 0, _TINY, scales).astype(np.float32), of_every_weight(blueprint, layer, coded, zeros)


def _weight(name: str, values: Array, format: NumberFormat, scales: Array, zeros: Array) -> Added:
    from onnx import helper

    numbers = {f"{name}.float": values, f"{name}.scale": scales}
    if format.kind == "half_step" and format.bits == 1:
        numbers[f"{name}.scale"] = np.abs(scales) / 2
        return [helper.make_node("BipolarQuant", list(numbers), [name], domain=_DOMAIN)], numbers
    numbers |= {f"{name}.zero": zeros.astype(np.float32), f"{name}.bits": np.array(format.bits, dtype=np.float32)}
    return [_quant(list(numbers), name, signed=1, narrow=int(format.kind == "ternary"))], numbers


def _input(value: str, rounded: str, number: int, levels: QuantizedInput) -> Added:
    given = {"scale": levels.step.numpy(), "zero": np.float32(0), "bits": np.float32(levels.format.bits)}
    numbers = {f"{rounded}.{name}": np.array(each, dtype=np.float32) for name, each in given.items()}
    return [_quant([value, *numbers], rounded, signed=int(levels.signed), narrow=0)], numbers


def _quant(inputs: list[str], output: str, *, signed: int, narrow: int) -> onnx.NodeProto:
    from onnx import helper

    return helper.make_node("Quant", inputs, [output], domain=_DOMAIN, signed=signed, narrow=narrow, rounding_mode="ROUND")


def _lowered(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same in standard operators, which ONNX Runtime has."""
    import onnx
    from onnx import numpy_helper

    lowered = onnx.ModelProto()
    lowered.CopyFrom(model)
    del lowered.graph.node[:], lowered.opset_import[1:]
    bits = {each.name: int(numpy_helper.to_array(each)) for each in model.graph.initializer if each.name.endswith(".bits")}
    for node in model.graph.node:
        nodes, numbers = ([node], {}) if node.domain != _DOMAIN else _standard(node, bits)
        lowered.graph.node.extend(nodes)
        lowered.graph.initializer.extend(numpy_helper.from_array(np.array(end, np.float32), name) for name, end in numbers.items())
    return lowered


def _standard(node: onnx.NodeProto, bits: Mapping[str, int]) -> tuple[list[onnx.NodeProto], dict[str, float]]:
    from onnx import helper

    x, scale, out = node.input[0], node.input[1], node.output[0]
    steps = [f"{out}.step{number}" for number in range(5)]
    if node.op_type == "BipolarQuant":
        positive = helper.make_node("GreaterOrEqual", [x, f"{out}.low"], [steps[0]])
        negative = helper.make_node("Neg", [scale], [steps[1]])
        return [positive, negative, helper.make_node("Where", [steps[0], scale, steps[1]], [out])], {f"{out}.low": 0.0}
    about = {each.name: each.i for each in node.attribute if each.name != "rounding_mode"}
    width, zero = 2 ** bits[node.input[3]], node.input[2]
    low, high = (about["narrow"] - width // 2, width // 2 - 1) if about["signed"] else (0, width - 1)
    operands = (("Div", scale), ("Add", zero), ("Round",), ("Clip", f"{out}.low", f"{out}.high"), ("Sub", zero), ("Mul", scale))
    values = [x, *steps, out]
    nodes = [helper.make_node(op, [values[place], *rest], [values[place + 1]]) for place, (op, *rest) in enumerate(operands)]
    return nodes, {f"{out}.low": float(low), f"{out}.high": float(high)}

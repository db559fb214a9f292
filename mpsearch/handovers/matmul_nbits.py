"""`matmul-nbits`: an ONNX graph whose linear layers are nodes `MatMulNBits` of ONNX Runtime, which multiplies by packed weights.

`y = x · ((q − z) · s)ᵀ`, q in 2, 4 or 8 bits, the first in the lowest bits of a byte; a scale and a zero point for each block of inputs.
Codes of 3 bits take 4, those of 5 to 7 take 8. A layer with a scale by channel has blocks of 128 with the same scale. The operator is of
the domain `com.microsoft`, so only ONNX Runtime reads the file. Layers that are no such product, embeddings and heads tied to them, hold
the scored values as float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.handovers import HANDOVERS
from mpsearch.handovers.base import Handover
from mpsearch.handovers.graph import Added, Array, check_computes, filled
from mpsearch.network.baked import CodedWeight, Parts, QuantizedInput
from mpsearch.targets.blueprint import Blueprint
from mpsearch.targets.skeleton import skeleton_of

if TYPE_CHECKING:
    import onnx

__all__ = ["MatMulNBits"]

_DOMAIN, _OPERATOR = "com.microsoft", "MatMulNBits"
_WIDTHS = (2, 4, 8)
_BLOCK = 128
"""Inputs of a block where a channel has one scale."""

_FLOAT_SUMS = 1
"""Value of `accuracy_level`: inputs are not rounded."""


@HANDOVERS.register("matmul-nbits")
class MatMulNBits(Handover):
    """Evenly spaced weights of linear layers are packed; all others are float32."""

    name: ClassVar[str] = "matmul-nbits"
    description: ClassVar[str] = "ONNX with MatMulNBits, packed linear layers of 2, 4 or 8 bits, for ONNX Runtime"

    def refuses(self, layer: Layer, weight: NumberFormat, activation: NumberFormat) -> str:
        """Rounded inputs, and linear layers in formats that the operator does not have."""
        if not activation.is_float:
            return "MatMulNBits takes float inputs"
        return "" if weight.is_float or layer.kind != "Linear" or _held(weight) else f"MatMulNBits has no weights of the format '{weight}'"

    def contents(self, out: Path, blueprint: Blueprint, parts: Parts) -> Mapping[Path, bytes]:
        """One file.

        Raises:
            ModelError: the network cannot be exported, or the graph would not compute it.
            ConfigError: packages of the extra `onnx` are missing.
        """
        coded: dict[str, CodedWeight] = {}

        def weight(name: str, layer: Layer, each: CodedWeight, values: Array) -> Added:
            if _held(each.format) and layer.kind == "Linear" and not layer.norm:
                coded[name] = each
            return [], {name: values}

        skeleton = skeleton_of(blueprint, f"hand-over format '{self.name}'")
        model = filled(skeleton, blueprint, parts, weight, _float_input, {_DOMAIN: 1})
        _pack(model, coded)
        check_computes(model, skeleton, blueprint, parts, self.name)
        return {out: model.SerializeToString()}


def _held(format: NumberFormat) -> bool:
    return format.kind in ("uniform", "ternary") and not format.in_superblocks and format.granularity != "tensor"


def _float_input(value: str, rounded: str, number: int, levels: QuantizedInput) -> Added:
    raise AssertionError(f"the input of layer {number} is rounded, which is refused before")


def _pack(model: onnx.ModelProto, coded: Mapping[str, CodedWeight]) -> None:
    """Put packed products in the place of those by the weights `coded`, by name of the value, where nothing else reads them."""
    from onnx import helper, numpy_helper

    graph, replaced, dropped = model.graph, dict[str, list["onnx.NodeProto"]](), set[str]()
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for value in node.input:
            readers.setdefault(value, []).append(node)
    for name, weight in coded.items():
        products = _products(name, readers)
        if not products:
            continue
        columns = next(each for each in graph.initializer if each.name == name).dims[1]
        numbers, about = _numbers(weight, int(columns))
        for node, value in products:
            bias = list(node.input[2:]) if node.op_type == "Gemm" else []
            sums = f"{node.output[0]}.sums" if bias else node.output[0]
            inputs = [value, *(f"{name}.{end}" for end in numbers)]
            made = [helper.make_node(_OPERATOR, inputs, [sums], domain=_DOMAIN, accuracy_level=_FLOAT_SUMS, **about)]
            replaced[node.output[0]] = made + [helper.make_node("Add", [sums, *bias], [node.output[0]]) for _ in bias]
        dropped |= {name, *(node.output[0] for node in readers[name] if node.op_type == "Transpose")}
        graph.initializer.extend(numpy_helper.from_array(array, f"{name}.{end}") for end, array in numbers.items())
    nodes = [made for node in graph.node if node.output[0] not in dropped for made in replaced.get(node.output[0], [node])]
    kept = [each for each in graph.initializer if each.name not in dropped]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)


def _products(name: str, readers: Mapping[str, list[onnx.NodeProto]]) -> list[tuple[onnx.NodeProto, str]]:
    """The nodes that multiply by the transposed weight, with the value that they multiply; none if it is read in another way, too."""
    if len(readers.get(name, ())) != 1:
        return []
    (node,) = readers[name]
    about = {each.name: each for each in node.attribute}
    if node.op_type == "Gemm":
        plain = about.keys() <= {"transB", "transA"} and "transB" in about and not ("transA" in about and about["transA"].i)
        return [(node, node.input[0])] if plain and about["transB"].i and node.input[1] == name else []
    if node.op_type != "Transpose" or list(about["perm"].ints) != [1, 0]:
        return []
    turned = node.output[0]
    after = readers.get(turned, [])
    return [(each, each.input[0]) for each in after] if all(each.op_type == "MatMul" and each.input[1] == turned for each in after) else []


def _numbers(weight: CodedWeight, columns: int) -> tuple[dict[str, Array], dict[str, Any]]:
    """Inputs of the operator by name, and its attributes, for a weight of so many columns."""
    bits = next(width for width in _WIDTHS if width >= weight.format.bits)
    block, half = weight.format.group or _BLOCK, 2 ** (bits - 1)
    count = math.ceil(columns / block)
    codes = weight.codes.numpy().reshape(-1, columns)
    filled = np.zeros((len(codes), count * block), dtype=np.int16)
    filled[:, :columns] = codes
    per_block = 1 if weight.format.group else count
    scales = weight.scales.numbers().numpy().reshape(len(codes), -1).repeat(per_block, axis=1)
    numbers: dict[str, Array] = {
        "packed": _packed(filled + half, bits).reshape(len(codes), count, -1),
        "scales": np.ascontiguousarray(scales, dtype=np.float32),
    }
    if weight.zeros is not None:
        zeros = weight.zeros.numpy().astype(np.int16).reshape(len(codes), -1).repeat(per_block, axis=1)
        numbers["zeros"] = _packed(zeros + half, bits)
    return numbers, {"K": columns, "N": len(codes), "bits": bits, "block_size": block}


def _packed(unsigned: Array, bits: int) -> Array:
    """Whole numbers `[N, n]` → uint8 `[N, ⌈n · bits / 8⌉]`."""
    together = 8 // bits
    filled = np.zeros((len(unsigned), math.ceil(unsigned.shape[1] / together) * together), dtype=np.uint8)
    filled[:, : unsigned.shape[1]] = unsigned
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    packed: Array = np.bitwise_or.reduce(filled.reshape(len(filled), -1, together) << shifts, axis=2)
    return packed

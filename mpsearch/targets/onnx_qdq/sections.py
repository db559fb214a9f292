"""What a layer adds to the graph: `DequantizeLinear` for its weight, `QuantizeLinear` and `DequantizeLinear` for its inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, FloatWeight, QuantizedInput
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import Grid, act_grid
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.onnx.sections import Initializer, Section, before_shape, in_shape, new_node, rounding_nodes
from mpsearch.targets.onnx.unpacking import Arrangement, arrangement
from mpsearch.targets.onnx_qdq.int2 import INT2, Int2Initializer
from mpsearch.targets.onnx_qdq.integers import Integers, integers_of
from mpsearch.targets.onnx_qdq.layout import SIGNED_ZERO, UNSIGNED_ZERO

if TYPE_CHECKING:
    import onnx

__all__ = ["Scaling", "bias_section", "input_section", "scaling_of", "weight_section", "zeros_section"]

_FULL = 8
"""Bits whose ends `QuantizeLinear` has by itself."""

_FLOAT32, _INT8 = 1, 3
"""ONNX's numbers of types."""


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """How `DequantizeLinear` scales a weight.

    Args:
        integers: of the weight.
        arranged: the order of the codes, and how they take the weight's shape.
        scales: shape of the scales.
        axis: along which they differ.
        block: weights along the axis that share a scale; 0: one.
    """

    integers: Integers
    arranged: Arrangement
    scales: tuple[int, ...]
    axis: int = 0
    block: int = 0


def scaling_of(layer: Layer, rows: Rows, format: NumberFormat, *, int2: bool = False) -> Scaling:
    """The scaling of a layer's weight; `int2`: integers of 2 bits where they hold it.

    Raises:
        ValueError: no integers hold the format.
    """
    integers = integers_of(format, int2=int2)
    if integers is None:
        raise ValueError(f"'{format}' has no integers")
    if isinstance(rows.granularity, int):
        arranged = arrangement(layer, replace(rows, granularity="channel"), by_rows=True)
        if not arranged.inner and arranged.shape == layer.weight_shape:
            arranged = replace(arranged, outer=())
        channels, columns = arranged.shape
        shape = (channels, columns // rows.granularity)
        return Scaling(integers=integers, arranged=arranged, scales=shape, axis=1, block=rows.granularity)
    arranged = arrangement(layer, rows)
    axes = [axis for axis, size in enumerate(arranged.scales) if size > 1]
    if len(axes) > 1:
        arranged, axes = arrangement(layer, rows, by_rows=True), [0]
    scales = tuple(arranged.scales[axis] for axis in axes)
    return Scaling(integers=integers, arranged=arranged, scales=scales, axis=axes[0] if axes else 0)


def weight_section(
    name: str,
    layer: Layer,
    rows: Rows,
    format: NumberFormat,
    weight: FloatWeight | CodedWeight | None,
    *,
    dequantizes: bool,
    widens: bool,
    int2: bool = False,
) -> Section:
    """The weight, under `name`.

    Args:
        name: of the weight in the graph; what belongs to it begins with it.
        layer: whose weight it is.
        rows: its layout, with the granularity of the format.
        format: as stored.
        weight: the numbers; None where only the bytes are asked for.
        dequantizes: whether it passes `DequantizeLinear`; see `layout`. Groups of weights always do.
        widens: whether that gets INT8, whatever the file holds.
        int2: whether integers have 2 bits where those hold them.
    """
    if format.is_float:
        values = weight.values.numpy() if isinstance(weight, FloatWeight) else None
        return Section((Initializer(name, "float32", layer.weight_shape, values),))
    coded, scaling = weight if isinstance(weight, CodedWeight) else None, scaling_of(layer, rows, format, int2=int2)
    integers, arranged = scaling.integers, scaling.arranged
    widens &= not (arranged.inner or arranged.outer or scaling.block)
    dequantizes |= bool(scaling.block)
    shape = scaling.scales if dequantizes else arranged.scales
    codes = scales = zeros = None
    if coded is not None:
        whole = integers.of_codes(coded.codes)
        codes = (whole if arranged.by_rows else rows.join(whole)).reshape(arranged.shape).numpy()
        scales = (coded.scales.numbers() * integers.scale).reshape(shape).numpy()
        zeros = np.zeros(shape) if coded.zeros is None else coded.zeros.reshape(shape).numpy()
    own = Int2Initializer if integers.dtype == INT2 else Initializer
    held = [own(f"{name}q", integers.dtype, arranged.shape, codes), Initializer(f"{name}s", "float32", shape, scales)]
    if format.zero_point or (dequantizes and integers.bits == _FULL):  # from the zeros ONNX Runtime makes UINT8 of INT8
        held.append(own(f"{name}z", integers.dtype, shape, zeros))
    out, names = before_shape(name, arranged), [each.name for each in held]
    if not dequantizes:
        return Section(tuple(held), _multiplied(name, names, out)) + in_shape(name, arranged)
    attributes = {"axis": scaling.axis} if scaling.scales else {}
    if scaling.block:
        attributes["block_size"] = scaling.block
    widened: list[onnx.NodeProto] = []
    if widens and integers.bits < _FULL:
        widened = [new_node("Cast", [each], f"{each}8", to=_INT8) for each in (names[0], *names[2:])]
        names = [widened[0].output[0], names[1], *(node.output[0] for node in widened[1:])]
    dequantized = new_node("DequantizeLinear", names, out, **attributes)
    return Section(tuple(held), (*widened, dequantized)) + in_shape(name, arranged)


def _multiplied(name: str, held: Sequence[str], out: str) -> tuple[onnx.NodeProto, ...]:
    """`(integers − zeros) · scales` in float; `held`: names of integers, scales and perhaps zeros."""
    nodes = [new_node("Cast", held[:1], f"{name}x", to=_FLOAT32)]
    if len(held) > 2:
        nodes += [
            new_node("Cast", held[2:], f"{name}y", to=_FLOAT32),
            new_node("Sub", [f"{name}x", f"{name}y"], f"{name}u"),
        ]
    return (*nodes, new_node("Mul", [nodes[-1].output[0], held[1]], out))


def bias_section(name: str, layer: Layer, bias: StoredNumbers | Tensor | None) -> Section:
    """The bias, under `name`, float32; runtimes make integers of it as their kernels need them."""
    values = bias.numbers() if isinstance(bias, StoredNumbers) else bias
    return Section((Initializer(name, "float32", (layer.bias_elements,), None if values is None else values.numpy()),))


def input_section(
    name: str, edges: Sequence[tuple[str, str]], format: NumberFormat, input: QuantizedInput | None, *, in_float: bool = False
) -> Section:
    """The rounding of a layer's inputs, to uint8 also where they are signed, with a zero of 128: the same levels.

    ONNX Runtime makes uint8 of int8 on x86, and its version 1.32 makes an invalid graph of it where a transposition follows.

    Args:
        name: of its numbers.
        edges: (name before, name after) of each input.
        format: of the input; float leaves only names that cannot be replaced.
        input: step and sign; None where only the bytes are asked for, and for float inputs.
        in_float: whether floats are rounded by float arithmetic. ONNX Runtime rounds the float weight of an operator between
            `DequantizeLinear` and `QuantizeLinear` to 8 bits of its own, unasked.
    """
    if format.is_float:
        kept = (edge for edge in edges if not all(each.startswith("V") for each in edge))
        return Section((), tuple(new_node("Identity", [before], after) for before, after in kept))
    signed = input is not None and input.signed
    if in_float:
        return _rounded_in_float(name, edges, act_grid(format.bits, signed), input)
    grid, step = act_grid(format.bits, signed), None if input is None else input.step.float().numpy()
    held = [Initializer(f"{name}s", "float32", (), step)]
    if format.bits < _FULL:
        ends = (("l", grid.lo), ("h", grid.hi))
        held += [Initializer(f"{name}{letter}", "float32", (), None if step is None else np.float32(end) * step) for letter, end in ends]
    scaled = [f"{name}s", SIGNED_ZERO if signed else UNSIGNED_ZERO]
    nodes: list[onnx.NodeProto] = []
    for number, (before, after) in enumerate(edges):
        own, last = f"{name}{number}", before
        if format.bits < _FULL:
            nodes.append(new_node("Clip", [before, f"{name}l", f"{name}h"], f"{own}c"))
            last = f"{own}c"
        nodes.append(new_node("QuantizeLinear", [last, *scaled], f"{own}q"))
        nodes.append(new_node("DequantizeLinear", [f"{own}q", *scaled], after))
    return Section(tuple(held), tuple(nodes))


def _rounded_in_float(name: str, edges: Sequence[tuple[str, str]], grid: Grid, input: QuantizedInput | None) -> Section:
    """`clip(round(x · (1/step))) · step`."""
    step = None if input is None else input.step.float()
    numbers: dict[str, Tensor | None] = {"s": step, "r": None if step is None else step.reciprocal()}
    numbers |= {letter: None if step is None else torch.tensor(float(end)) for letter, end in (("l", grid.lo), ("h", grid.hi))}
    held = tuple(Initializer(f"{name}{letter}", "float32", (), None if each is None else each.numpy()) for letter, each in numbers.items())
    return Section(held, rounding_nodes(name, edges, (f"{name}l", f"{name}h")))


def zeros_section() -> Section:
    """The zeros of unsigned and of signed inputs."""
    zeros = {UNSIGNED_ZERO: 0, SIGNED_ZERO: 128}
    return Section(tuple(Initializer(name, "uint8", (), np.array(zero)) for name, zero in zeros.items()))

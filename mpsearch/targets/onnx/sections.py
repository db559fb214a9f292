"""What a layer adds to the graph: digits, initializers and nodes for its weight, its bias, the rounding of its input; their exact bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.network.baked import CodedWeight, FloatWeight, QuantizedInput
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import act_grid
from mpsearch.numbers.packing import pack, packed_bytes, unpack
from mpsearch.numbers.stored import StoredNumbers
from mpsearch.targets.onnx import unpacking

if TYPE_CHECKING:
    import onnx
    from google.protobuf.message import Message

__all__ = [
    "Digits",
    "Initializer",
    "Section",
    "before_shape",
    "bias_section",
    "counted",
    "field_bytes",
    "in_shape",
    "input_section",
    "new_node",
    "rounding_nodes",
    "stored_codes",
    "stored_numbers",
    "varint_bytes",
    "weight_section",
]

Array = np.ndarray[Any, Any]

_INT4 = "int4"

_HALF_FROM = 32
"""Numbers from which half precision and the nodes that widen it take fewer bytes than float32."""


@dataclass(frozen=True)
class Initializer:
    """A tensor of the file.

    Args:
        name: in the graph.
        dtype: numpy's, or `int4`, two numbers in a byte.
        shape: of the tensor.
        data: its values; None where only the bytes are asked for.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: Array | None = None

    def proto(self) -> onnx.TensorProto:
        """The tensor as the file holds it."""
        tensor = self._empty()
        if self.dtype == _INT4:
            tensor.raw_data = pack(np.asarray(self.data), 4).tobytes()
            return tensor
        tensor.raw_data = np.ascontiguousarray(self.data, dtype=np.dtype(self.dtype).newbyteorder("<")).tobytes()
        return tensor

    def bytes(self) -> int:
        """Bytes of it in the file."""
        count = math.prod(self.shape)
        count = packed_bytes(count, 4) if self.dtype == _INT4 else count * np.dtype(self.dtype).itemsize
        inner: int = self._empty().ByteSize() + (1 + varint_bytes(count) + count)
        return 1 + varint_bytes(inner) + inner

    def _empty(self) -> onnx.TensorProto:
        import onnx

        number = onnx.TensorProto.INT4 if self.dtype == _INT4 else onnx.helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        return onnx.TensorProto(name=self.name, data_type=number, dims=self.shape)


@dataclass(frozen=True)
class Digits:
    """One plane of a weight's codes.

    Args:
        base: of the digits.
        name: of the digits in the graph.
        count: how many.
        data: uint8 `[count]`; None where only the bytes are asked for.
    """

    base: int
    name: str
    count: int
    data: Array | None = None

    def bytes(self) -> int:
        """Bytes of it in the file: the packed digits, their number, an output of the node that splits them."""
        return unpacking.packed_bytes(self.count, self.base) + 8 + (1 + varint_bytes(len(self.name)) + len(self.name))


@dataclass(frozen=True)
class Section:
    """A part of the graph."""

    initializers: tuple[Initializer, ...] = ()
    nodes: tuple[onnx.NodeProto, ...] = ()
    digits: tuple[Digits, ...] = ()

    def __add__(self, other: Section) -> Section:
        return Section(self.initializers + other.initializers, self.nodes + other.nodes, self.digits + other.digits)

    def bytes(self) -> int:
        """Bytes of it in the file."""
        held = sum(each.bytes() for each in self.initializers) + sum(each.bytes() for each in self.digits)
        return held + sum(field_bytes(node) for node in self.nodes)


def varint_bytes(number: int) -> int:
    """Bytes of a number in protobuf's encoding, seven bits each."""
    return max(1, -(-number.bit_length() // 7))


def field_bytes(message: Message) -> int:
    """Bytes of a message in a field with a number below 16: tag, length, content."""
    size: int = message.ByteSize()
    return 1 + varint_bytes(size) + size


def weight_section(name: str, layer: Layer, rows: Rows, format: NumberFormat, weight: FloatWeight | CodedWeight | None) -> Section:
    """The weight, under `name`.

    Args:
        name: of the weight in the graph; what belongs to it begins with it.
        layer: whose weight it is.
        rows: its layout, with the granularity of the format.
        format: as stored.
        weight: the numbers; None where only the bytes are asked for.
    """
    if format.is_float:
        values = weight.values.numpy() if isinstance(weight, FloatWeight) else None
        return Section((Initializer(name, "float32", layer.weight_shape, values),))
    coded = weight if isinstance(weight, CodedWeight) else None
    if format.kind == "multibit":
        return _multibit(name, layer, rows, format, coded)
    arranged = unpacking.arrangement(layer, rows)
    section, unpacked, zero = stored_codes(name, layer, rows, arranged, format, coded, unit=1.0)
    scales = None if coded is None else coded.scales
    section += _scaled(name, layer, arranged.shape, arranged.scales, unpacked, zero, scales, before_shape(name, arranged))
    return section + in_shape(name, arranged)


def stored_codes(
    name: str, layer: Layer, rows: Rows, arranged: unpacking.Arrangement, format: NumberFormat, coded: CodedWeight | None, unit: float
) -> tuple[Section, str, str]:
    """The codes; their name (of powers of two, that of the powers in units of `unit`), and that of the code of 0."""
    codes = None if coded is None else _from_zero(coded.codes.numpy(), format)
    if codes is not None and not arranged.by_rows:
        codes = rows.join(torch.from_numpy(codes)).numpy()
    section, unpacked = _digits(name, layer.weights, unpacking.planes_of(format), codes)
    if format.kind == "power_of_two":
        table = Initializer(f"{name}l", "float32", (2**format.bits,), (_powers(format.bits) / unit).astype(np.float32))
        looked_up = new_node("Cast", [unpacked], f"{name}g", to=6), new_node("Gather", [table.name, f"{name}g"], f"{name}k")
        section += Section((table,), looked_up)
        unpacked = f"{name}k"
    zero = unpacking.number_name(unpacking.zero_code(format))
    if format.zero_point:
        zeros = None if coded is None or coded.zeros is None else _from_zero(coded.zeros.numpy(), format).reshape(arranged.scales)
        section += Section((Initializer(f"{name}z", "uint8", arranged.scales, zeros),), (new_node("Cast", [f"{name}z"], f"{name}n", to=1),))
        zero = f"{name}n"
    return section, unpacked, zero


def _multibit(name: str, layer: Layer, rows: Rows, format: NumberFormat, coded: CodedWeight | None) -> Section:
    """Sign vectors, each with its scale, added up channel by channel in the order of the vectors."""
    arranged = unpacking.arrangement(layer, rows, by_rows=True)
    channels, columns = arranged.shape
    count = format.bits * channels
    signs = channel_of_base = None
    scales: StoredNumbers | None = None
    if coded is not None:
        alphas = coded.scales.values.numpy()
        packed, held = format.pack(coded.codes.numpy(), alphas)
        present = _held(packed, channels)
        channel_of_base = np.repeat(np.arange(channels), present)
        order = np.argsort(alphas == 0, axis=1, kind="stable")
        base = np.concatenate([order[channel, :number] for channel, number in enumerate(present)])
        signs = coded.codes.numpy()[channel_of_base] >> base[:, None] & 1
        values, wide = torch.from_numpy(held), coded.scales.wide
        scales = StoredNumbers(values=values * 2 if wide else values, exponent=0 if wide else coded.scales.exponent + 1)
    section, unpacked = _digits(name, count * columns, unpacking.planes_of(format), signs)
    vectors = f"{name}v"
    half = unpacking.number_name(unpacking.zero_code(format))
    section += _scaled(name, layer, (count, columns), (count, 1), unpacked, half, scales, vectors)
    kind = "uint8" if channels <= 256 else "uint16" if channels <= 65536 else "int32"
    added = (
        Initializer(f"{name}j", kind, (count, 1), channel_of_base),
        Initializer(f"{name}l", "int64", (2,), np.array([channels, columns])),
    )
    nodes = (
        new_node("Cast", [f"{name}j"], f"{name}k", to=7),
        new_node("Expand", [unpacking.number_name(0.0), f"{name}l"], f"{name}g"),
        new_node("ScatterND", [f"{name}g", f"{name}k", vectors], before_shape(name, arranged), reduction="add"),
    )
    return section + Section(added, nodes) + in_shape(name, arranged)


def bias_section(name: str, layer: Layer, bias: StoredNumbers | Tensor | None, *, shape: tuple[int, ...] | None = None) -> Section:
    """The bias, under `name`, in one axis or a shape; None in place of its numbers: bytes alone."""
    stored = StoredNumbers(values=bias) if isinstance(bias, Tensor) else bias
    return stored_numbers(name, shape or (layer.bias_elements,), stored, half=bool(layer.norm) and not layer.wide)


def input_section(name: str, edges: Sequence[tuple[str, str]], format: NumberFormat, input: QuantizedInput | None) -> Section:
    """The rounding of a layer's inputs.

    Args:
        name: of its numbers.
        edges: (name before, name after) of each input.
        format: of the input; float leaves only names that cannot be replaced.
        input: step and sign; None where only the bytes are asked for, and for float inputs.
    """
    if format.is_float:
        return Section((), tuple(new_node("Identity", [before], after) for before, after in edges if not before.startswith("V")))
    step = reciprocal = None
    grid = act_grid(format.bits, input is not None and input.signed)
    if input is not None:
        step = input.step.float().numpy()
        reciprocal = input.step.float().reciprocal().numpy()
    held = (Initializer(f"{name}r", "float32", (), reciprocal), Initializer(f"{name}s", "float32", (), step))
    ends = [unpacking.number_name(grid.lo), unpacking.number_name(grid.hi)]
    return Section(held, rounding_nodes(name, edges, ends))


def rounding_nodes(name: str, edges: Sequence[tuple[str, str]], ends: Sequence[str]) -> tuple[onnx.NodeProto, ...]:
    """`clip(round(x · r), *ends) · s`, with the reciprocal `r` of the step and the step `s` under `name`."""
    nodes: list[onnx.NodeProto] = []
    for number, (before, after) in enumerate(edges):
        own = f"{name}{number}"
        nodes += [
            new_node("Mul", [before, f"{name}r"], f"{own}a"),
            new_node("Round", [f"{own}a"], f"{own}b"),
            new_node("Clip", [f"{own}b", *ends], f"{own}c"),
            new_node("Mul", [f"{own}c", f"{name}s"], after),
        ]
    return tuple(nodes)


def _digits(name: str, count: int, planes: tuple[unpacking.Plane, ...], codes: Array | None) -> tuple[Section, str]:
    """The planes of `count` codes, and nodes that add them up; the name of the codes, float32 `[count]`."""
    data: Sequence[Array | None] = [None] * len(planes) if codes is None else unpacking.digits_of(codes, planes)
    held = [Digits(plane.base, f"{name}{'pqr'[index]}", count, data[index]) for index, plane in enumerate(planes)]
    nodes, last = [], held[0].name
    for index, plane in list(enumerate(planes))[1:]:
        nodes.append(new_node("Mul", [held[index].name, unpacking.number_name(plane.weight)], f"{name}{'tu'[index - 1]}"))
        nodes.append(new_node("Add", [last, f"{name}{'tu'[index - 1]}"], f"{name}{'xy'[index - 1]}"))
        last = f"{name}{'xy'[index - 1]}"
    return Section(nodes=tuple(nodes), digits=tuple(held)), last


def _scaled(
    name: str, layer: Layer, shape: tuple[int, ...], against: tuple[int, ...], codes: str, zero: str, scales: StoredNumbers | None, out: str
) -> Section:
    """`(codes − zero) · scales` in a shape, with scales of the shape `against`."""
    section = counted(name, shape, codes, zero, f"{name}m") + stored_numbers(f"{name}s", against, scales, half=not layer.wide)
    return section + Section(nodes=(new_node("Mul", [f"{name}m", f"{name}s"], out),))


def counted(name: str, shape: tuple[int, ...], codes: str, zero: str, out: str) -> Section:
    """`codes − zero` in a shape."""
    held = Initializer(f"{name}a", "int64", (len(shape),), np.array(shape))
    return Section((held,), (new_node("Reshape", [codes, held.name], f"{name}d"), new_node("Sub", [f"{name}d", zero], out)))


def stored_numbers(name: str, shape: tuple[int, ...], stored: StoredNumbers | None, *, half: bool) -> Section:
    """Numbers under `name`: in half precision with a power of two, where they are given so and that takes fewer bytes."""
    if not half or math.prod(shape) < _HALF_FROM:
        return Section((Initializer(name, "float32", shape, None if stored is None else stored.numbers().numpy().reshape(shape)),))
    values = Initializer(f"{name}h", "float16", shape, None if stored is None else stored.values.numpy().reshape(shape))
    power = Initializer(f"{name}e", "float32", (), None if stored is None else np.array(2.0**stored.exponent, dtype=np.float32))
    return Section((values, power), (new_node("Cast", [values.name], f"{name}f", to=1), new_node("Mul", [f"{name}f", power.name], name)))


def before_shape(name: str, arranged: unpacking.Arrangement) -> str:
    """Name of the numbers that `in_shape` makes the weight `name`."""
    return f"{name}f" if arranged.inner or arranged.outer else name


def in_shape(name: str, arranged: unpacking.Arrangement) -> Section:
    """From the unpacked numbers, `…f`, to the weight."""
    last, held, nodes = f"{name}f", [], []
    if arranged.inner:
        held.append(Initializer(f"{name}i", "int64", (len(arranged.inner),), np.array(arranged.inner)))
        nodes += [
            new_node("Reshape", [last, f"{name}i"], f"{name}b"),
            new_node("Transpose", [f"{name}b"], f"{name}c", perm=list(arranged.moved)),
        ]
        last = f"{name}c"
    if arranged.outer:
        held.append(Initializer(f"{name}o", "int64", (len(arranged.outer),), np.array(arranged.outer)))
        nodes.append(new_node("Reshape", [last, f"{name}o"], f"{name}w"))
    if nodes:
        nodes[-1].output[0] = name
    return Section(tuple(held), tuple(nodes))


def _from_zero(codes: Array, format: NumberFormat) -> Array:
    """Codes that count from 0."""
    return codes.astype(np.int16) + np.int16(1 if format.kind == "ternary" else 2 ** (format.bits - 1))


def _powers(bits: int) -> Array:
    """`±2^−k` of every code that counts from 0."""
    codes = np.arange(2**bits) - 2 ** (bits - 1)
    values: Array = np.where(codes < 0, -(2.0 ** (codes + 1.0)), 2.0 ** -codes.astype(np.float64)).astype(np.float32)
    return values


def _held(packed: Array, channels: int) -> Array:
    """Sign vectors of each channel, from the head of packed multibit codes."""
    counts: Array = unpack(packed[: packed_bytes(channels, 4)], 4, channels) & 15
    return counts


def new_node(kind: str, inputs: Sequence[str], output: str, **attributes: Any) -> onnx.NodeProto:
    """A node with one output."""
    import onnx

    node = onnx.NodeProto(op_type=kind, domain="", input=inputs, output=[output])
    node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in attributes.items())
    return node

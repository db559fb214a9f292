"""How a packed weight becomes a tensor inside an ONNX graph: initializers, and nodes that unpack them.

Codes are shifted to begin at 0 and split into planes, each of digits of 1, 2, 4 or 8 bits (3 = 1 + 2, 5 = 1 + 4, 6 = 2 + 4, 7 = 1 + 2 + 4)
or of base 3, packed into bytes, the first digit lowest. A runtime unpacks them by arithmetic on floats, since integer operations on bytes
are not alike everywhere:

    digit_i = ⌊(byte + ½) · B^−i⌋ − B · ⌊(byte + ½) · B^−i / B⌋

Every number in it is exact in float32, or far from a border, so all runtimes agree. Runtimes fold the nodes when they load the graph.

| function | inputs | output |
|---|---|---|
| `D` | bytes `[N]`, powers `B^−i` `[digits a byte]`, B, weight of a digit | digits times their weight, `[N · digits a byte]` |
| `F` | codes, shape, code of 0, scales (any float), power of two | `(codes − zero) · (scales · power)` in the shape |
| `H` | numbers (any float), power of two | float32, their product |
| `A` | activation, 4 numbers: 1/step, lowest code, highest code, step | the activation, fake-quantized |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.numbers.channels import Rows

if TYPE_CHECKING:
    import onnx

__all__ = [
    "DOMAIN",
    "FIRST",
    "Arrangement",
    "Plane",
    "arrangement",
    "constants",
    "functions",
    "join_planes",
    "number_name",
    "padded",
    "planes_of",
    "split_planes",
]

DOMAIN = "m"
"""Of the functions; short, since it stands in every call."""

Array = np.ndarray[Any, Any]

_PLANES: Mapping[int, tuple[int, ...]] = {1: (1,), 2: (2,), 3: (1, 2), 4: (4,), 5: (1, 4), 6: (2, 4), 7: (1, 2, 4), 8: (8,)}
_BASES = (2, 4, 16, 256, 3)


@dataclass(frozen=True)
class Plane:
    """Digits of one base.

    Args:
        base: B.
        weight: of a digit in a code.
    """

    base: int
    weight: int

    @property
    def per_byte(self) -> int:
        """Digits in a byte."""
        return 5 if self.base == 3 else 8 // (self.base - 1).bit_length()

    @property
    def powers(self) -> str:
        """Name of the constant `B^−i`."""
        return f"K{_BASES.index(self.base)}"


def planes_of(format: NumberFormat) -> tuple[Plane, ...]:
    """The planes of a format's codes, the lowest first."""
    if format.kind == "ternary":
        return (Plane(3, 1),)
    planes, low = [], 0
    for bits in _PLANES[format.bits]:
        planes.append(Plane(2**bits, 2**low))
        low += bits
    return tuple(planes)


def padded(count: int, planes: tuple[Plane, ...]) -> int:
    """Digits that each plane holds for `count` codes: all planes are equally long."""
    most = max(plane.per_byte for plane in planes)
    return -(-count // most) * most


def split_planes(codes: Array, planes: tuple[Plane, ...]) -> list[Array]:
    """Codes from 0 (any shape, taken in C order) → the bytes of each plane."""
    flat = np.zeros(padded(codes.size, planes), dtype=np.int64)
    flat[: codes.size] = codes.reshape(-1)
    packed = []
    for plane in planes:
        digits = flat // plane.weight % plane.base
        packed.append((digits.reshape(-1, plane.per_byte) @ plane.base ** np.arange(plane.per_byte)).astype(np.uint8))
    return packed


def join_planes(packed: list[Array], planes: tuple[Plane, ...], count: int) -> Array:
    """Inverse of `split_planes`: int16 `[count]`.

    Raises:
        ValueError: too few or too many bytes, or bytes that hold no digits of the base.
    """
    length = padded(count, planes)
    total = np.zeros(length, dtype=np.int16)
    for plane, held in zip(planes, packed, strict=True):
        if held.size * plane.per_byte != length or held.max(initial=0) >= plane.base**plane.per_byte:
            raise ValueError(f"{held.size} bytes are not {count} codes")
        digits = held[:, None].astype(np.int64) // plane.base ** np.arange(plane.per_byte) % plane.base
        total += (digits.reshape(-1) * plane.weight).astype(np.int16)
    return total[:count]


_ZEROS = (0.0, *(2.0**bits - half for bits in range(8) for half in (0.5, 0.0)))
"""Codes of 0 of symmetric formats, as codes count from 0."""


def constants() -> dict[str, Array]:
    """The constants that layers share, by name: powers of the bases; scalars: bases, weights of digits, codes of 0."""
    shared: dict[str, Array] = {}
    for base in _BASES:
        plane = Plane(base, 1)
        shared[plane.powers] = np.float32(base) ** -np.arange(plane.per_byte, dtype=np.float32)
    for number in sorted({*map(float, _BASES), *_ZEROS}):
        shared[number_name(number)] = np.array(number, dtype=np.float32)
    shared[FIRST] = np.zeros(1, dtype=np.int64)
    return shared


def number_name(number: float) -> str:
    """Name of a shared scalar: its double, so that halves have names too."""
    return f"N{2 * number:.0f}"


FIRST = "Z"
"""Name of the constant `[0]`, where slices begin."""


@dataclass(frozen=True, kw_only=True)
class Arrangement:
    """In which order the codes of a weight are stored, and how the unpacked numbers take the weight's shape.

    Args:
        by_rows: whether codes are stored row by row; else in the order of the weight.
        shape: of the unpacked codes, against which the scales broadcast.
        scales: shape of the scales.
        inner: shape before the axes are moved; empty if they are not.
        moved: permutation of the axes; empty if none.
        outer: the weight's shape, if it differs from what the last step gives; else empty.
    """

    by_rows: bool
    shape: tuple[int, ...]
    scales: tuple[int, ...]
    inner: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    outer: tuple[int, ...] = ()


def arrangement(layer: Layer, rows: Rows, *, by_rows: bool = False) -> Arrangement:
    """The arrangement of a layer's weight; `by_rows` also where the order of the weight would do."""
    shape, ones = layer.weight_shape, [1] * len(layer.weight_shape)
    if not by_rows and rows.granularity == "tensor":
        return Arrangement(by_rows=False, shape=shape, scales=tuple(ones))
    if not by_rows and rows.granularity == "channel":
        if rows.kind == "transposed" and rows.groups > 1:
            split = (rows.groups, shape[0] // rows.groups, *shape[1:])
            return Arrangement(by_rows=False, shape=split, scales=(rows.groups, 1, shape[1], *ones[2:]), outer=shape)
        axes = {"first": (0,), "embedding": (1,), "transposed": (1,)}.get(rows.kind, rows.axes)
        return Arrangement(by_rows=False, shape=shape, scales=tuple(size if axis in axes else 1 for axis, size in enumerate(shape)))
    inner: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()
    outer = shape
    if rows.kind == "embedding":
        inner, moved, outer = (shape[1], shape[0]), (1, 0), ()
    elif rows.kind == "transposed":
        inner = (rows.groups, shape[1], shape[0] // rows.groups, *shape[2:])
        moved = (0, 2, 1, *range(3, len(inner)))
    elif rows.kind == "axes":
        front = (*rows.axes, *(axis for axis in range(len(shape)) if axis not in rows.axes))
        inner, moved, outer = tuple(shape[axis] for axis in front), tuple(front.index(axis) for axis in range(len(shape))), ()
    held = (rows.count, layer.weights // rows.count)
    return Arrangement(by_rows=True, shape=held, scales=(rows.count, 1), inner=inner, moved=moved, outer=outer)


def functions(*, activations: bool) -> list[onnx.FunctionProto]:
    """The functions of the table above; `A` only where activations may be quantized."""
    from onnx import helper

    def constant(name: str, value: Array) -> onnx.NodeProto:
        return helper.make_node("Constant", [], [name], value=_tensor(value))

    node, opset = helper.make_node, [helper.make_opsetid("", 20)]
    half, one, column = np.array(0.5, dtype=np.float32), np.array([1]), np.array([-1])
    made = [
        helper.make_function(
            DOMAIN, "D", ["q", "k", "b", "s"], ["o"],
            [
                constant("h", half), constant("i", one), constant("j", column),
                node("Cast", ["q"], ["f"], to=1),
                node("Add", ["f", "h"], ["g"]),
                node("Unsqueeze", ["g", "i"], ["l"]),
                node("Mul", ["l", "k"], ["m"]),
                node("Floor", ["m"], ["n"]),
                node("Div", ["m", "b"], ["p"]),
                node("Floor", ["p"], ["r"]),
                node("Mul", ["r", "b"], ["t"]),
                node("Sub", ["n", "t"], ["u"]),
                node("Mul", ["u", "s"], ["v"]),
                node("Reshape", ["v", "j"], ["o"]),
            ],
            opset,
        ),
        helper.make_function(
            DOMAIN, "F", ["q", "a", "z", "s", "e"], ["o"],
            [
                node("Reshape", ["q", "a"], ["b"]),
                node("Cast", ["z"], ["c"], to=1),
                node("Sub", ["b", "c"], ["d"]),
                node("Cast", ["s"], ["f"], to=1),
                node("Mul", ["f", "e"], ["g"]),
                node("Mul", ["d", "g"], ["o"]),
            ],
            opset,
        ),
        helper.make_function(
            DOMAIN, "H", ["s", "e"], ["o"], [node("Cast", ["s"], ["f"], to=1), node("Mul", ["f", "e"], ["o"])], opset,
        ),
    ]  # fmt: skip
    if activations:
        body = [node("Split", ["n"], ["a", "b", "c", "d"], num_outputs=4), constant("j", np.zeros(0, dtype=np.int64))]
        body += [node("Reshape", [given, "j"], [scalar]) for given, scalar in zip("abcd", "efgh", strict=True)]
        body += [
            node("Mul", ["x", "e"], ["k"]),
            node("Round", ["k"], ["l"]),
            node("Clip", ["l", "f", "g"], ["m"]),
            node("Mul", ["m", "h"], ["o"]),
        ]
        made.append(helper.make_function(DOMAIN, "A", ["x", "n"], ["o"], body, opset))
    return made


def _tensor(value: Array) -> onnx.TensorProto:
    from onnx import numpy_helper

    tensor = numpy_helper.from_array(np.asarray(value))
    tensor.ClearField("name")
    return tensor

"""How packed weights lie in an ONNX graph: digits of all layers in one tensor for each base, and the nodes that unpack it.

Codes are shifted to begin at 0 and split into planes, each of digits of 1, 2, 4 or 8 bits (3 = 1 + 2, 5 = 1 + 4, 6 = 2 + 4, 7 = 1 + 2 + 4)
or of base 3. The digits of one base, layer after layer without gaps, are packed into bytes, the first digit lowest. The graph unpacks all
of them at once, by arithmetic on floats, since integer operations on bytes are not alike in all runtimes, and splits them into layers:

    digit_i = ⌊(byte + ½) · B^−i⌋ mod B

Every number in it is exact in float32, or far from a border (B = 3), so all runtimes agree. They fold the nodes at loading.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mpsearch.core.layer import Layer
from mpsearch.core.number_format import NumberFormat
from mpsearch.numbers.channels import Rows
from mpsearch.numbers.grid import grid_of

if TYPE_CHECKING:
    import onnx

__all__ = [
    "BASES",
    "FLAT",
    "Arrangement",
    "Plane",
    "arrangement",
    "bases_of",
    "codes_of",
    "constants",
    "digits_in",
    "digits_of",
    "digits_to_bytes",
    "number_name",
    "packed_bytes",
    "planes_of",
    "stream_name",
    "unpacking_nodes",
    "zero_code",
]

Array = np.ndarray[Any, Any]

_PLANES: Mapping[int, tuple[int, ...]] = {1: (1,), 2: (2,), 3: (1, 2), 4: (4,), 5: (1, 4), 6: (2, 4), 7: (1, 2, 4), 8: (8,)}
BASES = (2, 4, 16, 256, 3)


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


def planes_of(format: NumberFormat) -> tuple[Plane, ...]:
    """The planes of a format's codes, the lowest first."""
    if format.is_float:
        return ()
    if format.kind == "ternary":
        return (Plane(3, 1),)
    if format.kind == "multibit":
        return (Plane(2, 1),)
    planes, low = [], 0
    for bits in _PLANES[format.bits]:
        planes.append(Plane(2**bits, 2**low))
        low += bits
    return tuple(planes)


def digits_of(codes: Array, planes: tuple[Plane, ...]) -> list[Array]:
    """Codes from 0 (any shape, taken in C order) → the digits of each plane, uint8 `[n]`."""
    flat = codes.reshape(-1).astype(np.int64)
    return [(flat // plane.weight % plane.base).astype(np.uint8) for plane in planes]


def codes_of(digits: Sequence[Array], planes: tuple[Plane, ...]) -> Array:
    """Inverse of `digits_of`: int16 `[n]`."""
    total = np.zeros(len(digits[0]), dtype=np.int16)
    for held, plane in zip(digits, planes, strict=True):
        total += held.astype(np.int16) * np.int16(plane.weight)
    return total


def packed_bytes(count: int, base: int) -> int:
    """Bytes that so many digits take by themselves."""
    return -(-count // Plane(base, 1).per_byte)


def digits_to_bytes(digits: Array, base: int, size: int) -> Array:
    """Digits uint8 `[n]` → uint8 `[size]`, the unused end 0."""
    per_byte = Plane(base, 1).per_byte
    held = np.zeros(size * per_byte, dtype=np.int64)
    held[: digits.size] = digits
    packed: Array = (held.reshape(size, per_byte) @ base ** np.arange(per_byte)).astype(np.uint8)
    return packed


def digits_in(packed: Array, base: int) -> Array:
    """Inverse of `digits_to_bytes`: all digits, uint8.

    Raises:
        ValueError: a byte that holds no digits of the base.
    """
    per_byte = Plane(base, 1).per_byte
    if packed.max(initial=0) >= base**per_byte:
        raise ValueError(f"byte {packed.max()} does not hold {per_byte} digits of base {base}")
    digits: Array = (packed[:, None].astype(np.int64) // base ** np.arange(per_byte) % base).astype(np.uint8).reshape(-1)
    return digits


def constants(formats: Iterable[NumberFormat], *, activations: bool) -> dict[str, Array]:
    """The constants that layers share, by name: powers of the bases; scalars: bases, weights of digits, codes of 0, ends of activations.

    Args:
        formats: that a weight may have.
        activations: whether an activation may be quantized.
    """
    formats = list(formats)
    shared: dict[str, Array] = {FLAT: np.array([-1])}
    for base in bases_of(formats):
        shared[_powers(base)] = np.float32(base) ** -np.arange(Plane(base, 1).per_byte, dtype=np.float32)
    planes = [plane for format in formats for plane in planes_of(format)]
    numbers = {0.5, *(float(plane.base) for plane in planes), *(float(plane.weight) for plane in planes), *map(zero_code, formats)}
    numbers |= {2.0} if activations and any(format.kind == "half_step" for format in formats) else set()
    numbers |= {0.0} | ({end for bits in range(1, 9) for end in (-(2.0 ** (bits - 1)), 2.0**bits - 1)} if activations else set())
    return shared | {number_name(number): np.array(number, dtype=np.float32) for number in sorted(numbers)}


def bases_of(formats: Iterable[NumberFormat]) -> tuple[int, ...]:
    """The bases of the digits of these formats."""
    found = {plane.base for format in formats for plane in planes_of(format)}
    return tuple(base for base in BASES if base in found)


def zero_code(format: NumberFormat) -> float:
    """The code of 0 among codes that count from 0; of powers of two and of sign vectors, 0 and ½, since their nodes go on from there."""
    if format.is_float or format.kind == "power_of_two":
        return 0.0
    if format.kind == "multibit":
        return 0.5
    return 1.0 if format.kind == "ternary" else 2.0 ** (format.bits - 1) - grid_of(format).offset


def number_name(number: float) -> str:
    """Name of a shared scalar, four characters: twice the number, so that halves have names too; `M` if it is negative."""
    return f"{'NM'[number < 0]}{abs(int(2 * number)):03x}"


def stream_name(base: int) -> str:
    """Name of the tensor that holds all digits of a base; what unpacks it begins with it."""
    return f"D{BASES.index(base)}"


def unpacking_nodes(base: int, layers: Sequence[str]) -> list[onnx.NodeProto]:
    """The nodes that unpack the digits of a base and split them into layers.

    Args:
        base: B.
        layers: names of the digits of each layer, float32 `[n]`; what is left over follows.
    """
    from onnx import helper

    name, node = stream_name(base), helper.make_node
    nodes, last = [node("Cast", [name], [f"{name}a"], to=1)], f"{name}a"
    if base == 3:
        nodes.append(node("Add", [last, number_name(0.5)], [f"{name}b"]))
        last = f"{name}b"
    if base != 256:
        nodes += [
            node("Mul", [last, _powers(base)], [f"{name}c"]),
            node("Floor", [f"{name}c"], [f"{name}d"]),
            node("Mod", [f"{name}d", number_name(base)], [f"{name}e"], fmod=1),
        ]
        last = f"{name}e"
    return [*nodes, node("Reshape", [last, FLAT], [f"{name}f"]), node("Split", [f"{name}f", f"{name}z"], [*layers, f"{name}g"])]


def _powers(base: int) -> str:
    return f"K{BASES.index(base)}"


FLAT = "Z"
"""Name of the shape of one free axis."""


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

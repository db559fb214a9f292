"""Codes of b bits packed into bytes, two's complement, little-endian: the first code is in the lowest bits of the first byte.

For 1, 2, 4 and 8 bits this is the layout of ONNX INT2/INT4/INT8 tensors; codes of 3, 5, 6 and 7 bits cross byte boundaries. Ternary
codes are base-3 digits, five per byte, the first the lowest: 1.6 bits per code, against the minimum log2 3 = 1.585.
"""

from __future__ import annotations

from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.number_format import GROUP_OF, MOST_OFFSETS, MULTIPLES, OFFSET_BITS, SUPERBLOCK, Codes, NumberKind, Packed, Scales

__all__ = [
    "TwosComplement",
    "multiples_of",
    "offset_multiples_of",
    "pack",
    "pack_planes",
    "pack_trits",
    "packed_bytes",
    "trit_bytes",
    "unpack",
    "unpack_planes",
    "unpack_trits",
]

_TRITS = 5
_GROUPS, _OFFSET_GROUPS = (SUPERBLOCK // GROUP_OF[each] for each in ("superblock", "offset_superblock"))


def packed_bytes(count: int, bits: int) -> int:
    """Bytes that `count` codes take: `⌈count · bits / 8⌉`."""
    return (count * bits + 7) // 8


def pack(codes: NDArray[np.integer], bits: int) -> NDArray[np.uint8]:
    """Codes (any shape, taken in C order) → uint8 `[⌈n · bits / 8⌉]`; unused bits of the last byte are 0.

    Raises:
        ValueError: a code that does not fit into `bits` bits of two's complement.
    """
    flat = np.asarray(codes).reshape(-1)
    if flat.size and not (-(2 ** (bits - 1)) <= flat.min() and flat.max() < 2 ** (bits - 1)):
        raise ValueError(f"codes from {flat.min()} to {flat.max()} do not fit into {bits} bits")
    unsigned: NDArray[np.uint8] = (flat & (2**bits - 1)).astype(np.uint8)
    if bits == 8:
        return unsigned
    return np.packbits(np.unpackbits(unsigned[:, None], axis=1, count=bits, bitorder="little"), bitorder="little")


def unpack(packed: NDArray[np.uint8], bits: int, count: int) -> NDArray[np.int16]:
    """uint8 `[⌈count · bits / 8⌉]` → int16 `[count]`; the inverse of `pack`.

    Raises:
        ValueError: too few or too many bytes for `count` codes.
    """
    if packed.size != packed_bytes(count, bits):
        raise ValueError(f"{count} codes of {bits} bits take {packed_bytes(count, bits)} bytes, got {packed.size}")
    if bits in (1, 2, 4, 8):
        parts = packed[:, None] >> np.arange(0, 8, bits, dtype=np.uint8)
        unsigned: NDArray[np.int16] = (parts & (2**bits - 1)).reshape(-1)[:count].astype(np.int16)
    else:
        planes = np.unpackbits(packed, count=count * bits, bitorder="little").reshape(count, bits)
        unsigned = planes.astype(np.int16) @ (1 << np.arange(bits)).astype(np.int16)
    signed: NDArray[np.int16] = np.where(unsigned >= 2 ** (bits - 1), unsigned - 2**bits, unsigned).astype(np.int16)
    return signed


def multiples_of(steps: NDArray[np.float32], bits: int) -> tuple[NDArray[np.float16], NDArray[np.int16]]:
    """Steps of superblocks `[rows]` → units float16 `[rows / 16]` and multiples int16 `[rows / 16, 16]`.

    Raises:
        ValueError: the steps are not those of superblocks.
    """
    blocks = steps.astype(np.float32).reshape(-1, _GROUPS)
    units = cast("NDArray[np.float16]", (blocks.max(axis=1) / np.float32(MULTIPLES[bits])).astype(np.float16))
    multiples = np.rint(blocks / units.astype(np.float32)[:, None])
    if not np.array_equal(multiples * units.astype(np.float32)[:, None], blocks) or multiples.min(initial=1) < 1:
        raise ValueError("steps are no multiples of a unit")
    return units, multiples.astype(np.int16)


def offset_multiples_of(scales: NDArray[np.float32]) -> tuple[NDArray[np.float16], NDArray[np.int16]]:
    """Steps and offsets of superblocks `[rows, 2]` → their units float16 `[rows / 8, 2]` and multiples int16 `[rows / 8, 2, 8]`.

    Raises:
        ValueError: they are not those of superblocks.
    """
    blocks = scales.astype(np.float32).reshape(-1, _OFFSET_GROUPS, 2).swapaxes(1, 2)
    units = cast("NDArray[np.float16]", (blocks.max(axis=2) / np.float32(MOST_OFFSETS)).astype(np.float16))
    wide = units.astype(np.float32)[:, :, None]
    multiples = np.rint(np.divide(blocks, wide, out=np.zeros_like(blocks), where=wide > 0))
    if not np.array_equal(multiples * wide, blocks) or multiples[:, 0].min(initial=1) < 1 or multiples.min(initial=0) < 0:
        raise ValueError("steps or offsets are no multiples of a unit")
    return units, multiples.astype(np.int16)


class TwosComplement(NumberKind):
    """Kinds whose codes take all values of 1 to 8 bits."""

    widths: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6, 7, 8)

    def code_bytes(self, rows: int, columns: int, bits: int) -> int:
        """`⌈rows · columns · bits / 8⌉`."""
        return packed_bytes(rows * columns, bits)

    def pack(self, codes: Codes, scales: Scales, bits: int) -> tuple[Packed, Scales]:
        """Codes in two's complement, little-endian, without gaps."""
        return pack(codes, bits), scales

    def unpack(self, packed: Packed, scales: Scales, columns: int, bits: int) -> tuple[Codes, Scales]:
        """Inverse of `pack`."""
        return unpack(packed, bits, len(scales) * columns).reshape(-1, columns), scales

    def superblock_bytes(self, rows: int, columns: int, bits: int) -> int:
        """Codes and multiples, each without gaps."""
        multiples = 2 * rows if bits in OFFSET_BITS else rows
        return packed_bytes(rows * columns, bits) + packed_bytes(multiples, _multiple_bits(bits)[0])

    def pack_superblocks(self, codes: Codes, scales: Scales, bits: int) -> tuple[Packed, Scales]:
        """Codes, then multiples; with offsets the codes, and the multiples of steps and offsets of each superblock, less the half."""
        width, shift = _multiple_bits(bits)
        if bits in OFFSET_BITS:
            units, multiples = offset_multiples_of(scales.astype(np.float32))
            return np.concatenate([pack(codes - 2 ** (bits - 1), bits), pack(multiples - shift, width)]), units.reshape(-1)
        units, multiples = multiples_of(scales.astype(np.float32), bits)
        return np.concatenate([pack(codes, bits), pack(multiples - shift, width)]), units

    def unpack_superblocks(self, packed: Packed, scales: Scales, columns: int, bits: int) -> tuple[Codes, Scales]:
        """Inverse of `pack_superblocks`."""
        width, shift = _multiple_bits(bits)
        if bits in OFFSET_BITS:
            units = scales.astype(np.float32).reshape(-1, 2)
            rows = len(units) * _OFFSET_GROUPS
            held = packed_bytes(rows * columns, bits)
            both = unpack(packed[held:], width, 2 * rows).reshape(-1, 2, _OFFSET_GROUPS) + np.int16(shift)
            found = (both * units[:, :, None]).astype(np.float32).swapaxes(1, 2).reshape(-1, 2)
            codes = unpack(packed[:held], bits, rows * columns).reshape(-1, columns) + np.int16(2 ** (bits - 1))
            return codes.astype(np.int16), np.ascontiguousarray(found)
        rows = len(scales) * _GROUPS
        held = packed_bytes(rows * columns, bits)
        multiples = unpack(packed[held:], width, rows).reshape(-1, _GROUPS) + np.int16(shift)
        steps = multiples * scales.astype(np.float32)[:, None]
        return unpack(packed[:held], bits, rows * columns).reshape(-1, columns), steps.astype(np.float32).reshape(-1)


def _multiple_bits(bits: int) -> tuple[int, int]:
    """Bits of a multiple in a file, and what is taken off it so that it fits."""
    if bits in OFFSET_BITS:
        width = MOST_OFFSETS.bit_length()
        return width, 2 ** (width - 1)
    width = MULTIPLES[bits].bit_length() + (bits > 2)
    return width, 8 if width == 4 else 0


def trit_bytes(count: int) -> int:
    """Bytes that `count` ternary codes take: `⌈count / 5⌉`."""
    return -(-count // _TRITS)


def pack_trits(codes: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Codes −1, 0, 1 (any shape, taken in C order) → uint8 `[⌈n / 5⌉]`; unused digits of the last byte are 0.

    Raises:
        ValueError: another code.
    """
    flat = np.asarray(codes).reshape(-1)
    if flat.size and not (flat.min() >= -1 and flat.max() <= 1):
        raise ValueError(f"codes from {flat.min()} to {flat.max()} are not ternary")
    digits = np.zeros(trit_bytes(flat.size) * _TRITS, dtype=np.uint8)
    digits[: flat.size] = flat + 1
    packed: NDArray[np.uint8] = digits.reshape(-1, _TRITS) @ (3 ** np.arange(_TRITS)).astype(np.uint8)
    return packed


def unpack_trits(packed: NDArray[np.uint8], count: int) -> NDArray[np.int16]:
    """uint8 `[⌈count / 5⌉]` → int16 `[count]`; the inverse of `pack_trits`.

    Raises:
        ValueError: too few or too many bytes for `count` codes, or one above 242.
    """
    if packed.size != trit_bytes(count):
        raise ValueError(f"{count} ternary codes take {trit_bytes(count)} bytes, got {packed.size}")
    if packed.max(initial=0) >= 3**_TRITS:
        raise ValueError(f"byte {packed.max()} does not hold five ternary codes")
    digits = packed[:, None] // (3 ** np.arange(_TRITS)).astype(np.uint8) % 3
    return digits.reshape(-1)[:count].astype(np.int16) - np.int16(1)


def pack_planes(planes: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Bits 0 and 1 `[P, n]` → uint8 `[⌈P · n / 8⌉]`, plane after plane without gaps; unused bits of the last byte are 0."""
    return np.packbits(planes.astype(np.uint8), bitorder="little")


def unpack_planes(packed: NDArray[np.uint8], count: int, n: int) -> NDArray[np.int16]:
    """uint8 `[⌈count · n / 8⌉]` → int16 `[count, n]`; the inverse of `pack_planes`.

    Raises:
        ValueError: too few or too many bytes.
    """
    if packed.size != packed_bytes(count * n, 1):
        raise ValueError(f"{count} planes of {n} bits take {packed_bytes(count * n, 1)} bytes, got {packed.size}")
    return np.unpackbits(packed, count=count * n, bitorder="little").reshape(count, n).astype(np.int16)

"""Codes and scales of a format ↔ blocks of ggml, without loss.

| format | type | values of a block | what it holds |
|---|---|---|---|
| `4g32` | Q4_0 | 32 | a half-precision scale; code + 8 in 4 bits: value i in the low half of byte i, value i + 16 in the high half |
| `5g32` | Q5_0 | 32 | a scale, 32 fifth bits, then as Q4_0 with code + 16 |
| `8g32` | Q8_0 | 32 | a scale, codes as int8 |
| `h2k` | Q2_K | 256 | 16 multiples of a unit and as many offsets, code + 2 in 2 bits, unit, unit of offsets |
| `3k` | Q3_K | 256 | third bits, low bits of code + 4, 16 multiples of 6 bits, unit |
| `4kz` | Q4_K | 256 | units of steps and of offsets, 8 multiples of 6 bits of each, codes in 4 bits |
| `5kz` | Q5_K | 256 | the same with fifth bits before the codes |
| `6k` | Q6_K | 256 | low halves and high bits of code + 32, 16 multiples of 8 bits, unit |
| `f` | F32 | 1 | float32 |

Q2_K has `value = scale · q − offset`, q from 0 to 3: with an offset of 1.5 scales these are the half-step numbers. Layouts as in ggml's
`block_q4_0` and so on; `numbers.superblocks` and `numbers.offset_superblocks` have the scales.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.number_format import FLOAT, GROUP_OF, Codes, NumberFormat, Packed
from mpsearch.numbers.packing import multiples_of, offset_multiples_of

__all__ = ["F32", "TYPES", "BlockType", "joined", "split", "tensor_bytes"]

Bytes = NDArray[Any]
"""uint8, which arithmetic of numpy's stubs does not keep."""

_SIXTEEN, _THIRTY_TWO = GROUP_OF["superblock"], GROUP_OF["offset_superblock"]
_SHIFTS = np.arange(0, 8, 2, dtype=np.uint8)[:, None]


@dataclass(frozen=True, kw_only=True)
class BlockType:
    """A type of ggml's tensors.

    Args:
        name: in llama.cpp.
        number: in a file.
        values: of a block.
        size: bytes of a block.
    """

    name: str
    number: int
    values: int
    size: int


F32 = BlockType(name="F32", number=0, values=1, size=4)

TYPES: Mapping[NumberFormat, BlockType] = MappingProxyType(
    {
        NumberFormat.parse("h2k"): BlockType(name="Q2_K", number=10, values=256, size=84),
        NumberFormat.parse("3k"): BlockType(name="Q3_K", number=11, values=256, size=110),
        NumberFormat.parse("4kz"): BlockType(name="Q4_K", number=12, values=256, size=144),
        NumberFormat.parse("4g32"): BlockType(name="Q4_0", number=2, values=32, size=18),
        NumberFormat.parse("5kz"): BlockType(name="Q5_K", number=13, values=256, size=176),
        NumberFormat.parse("5g32"): BlockType(name="Q5_0", number=6, values=32, size=22),
        NumberFormat.parse("6k"): BlockType(name="Q6_K", number=14, values=256, size=210),
        NumberFormat.parse("8g32"): BlockType(name="Q8_0", number=8, values=32, size=34),
        FLOAT: F32,
    }
)
"""Format → the type that stores it exactly."""


def tensor_bytes(format: NumberFormat, values: int) -> int:
    """Bytes of so many values."""
    return TYPES[format].size * (values // TYPES[format].values)


def joined(format: NumberFormat, codes: Codes, steps: NDArray[np.float32]) -> Packed:
    """Codes `[rows, n]` and the step of each row, `[rows]`, or steps and offsets `[rows, 2]` → blocks, uint8 `[blocks, size]`.

    Raises:
        ValueError: codes that do not fit into the bits, or steps that the type does not hold.
    """
    half = 0 if format.granularity == "offset_superblock" else 2 ** (format.bits - 1)
    if codes.size and not (-half <= codes.min() and codes.max() < 2**format.bits - half):
        raise ValueError(f"codes from {codes.min()} to {codes.max()} do not fit into {format.bits} bits")
    if format.granularity == "offset_superblock":
        return _join_offsets(codes.astype(np.uint8).reshape(-1, 256), *offset_multiples_of(steps), fifth=format.bits == 5)
    if format.granularity == "superblock":
        units, multiples = multiples_of(steps, format.bits)
        join = {2: _join_two, 3: _join_three, 6: _join_six}[format.bits]
        return join((codes.reshape(len(units), -1) + half).astype(np.uint8), multiples, units)
    scales = steps.astype("<f2")
    if not np.array_equal(scales.astype(np.float32), steps):
        raise ValueError("steps are no numbers of half precision")
    if format.bits == 8:
        return np.concatenate([_bytes_of(scales), codes.astype(np.int8).view(np.uint8)], axis=1)
    unsigned = (codes + half).astype(np.uint8)
    fifth = [np.packbits(unsigned >> 4, axis=1, bitorder="little")] if format.bits == 5 else []
    return np.concatenate([_bytes_of(scales), *fifth, (unsigned[:, :16] & 15) | (unsigned[:, 16:] & 15) << 4], axis=1)


def split(format: NumberFormat, blocks: Packed) -> tuple[Codes, NDArray[Any]]:
    """Inverse of `joined`: codes int16 `[rows, n]` and steps, float16, of superblocks float32, `[rows]` or `[rows, 2]`."""
    if format.granularity == "offset_superblock":
        return _split_offsets(blocks, fifth=format.bits == 5)
    half = np.int16(2 ** (format.bits - 1))
    if format.granularity == "superblock":
        part = {2: _split_two, 3: _split_three, 6: _split_six}[format.bits]
        unsigned, multiples, units = part(blocks)
        steps = (multiples * units.astype(np.float32)[:, None]).astype(np.float32).reshape(-1)
        return (unsigned.astype(np.int16) - half).reshape(-1, _SIXTEEN), steps
    scales = _halves(blocks[:, :2])
    if format.bits == 8:
        return np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.int16), scales
    nibbles = blocks[:, -16:]
    found = np.concatenate([nibbles & 15, nibbles >> 4], axis=1).astype(np.int16)
    if format.bits == 5:
        found |= np.unpackbits(blocks[:, 2:6], axis=1, bitorder="little").astype(np.int16) << 4
    return found - half, scales


def _bytes_of(halves: NDArray[Any]) -> Bytes:
    """float16 `[n]` → uint8 `[n, 2]`."""
    return np.ascontiguousarray(halves.astype("<f2"))[:, None].view(np.uint8)


def _halves(columns: Bytes) -> NDArray[np.float16]:
    """uint8 `[n, 2]` → float16 `[n]`."""
    return np.ascontiguousarray(columns).view("<f2")[:, 0].astype(np.float16)


def _quarters(low: Bytes) -> Bytes:
    """Two bits of 256 values → 64 bytes: of each 128 values, value 32 j + l lies in bits 2 j of byte l."""
    packed: Bytes = np.bitwise_or.reduce(low.reshape(-1, 2, 4, 32) << _SHIFTS, axis=2).reshape(len(low), 64)
    return packed


def _of_quarters(packed: Bytes) -> Bytes:
    low: Bytes = (packed.reshape(-1, 2, 1, 32) >> _SHIFTS & 3).reshape(len(packed), 256)
    return low


def _join_two(unsigned: Bytes, multiples: Codes, units: NDArray[np.float16]) -> Packed:
    scales = (multiples | multiples << 4).astype(np.uint8)
    offsets = (units.astype(np.float32) * np.float32(1.5)).astype(np.float16)
    return np.concatenate([scales, _quarters(unsigned), _bytes_of(units), _bytes_of(offsets)], axis=1)


def _split_two(blocks: Packed) -> tuple[Bytes, Codes, NDArray[np.float16]]:
    return _of_quarters(blocks[:, 16:80]), (blocks[:, :16] & 15).astype(np.int16), _halves(blocks[:, 80:82])


def _join_three(unsigned: Bytes, multiples: Codes, units: NDArray[np.float16]) -> Packed:
    third = np.packbits((unsigned >> 2).reshape(-1, 8, 32).swapaxes(1, 2), axis=2, bitorder="little").reshape(-1, 32)
    shifted = (multiples + 32).astype(np.uint8)
    low = (shifted[:, :8] & 15) | (shifted[:, 8:] & 15) << 4
    high = np.bitwise_or.reduce((shifted >> 4).reshape(-1, 4, 4) << _SHIFTS, axis=1)
    return np.concatenate([third, _quarters(unsigned & 3), low, high, _bytes_of(units)], axis=1)


def _split_three(blocks: Packed) -> tuple[Bytes, Codes, NDArray[np.float16]]:
    third = np.unpackbits(blocks[:, :32, None], axis=2, bitorder="little").swapaxes(1, 2).reshape(-1, 256)
    low, high = blocks[:, 96:104], blocks[:, 104:108]
    nibbles = np.concatenate([low & 15, low >> 4], axis=1)
    upper = (high[:, None, :] >> _SHIFTS & 3).reshape(-1, 16)
    multiples = (nibbles | upper << 4).astype(np.int16) - np.int16(32)
    return _of_quarters(blocks[:, 32:96]) | third << 2, multiples, _halves(blocks[:, 108:110])


def _join_six(unsigned: Bytes, multiples: Codes, units: NDArray[np.float16]) -> Packed:
    quarters = unsigned.reshape(-1, 2, 4, 32)
    low = ((quarters[:, :, :2] & 15) | (quarters[:, :, 2:] & 15) << 4).reshape(-1, 128)
    return np.concatenate([low, _quarters(unsigned >> 4), multiples.astype(np.int8).view(np.uint8), _bytes_of(units)], axis=1)


def _split_six(blocks: Packed) -> tuple[Bytes, Codes, NDArray[np.float16]]:
    low = blocks[:, :128].reshape(-1, 2, 2, 32)
    nibbles = np.concatenate([low & 15, low >> 4], axis=2).reshape(-1, 256)
    multiples = np.ascontiguousarray(blocks[:, 192:208]).view(np.int8).astype(np.int16)
    return nibbles | _of_quarters(blocks[:, 128:192]) << 4, multiples, _halves(blocks[:, 208:210])


def _join_offsets(unsigned: Bytes, units: NDArray[np.float16], multiples: Codes, *, fifth: bool) -> Packed:
    steps, offsets = multiples.astype(np.uint8).swapaxes(0, 1)
    first = [each[:, :4] | each[:, 4:] >> 4 << 6 for each in (steps, offsets)]
    rest = (steps[:, 4:] & 15) | (offsets[:, 4:] & 15) << 4
    groups = unsigned.reshape(-1, 8, _THIRTY_TWO)
    high = [np.packbits(groups >> 4, axis=1, bitorder="little")[:, 0]] if fifth else []
    nibbles = ((groups[:, ::2] & 15) | (groups[:, 1::2] & 15) << 4).reshape(-1, 128)
    return np.concatenate([_bytes_of(units[:, 0]), _bytes_of(units[:, 1]), *first, rest, *high, nibbles], axis=1)


def _split_offsets(blocks: Packed, *, fifth: bool) -> tuple[Codes, NDArray[Any]]:
    units = np.stack([_halves(blocks[:, :2]), _halves(blocks[:, 2:4])], axis=1).astype(np.float32)
    steps, offsets, rest = (blocks[:, start : start + 4] for start in (4, 8, 12))
    multiples = [np.concatenate([first & 63, low | first >> 6 << 4], axis=1) for first, low in ((steps, rest & 15), (offsets, rest >> 4))]
    scales = (np.stack(multiples, axis=2) * units[:, None, :]).astype(np.float32)
    nibbles = blocks[:, -128:].reshape(-1, 4, 1, _THIRTY_TWO)
    codes = np.concatenate([nibbles & 15, nibbles >> 4], axis=2).reshape(-1, 8, _THIRTY_TWO).astype(np.int16)
    if fifth:
        codes |= np.unpackbits(blocks[:, 16:48, None], axis=2, bitorder="little").swapaxes(1, 2).astype(np.int16) << 4
    return codes.reshape(-1, _THIRTY_TWO), scales.reshape(-1, 2)

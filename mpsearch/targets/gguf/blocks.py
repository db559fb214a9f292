"""Codes and scales of a format ↔ blocks of ggml, without loss: `value = code · scale`, both ways.

| format | type | block of 32 values |
|---|---|---|
| `4g32` | Q4_0 | half-precision scale, code + 8 in 4 bits: value i in the low half of byte i, value i + 16 in the high half |
| `5g32` | Q5_0 | scale, 32 fifth bits, then as Q4_0 with code + 16 |
| `8g32` | Q8_0 | scale, codes as int8 |
| `f` | F32 | float32, no block |

Layouts as in ggml's `block_q4_0`, `block_q5_0` and `block_q8_0`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.number_format import FLOAT, Codes, NumberFormat, Packed

__all__ = ["BLOCK", "F32", "TYPES", "BlockType", "joined", "split", "tensor_bytes"]

BLOCK = 32
"""Values of a block."""

_HALF = BLOCK // 2


@dataclass(frozen=True, kw_only=True)
class BlockType:
    """A type of ggml's tensors.

    Args:
        name: in llama.cpp.
        number: in a file.
        size: bytes of a block, or of a value where there are no blocks.
    """

    name: str
    number: int
    size: int


F32 = BlockType(name="F32", number=0, size=4)

TYPES: Mapping[NumberFormat, BlockType] = MappingProxyType(
    {
        NumberFormat.parse(f"4g{BLOCK}"): BlockType(name="Q4_0", number=2, size=2 + BLOCK // 2),
        NumberFormat.parse(f"5g{BLOCK}"): BlockType(name="Q5_0", number=6, size=2 + 4 + BLOCK // 2),
        NumberFormat.parse(f"8g{BLOCK}"): BlockType(name="Q8_0", number=8, size=2 + BLOCK),
        FLOAT: F32,
    }
)
"""Format → the type that stores it exactly."""


def tensor_bytes(format: NumberFormat, values: int) -> int:
    """Bytes of so many values; for quantized formats a multiple of 32."""
    return TYPES[format].size * (values if format.is_float else values // BLOCK)


def joined(format: NumberFormat, codes: Codes, scales: NDArray[np.float16]) -> Packed:
    """Codes `[n, 32]` and scales `[n]` → blocks, uint8 `[n, size]`.

    Raises:
        ValueError: codes that do not fit into the bits.
    """
    bits = format.bits
    if codes.size and not (-(2 ** (bits - 1)) <= codes.min() and codes.max() < 2 ** (bits - 1)):
        raise ValueError(f"codes from {codes.min()} to {codes.max()} do not fit into {bits} bits")
    parts: list[NDArray[Any]] = [scales.astype("<f2")[:, None].view(np.uint8)]
    if bits == 8:
        return np.concatenate([*parts, codes.astype(np.int8).view(np.uint8)], axis=1)
    unsigned = (codes + 2 ** (bits - 1)).astype(np.uint8)
    if bits == 5:
        parts.append(np.packbits(unsigned >> 4, axis=1, bitorder="little"))
    parts.append((unsigned[:, :_HALF] & 15) | (unsigned[:, _HALF:] & 15) << 4)
    return np.concatenate(parts, axis=1)


def split(format: NumberFormat, blocks: Packed) -> tuple[Codes, NDArray[np.float16]]:
    """Inverse of `joined`: codes int16 `[n, 32]` and scales `[n]`."""
    scales = np.ascontiguousarray(blocks[:, :2]).view("<f2")[:, 0].astype(np.float16)
    if format.bits == 8:
        return np.ascontiguousarray(blocks[:, 2:]).view(np.int8).astype(np.int16), scales
    halves = blocks[:, -_HALF:]
    unsigned = np.concatenate([halves & 15, halves >> 4], axis=1).astype(np.int16)
    if format.bits == 5:
        unsigned |= np.unpackbits(blocks[:, 2:6], axis=1, bitorder="little").astype(np.int16) << 4
    return unsigned - np.int16(2 ** (format.bits - 1)), scales

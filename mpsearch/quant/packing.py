"""Codes of b bits in a row of bytes, two's complement, little-endian: the first code sits in the lowest bits of the first byte.

For 1, 2, 4 and 8 bits this is the layout of ONNX INT2/INT4/INT8 tensors; 3, 5, 6 and 7 bits run across byte borders.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack", "packed_bytes", "unpack"]


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
    if bits in (1, 2, 4):
        per_byte = 8 // bits
        padded = np.zeros(packed_bytes(flat.size, bits) * per_byte, dtype=np.uint8)
        padded[: flat.size] = unsigned
        shifted = padded.reshape(-1, per_byte) << np.arange(0, 8, bits, dtype=np.uint8)
        together: NDArray[np.uint8] = np.bitwise_or.reduce(shifted, axis=1).astype(np.uint8)
        return together
    planes = (unsigned[:, None] >> np.arange(bits, dtype=np.uint8)) & 1
    packed: NDArray[np.uint8] = np.packbits(planes.reshape(-1), bitorder="little")
    return packed


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

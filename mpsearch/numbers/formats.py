"""`Format`: how the quantized weight of a layer lies in the file, and which values its numbers mean. A closed set, one letter each.

| letter | format | codes `[C, n]` of b bits | scales | value |
|---|---|---|---|---|
| `u` | uniform | two's complement | s `[C]` | code · s |
| `h` | uniform, half a step off zero | two's complement | s `[C]` | (code + ½) · s |
| `t` | ternary, the `narrow` grid of 2 bits | −1, 0, 1; five in a byte, 1.6 bits each | s `[C]` | code · s |
| `p` | power of two | two's complement: sign and exponent | s `[C]` | ±2^−k · s, see `mpsearch.numbers.power_of_two` |
| `m` | multibit | bit i is the sign of base i | α `[C, 8]` | Σ_i ±α_i, see `mpsearch.numbers.multibit` |

A multibit layer holds exactly b·C sign planes, which its channels share out among themselves, 0 to 8 each: what it takes follows from
its bits alone. Before the planes stand their numbers, four bits a channel; an absent base has scale 0.

`dequantize` is what both the scored network and the loaded file run, so that their weights agree bit for bit. It alone needs torch, and
imports it then: costs and reports, which ask for sizes, do without.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mpsearch.numbers.grid import GridStyle
from mpsearch.numbers.packing import pack, pack_planes, pack_trits, packed_bytes, trit_bytes, unpack, unpack_planes, unpack_trits

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORMATS", "HALF", "MOST_BASES", "MULTIBIT", "POWER_OF_TWO", "TERNARY", "UNIFORM", "Format", "FormatOf", "grid_format"]

Codes = NDArray[np.int16]
Packed = NDArray[np.uint8]
Halves = NDArray[np.float16]

MOST_BASES = 8
"""Bases a channel of a multibit weight may have."""

_BASES = np.arange(MOST_BASES, dtype=np.int16)


@dataclass(frozen=True)
class Format(ABC):
    """One way to store a weight `[C channels, n]` at `bits` bits; every size follows from these three.

    Args:
        letter: what the file calls it.
    """

    letter: str

    def code_bytes(self, channels: int, n: int, bits: int) -> int:
        """Bytes of the packed codes."""
        return packed_bytes(channels * n, bits)

    def scale_count(self, channels: int, bits: int) -> int:
        """Number of half-precision scales."""
        return channels

    def pack(self, codes: Codes, scales: Halves, bits: int) -> tuple[Packed, Halves]:
        """Codes `[C, n]` and their scales → `code_bytes` bytes and `scale_count` scales.

        Raises:
            ValueError: codes that do not fit into the bits.
        """
        return pack(codes, bits), scales

    def unpack(self, packed: Packed, scales: Halves, n: int, bits: int) -> tuple[Codes, Halves]:
        """Inverse of `pack`.

        Raises:
            ValueError: bytes that no weight packs to.
        """
        return unpack(packed, bits, len(scales) * n).reshape(-1, n), scales

    @abstractmethod
    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Codes int16 `[C, n]`, float32 scales → float32 `[C, n]`."""


@dataclass(frozen=True)
class _Uniform(Format):
    offset: float = 0.0

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        from mpsearch.numbers.gradients import affine

        return affine.dequantize(codes, scales.unsqueeze(1), self.offset)


@dataclass(frozen=True)
class _Ternary(_Uniform):
    def code_bytes(self, channels: int, n: int, bits: int) -> int:
        return trit_bytes(channels * n)

    def pack(self, codes: Codes, scales: Halves, bits: int) -> tuple[Packed, Halves]:
        return pack_trits(codes), scales

    def unpack(self, packed: Packed, scales: Halves, n: int, bits: int) -> tuple[Codes, Halves]:
        return unpack_trits(packed, len(scales) * n).reshape(-1, n), scales


@dataclass(frozen=True)
class _PowerOfTwo(Format):
    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        from mpsearch.numbers import power_of_two

        return power_of_two.values(codes, scales)


@dataclass(frozen=True)
class _Multibit(Format):
    def code_bytes(self, channels: int, n: int, bits: int) -> int:
        return packed_bytes(channels, 4) + packed_bytes(channels * n, bits)

    def scale_count(self, channels: int, bits: int) -> int:
        return bits * channels

    def pack(self, codes: Codes, scales: Halves, bits: int) -> tuple[Packed, Halves]:
        present = scales != 0
        counts = present.sum(1)
        missing = bits * len(codes) - int(counts.sum())
        if missing < 0:
            raise ValueError(f"{int(counts.sum())} bases in {len(codes)} channels are more than {bits} a channel on average")
        room = MOST_BASES - counts
        filled = counts + np.clip(missing - (room.cumsum() - room), 0, room)  # bases of scale 0 make the number exact
        order = np.argsort(~present, axis=1, kind="stable")
        planes = np.take_along_axis((codes[:, None, :] >> _BASES[:, None]) & 1, order[:, :, None], axis=1)
        held = filled[:, None] > _BASES
        head = pack(np.where(filled < 8, filled, filled - 16), 4)  # 0 to 8 in four bits of two's complement
        return np.concatenate([head, pack_planes(planes[held])]), np.take_along_axis(scales, order, axis=1)[held]

    def unpack(self, packed: Packed, scales: Halves, n: int, bits: int) -> tuple[Codes, Halves]:
        channels = len(scales) // bits
        head = packed_bytes(channels, 4)
        counts = unpack(packed[:head], 4, channels) & 15
        if counts.max(initial=0) > MOST_BASES or int(counts.sum()) != bits * channels:
            raise ValueError(f"{channels} channels hold {int(counts.sum())} bases, up to {counts.max(initial=0)}; not {bits} on average")
        held = counts[:, None] > _BASES
        alphas = np.zeros(held.shape, dtype=np.float16)
        alphas[held] = scales
        planes = np.zeros((*held.shape, n), dtype=np.int16)
        planes[held] = unpack_planes(packed[head:], len(scales), n)
        return (planes << _BASES[:, None]).sum(1, dtype=np.int16), alphas

    def dequantize(self, codes: Tensor, scales: Tensor) -> Tensor:
        from mpsearch.numbers import multibit

        return multibit.values(codes, scales)


UNIFORM: Format = _Uniform("u")
HALF: Format = _Uniform("h", 0.5)
TERNARY: Format = _Ternary("t")
POWER_OF_TWO: Format = _PowerOfTwo("p")
MULTIBIT: Format = _Multibit("m")

FORMATS: Mapping[str, Format] = {format.letter: format for format in (UNIFORM, HALF, TERNARY, POWER_OF_TWO, MULTIBIT)}
"""Format by letter."""

FormatOf = Callable[[int], Format]
"""Weight bits, 1 to 8 → the format a method writes them in."""


def grid_format(bits: int, style: GridStyle = "twos") -> Format:
    """The format of the codes of `weight_grid(bits, style)`."""
    if bits == 1 or style == "half":
        return HALF
    return TERNARY if style == "narrow" and bits == 2 else UNIFORM

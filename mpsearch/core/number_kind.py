"""`NumberKind`: what the formats of one kind have in common: packing, exact sizes and values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["NUMBER_KINDS", "Codes", "NumberKind", "Packed", "Scales"]

Codes = NDArray[np.int16]
Packed = NDArray[np.uint8]
Scales = NDArray[np.float16] | NDArray[np.float32]


class NumberKind(ABC):
    """Conversion between codes, scales and values. Each row of an array has one scale.

    Each module of `mpsearch.numbers.kinds` defines one kind. Sizes and packing need only numpy; `encode` and `decode` import torch.
    """

    name: ClassVar[str]
    letter: ClassVar[str]
    """Prefix of the spelling; "" for uniform numbers."""
    widths: ClassVar[tuple[int, ...]]
    """Possible bits of a code. A kind with a single width is spelled without it."""
    zero_points: ClassVar[bool] = False
    """Whether codes may be shifted by a zero point."""
    evenly_spaced: ClassVar[bool] = False
    """Whether values are `(code + offset) · scale`."""
    grouped: ClassVar[bool] = True
    """Whether per-tensor and per-group scales are possible."""
    superblocks: ClassVar[bool] = False
    """Whether there are superblocks; then `pack_superblocks` and its like take their scales, too."""

    def integer_unit(self, bits: int) -> float | None:
        """u, a power of two, if every value is an integer below 2^9 times `u · scale`; None: there is no such unit."""
        return None

    def bits_per_value(self, bits: int) -> float:
        """Mean bits per value, without scales."""
        return bits

    @abstractmethod
    def code_bytes(self, rows: int, columns: int, bits: int) -> int:
        """Bytes of the packed codes of a weight `[rows, columns]`."""

    def scale_count(self, rows: int, bits: int) -> int:
        """Number of half-precision scales."""
        return rows

    @abstractmethod
    def pack(self, codes: Codes, scales: Scales, bits: int) -> tuple[Packed, Scales]:
        """Codes `[rows, columns]` and their scales → `code_bytes` bytes and `scale_count` scales.

        Raises:
            ValueError: codes that do not fit into the bits.
        """

    @abstractmethod
    def unpack(self, packed: Packed, scales: Scales, columns: int, bits: int) -> tuple[Codes, Scales]:
        """Inverse of `pack`.

        Raises:
            ValueError: the bytes are not those of a packed weight.
        """

    def superblock_bytes(self, rows: int, columns: int, bits: int) -> int:
        """Bytes of what `pack_superblocks` packs; only where there are superblocks."""
        raise NotImplementedError

    def pack_superblocks(self, codes: Codes, scales: Scales, bits: int) -> tuple[Packed, Scales]:
        """Codes `[rows, 16]` and float32 scales `[rows]` → codes and multiples as bytes, and a unit for each superblock.

        With offsets: codes `[rows, 32]`, scales and offsets `[rows, 2]`, two units.
        """
        raise NotImplementedError

    def unpack_superblocks(self, packed: Packed, scales: Scales, columns: int, bits: int) -> tuple[Codes, Scales]:
        """Inverse of `pack_superblocks`."""
        raise NotImplementedError

    @abstractmethod
    def encode(self, values: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """Float `[rows, columns]` → codes int16 alike and scales of small squared error, float32 `[rows]` or `[rows, bases]`."""

    @abstractmethod
    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Codes int16 `[rows, columns]` and float32 scales → float32 `[rows, columns]`; `[rows, 2]`: with offsets of superblocks."""


NUMBER_KINDS: Registry[NumberKind] = Registry("kind of number", "mpsearch.numbers.kinds")

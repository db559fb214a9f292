"""`ternary`: −s, 0 and s; five codes per byte, 1.6 bits each."""

from __future__ import annotations

from typing import ClassVar

from mpsearch.core.number_format import NUMBER_KINDS, Codes, Packed, Scales
from mpsearch.numbers.grid import Grid
from mpsearch.numbers.kinds.uniform import Uniform
from mpsearch.numbers.packing import pack_trits, trit_bytes, unpack_trits

__all__ = ["Ternary"]

_BITS = 1.6
"""8 bits for five codes; the minimum is log2 3 = 1.585."""


class Ternary(Uniform):
    """Three evenly spaced numbers."""

    name: ClassVar[str] = "ternary"
    letter: ClassVar[str] = "t"
    superblocks: ClassVar[bool] = False
    zero_points: ClassVar[bool] = False
    widths: ClassVar[tuple[int, ...]] = (2,)

    def bits_per_value(self, bits: int) -> float:
        """1.6."""
        return _BITS

    def code_bytes(self, rows: int, columns: int, bits: int) -> int:
        """`⌈rows · columns / 5⌉`."""
        return trit_bytes(rows * columns)

    def pack(self, codes: Codes, scales: Scales, bits: int) -> tuple[Packed, Scales]:
        """Five codes per byte; the first is the lowest digit."""
        return pack_trits(codes), scales

    def unpack(self, packed: Packed, scales: Scales, columns: int, bits: int) -> tuple[Codes, Scales]:
        """Inverse of `pack`."""
        return unpack_trits(packed, len(scales) * columns).reshape(-1, columns), scales

    def grid(self, bits: int) -> Grid:
        """Codes −1, 0 and 1."""
        return Grid(-1, 1)


NUMBER_KINDS.register(Ternary.name)(Ternary())

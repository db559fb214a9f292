"""`uniform`: `value = code · scale`, codes in two's complement; methods store one-bit weights as `half_step`, {−s/2, s/2}."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mpsearch.core.number_format import NUMBER_KINDS, Codes, Halves, NumberKind, Packed
from mpsearch.numbers.packing import pack, packed_bytes, unpack

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Uniform"]


class Uniform(NumberKind):
    """Evenly spaced numbers."""

    name: ClassVar[str] = "uniform"
    letter: ClassVar[str] = ""
    evenly_spaced: ClassVar[bool] = True
    widths: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6, 7, 8)
    zero_points: ClassVar[bool] = True
    offset: ClassVar[float] = 0.0
    """`value = (code + offset) · scale`."""

    def code_bytes(self, rows: int, columns: int, bits: int) -> int:
        """`⌈rows · columns · bits / 8⌉`."""
        return packed_bytes(rows * columns, bits)

    def pack(self, codes: Codes, scales: Halves, bits: int) -> tuple[Packed, Halves]:
        """Codes in two's complement, little-endian, without gaps."""
        return pack(codes, bits), scales

    def unpack(self, packed: Packed, scales: Halves, columns: int, bits: int) -> tuple[Codes, Halves]:
        """Inverse of `pack`."""
        return unpack(packed, bits, len(scales) * columns).reshape(-1, columns), scales

    def encode(self, values: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """Rounded to the nearest level, with the step of least squared error per row."""
        from mpsearch.numbers.gradients.affine import codes
        from mpsearch.numbers.grid import Grid
        from mpsearch.numbers.ranges import fit_steps

        grid = Grid(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, self.offset)
        steps = fit_steps(values, grid)
        return codes(values, steps.unsqueeze(1), grid), steps

    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """`(code + offset) · scale`."""
        from mpsearch.numbers.gradients import affine

        return affine.dequantize(codes, scales.unsqueeze(1), self.offset)


NUMBER_KINDS.register(Uniform.name)(Uniform())

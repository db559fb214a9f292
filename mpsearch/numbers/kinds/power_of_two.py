"""`power_of_two`: `±2^−k · scale`, a sign and an exponent; see `mpsearch.numbers.power_of_two`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mpsearch.core.number_format import NUMBER_KINDS
from mpsearch.numbers.packing import TwosComplement

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PowerOfTwo"]


_INTEGER_BITS = 4
"""Bits up to which values are integers of at most 8 bits in units of the smallest."""


class PowerOfTwo(TwosComplement):
    """Powers of two and their negatives; there is no zero."""

    name: ClassVar[str] = "power_of_two"
    letter: ClassVar[str] = "p"

    def integer_unit(self, bits: int) -> float | None:
        """The smallest magnitude, up to 4 bits."""
        return 2.0 ** -(2 ** (bits - 1) - 1) if bits <= _INTEGER_BITS else None

    def encode(self, values: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """Codes by rounding in the logarithm; scales fitted alternately with the codes, starting at the largest magnitude of each row."""
        from mpsearch.numbers.power_of_two import codes, fit_scales

        largest = values.abs().amax(1)
        scales = fit_scales(values, largest.where(largest > 0, largest.new_ones(())), bits)
        return codes(values, scales, bits), scales

    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """`±2^−k · scale`."""
        from mpsearch.numbers import power_of_two

        return power_of_two.values(codes, scales)


NUMBER_KINDS.register(PowerOfTwo.name)(PowerOfTwo())

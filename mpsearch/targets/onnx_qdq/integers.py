"""Which integers hold the codes of a format: `value = integer · scale`, 4 or 8 bits in two's complement, 2 where they are asked for.

| format | bits | integers |
|---|---|---|
| uniform, 2 to 4 bits | 4 | the codes |
| uniform, 5 to 8 bits | 8 | the codes |
| half-step, 1 to 3 bits | 4 | `2 · code + 1`, of half the scale |
| half-step, 4 to 7 bits | 8 | the same |
| ternary | 4 | −1, 0, 1 |
| uniform of 2 bits, half-step of 1 bit, ternary, where two bits are asked for | 2 | the same |
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mpsearch.core.number_format import NumberFormat

__all__ = ["Integers", "integers_of"]


@dataclass(frozen=True)
class Integers:
    """The integers of a format.

    Args:
        bits: of an integer: 2, 4 or 8.
        doubled: whether they are `2 · code + 1`.
    """

    bits: int
    doubled: bool = False

    @property
    def dtype(self) -> str:
        """Name of their type."""
        return f"int{self.bits}"

    def of_codes(self, codes: Tensor) -> Tensor:
        """Codes → integers, int16."""
        return 2 * codes + 1 if self.doubled else codes

    def codes(self, integers: Tensor) -> Tensor:
        """Inverse of `of_codes`.

        Raises:
            ValueError: an integer that no code has.
        """
        if self.doubled and bool((integers % 2 == 0).any()):
            raise ValueError("an even number in a weight without a zero")
        return (integers - 1).div(2, rounding_mode="floor") if self.doubled else integers

    @property
    def scale(self) -> float:
        """By which a scale is multiplied."""
        return 0.5 if self.doubled else 1.0


def integers_of(format: NumberFormat, *, int2: bool = False) -> Integers | None:
    """The integers of a weight's format, of 2 bits only if `int2`; None if 8 bits or a scale do not give their values."""
    if format.kind not in ("uniform", "half_step", "ternary"):
        return None
    doubled = format.kind == "half_step"
    needed = format.bits + doubled
    bits = next((bits for bits in ((2, 4, 8) if int2 else (4, 8)) if needed <= bits), None)
    return None if bits is None else Integers(bits, doubled)

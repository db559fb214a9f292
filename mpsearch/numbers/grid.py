"""`Grid`: the integer codes of a format and their values; `value = (code + offset) · step`, `lo ≤ code ≤ hi`.

| format | weights, b bits | values / step |
|---|---|---|
| `twos` (default) | two's complement, all 2^b codes | −2^(b−1) … 2^(b−1)−1 |
| `narrow` | two's complement without the lowest code, symmetric | −(2^(b−1)−1) … 2^(b−1)−1 |
| `half` | mid-rise: all 2^b codes, shifted by half a step, symmetric without a zero | −(2^(b−1)−½) … 2^(b−1)−½ |

One bit is always mid-rise: codes {−1, 0} are the values {−step/2, +step/2}, that is {−s, +s} with s = step/2. Codes are stored in
two's complement of b bits in every format.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

from mpsearch.core.number_format import NumberFormat

__all__ = ["GRID_STYLES", "Grid", "GridStyle", "act_grid", "grid_of", "stored_as_grid", "weight_grid"]

GridStyle = Literal["twos", "narrow", "half"]
GRID_STYLES: tuple[str, ...] = get_args(GridStyle)


@dataclass(frozen=True)
class Grid:
    """Codes `lo … hi`, values `(code + offset) · step`."""

    lo: int
    hi: int
    offset: float = 0.0

    @property
    def levels(self) -> int:
        """Number of values."""
        return self.hi - self.lo + 1


def weight_grid(bits: int, style: GridStyle = "twos") -> Grid:
    """Grid of a weight at 1 to 8 bits.

    Raises:
        ValueError: bits outside 1 … 8 or an unknown style.
    """
    if not 1 <= bits <= 8:
        raise ValueError(f"weight bits go from 1 to 8, not {bits}")
    if style not in GRID_STYLES:
        raise ValueError(f"grid style is one of {', '.join(GRID_STYLES)}, not {style!r}")
    half = 2 ** (bits - 1)
    if bits == 1 or style == "half":
        return Grid(-half, half - 1, 0.5)
    return Grid(-half + (style == "narrow"), half - 1)


def act_grid(bits: int, signed: bool) -> Grid:
    """Grid of an activation at 2 to 8 bits: `0 … 2^b−1` for inputs that are never negative, two's complement for signed ones.

    Raises:
        ValueError: bits outside 2 … 8.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"activation bits go from 2 to 8, not {bits}")
    return Grid(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else Grid(0, 2**bits - 1)


def grid_of(format: NumberFormat, style: GridStyle = "twos") -> Grid:
    """Grid of a weight in an evenly spaced format; `style` selects the levels of `uniform`."""
    if format.kind == "ternary":
        return weight_grid(format.bits, "narrow")
    if format.granularity == "offset_superblock":
        return Grid(0, 2**format.bits - 1)
    if format.zero_point:
        return weight_grid(format.bits, "twos")
    return weight_grid(format.bits, "half" if format.kind == "half_step" else style)


def stored_as_grid(format: NumberFormat, style: GridStyle = "twos") -> NumberFormat:
    """The format in which a file stores the codes of `grid_of(format, style)`."""
    if format.kind != "uniform" or format.zero_point:
        return format
    if format.bits == 1 or style == "half":
        return replace(format, kind="half_step")
    return replace(format, kind="ternary") if style == "narrow" and format.bits == 2 else format

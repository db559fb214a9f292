"""`ActFormat`: which values a layer's quantized input takes. A closed set, one letter each, after the bits in the file.

| letter | levels at b bits, scale s |
|---|---|
| `u` | `0, 1 … 2^b − 1`, times s |
| `s` | `−2^(b−1) … 2^(b−1) − 1`, times s |
| `p` | 0 and the powers of two `2^−k · s`, `k < min(2^(b−1), 16)` |
| `q` | `±2^−k · s`, as many, without a zero |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["ACT_FORMATS", "DEEPEST", "ActFormat", "act_format"]

DEEPEST = 15
"""Powers of two below the largest that are of use: what lies deeper adds nothing that a sum would notice."""


@dataclass(frozen=True)
class ActFormat:
    """What the levels of an activation are.

    Args:
        letter: what the file calls it.
        signed: whether there are negative ones.
        powers: whether they are powers of two; else they are evenly spaced.
    """

    letter: str
    signed: bool
    powers: bool

    def datatype(self, bits: int) -> str:
        """What hardware would call a number of so many bits."""
        if self.powers:
            return f"{bits} bits, {'sign' if self.signed else 'zero'} and power of two"
        return f"{'int' if self.signed else 'uint'}{bits}"


ACT_FORMATS: Mapping[str, ActFormat] = {
    letter: ActFormat(letter, signed, powers)
    for letter, signed, powers in (("u", False, False), ("s", True, False), ("p", False, True), ("q", True, True))
}
"""Format by letter."""


def act_format(*, signed: bool, powers: bool) -> ActFormat:
    """The format of such levels."""
    return next(format for format in ACT_FORMATS.values() if (format.signed, format.powers) == (signed, powers))

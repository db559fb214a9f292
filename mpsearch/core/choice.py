"""`Choice`: the weight and activation bits of one layer, spelled `w4a8`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mpsearch.core.errors import ConfigError

__all__ = ["FLOAT_BITS", "Choice", "parse_bits"]

FLOAT_BITS = 32
"""Bits of an unquantized tensor: float32."""

_SPELLING = re.compile(r"w(?P<w>\d+|f)a(?P<a>\d+|f)")


def parse_bits(value: object, *, lowest: int, path: str = "bits") -> int:
    """Bits from YAML: an integer from `lowest` to 8, or `float` (also 32).

    Raises:
        ConfigError: anything else, naming `path`.
    """
    if value in ("float", "f", FLOAT_BITS, str(FLOAT_BITS)):
        return FLOAT_BITS
    if isinstance(value, str) and value.isdigit():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and lowest <= value <= 8:
        return value
    raise ConfigError(f"{path}: bits are an integer from {lowest} to 8 or 'float', not {value!r}", path=path)


@dataclass(frozen=True, order=True)
class Choice:
    """Bits of one layer: `weight_bits` 1 to 8 or 32 (float), `act_bits` 2 to 8 or 32 (float); `act_bits` are those of its input."""

    weight_bits: int
    act_bits: int = FLOAT_BITS

    def __str__(self) -> str:
        w = "f" if self.weight_bits == FLOAT_BITS else str(self.weight_bits)
        a = "f" if self.act_bits == FLOAT_BITS else str(self.act_bits)
        return f"w{w}a{a}"

    @classmethod
    def parse(cls, text: object, *, path: str = "choice") -> Choice:
        """`w4a8`, `w2af`, `wfaf`; an integer alone means weights only (`4` is `w4af`).

        Raises:
            ConfigError: not a choice.
        """
        if isinstance(text, int) and not isinstance(text, bool):
            return cls(parse_bits(text, lowest=1, path=path))
        match = _SPELLING.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ConfigError(f"{path}: a choice is spelled like w4a8 or w2af (f is float), not {text!r}", path=path)
        return cls(parse_bits(match["w"], lowest=1, path=path), parse_bits(match["a"], lowest=2, path=path))

"""`Choice`: the number formats of one layer's weight and of its input, spelled `w4a8`."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import total_ordering
from typing import Any

from mpsearch.core.errors import ConfigError
from mpsearch.core.number_format import FLOAT, NumberFormat, as_format

__all__ = ["Choice"]

_SPELLING = re.compile(r"w(?P<weight>[^a]+)a(?P<activation>[^a]+)")
_ACT_WIDTHS = range(2, 9)


@total_ordering
@dataclass(frozen=True, init=False)
class Choice:
    """The formats of one layer; ordered by the weight's format, then by the activation's.

    Args:
        weight: format of the weight; a whole number stands for uniform bits, 32 for float.
        activation: format of the layer's input, likewise; 2 bits or more, float by default.

    Raises:
        ConfigError: an activation cannot have the format.
    """

    weight: NumberFormat
    activation: NumberFormat
    _hash: int = field(repr=False, compare=False)

    def __init__(self, weight: NumberFormat | int, activation: NumberFormat | int = FLOAT) -> None:
        object.__setattr__(self, "weight", as_format(weight))
        object.__setattr__(self, "activation", _checked(as_format(activation)))
        object.__setattr__(self, "_hash", hash((self.weight, self.activation)))

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return Choice, (self.weight, self.activation)  # hashes of strings differ from process to process

    def __lt__(self, other: Choice) -> bool:
        return (self.weight, self.activation) < (other.weight, other.activation)

    def __repr__(self) -> str:
        return f"Choice.parse('{self}')"

    def __str__(self) -> str:
        return f"w{self.weight}a{self.activation}"

    @classmethod
    def parse(cls, text: object, *, path: str = "choice") -> Choice:
        """`w4a8`, `w2af`, `wta8`, `w4g64a8`; an integer alone is the weight's bits, with a float input (`4` is `w4af`).

        Raises:
            ConfigError: not a choice.
        """
        if isinstance(text, int) and not isinstance(text, bool):
            return cls(NumberFormat.parse(text, path=path))
        match = _SPELLING.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ConfigError(f"{path}: a choice is spelled like w4a8, w2af or wta8 (f is float), not {text!r}", path=path)
        try:
            return cls(NumberFormat.parse(match["weight"], path=path), NumberFormat.parse(match["activation"], path=path))
        except ConfigError as error:
            raise error if error.path else ConfigError(f"{path}: {error}", path=path) from error

    @property
    def weight_bits(self) -> int:
        """Bits of a weight; 32 for float."""
        return self.weight.bits

    @property
    def act_bits(self) -> int:
        """Bits of the input; 32 for float."""
        return self.activation.bits

    def at_least(self, other: Choice) -> bool:
        """Whether the weight and the input are both at least as precise as in `other`."""
        return self.weight.at_least(other.weight) and self.activation.at_least(other.activation)


def _checked(format: NumberFormat) -> NumberFormat:
    if format.is_float:
        return format
    if format.bits not in _ACT_WIDTHS:
        raise ConfigError(f"activations have 2 to 8 bits or float, not {format.bits}")
    if format.kind not in ("uniform", "power_of_two") or format.granularity != "channel" or format.zero_point:
        raise ConfigError(f"activations are uniform or powers of two with one scale per tensor, not '{format}'")
    return format

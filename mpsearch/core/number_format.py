"""`NumberFormat`: how numbers are written, in one word: kind, bits, granularity, symmetry.

| spelling | format |
|---|---|
| `4` | uniform, 4 bits; on a menu: 4 bits with the levels of the method that trains them |
| `h4` | half-step: 4 bits, evenly spaced, half a step off zero |
| `t` | ternary, five values in a byte: 1.6 bits |
| `p4` | power of two: sign and exponent in 4 bits |
| `m2` | multibit: two scaled sign vectors a channel on average |
| `f` | float32 |

Behind it may stand the granularity (`s`: one scale a tensor; `g32`, `g64`, `g128`: one for so many values along the input; else one an
output channel) and `z` for a zero point: `4g64z` has 4 bits, a scale and a zero point for each 64 values.

What a kind does with the numbers lies in one file each, `mpsearch.numbers.kinds`, and is found by name.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import total_ordering
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
from numpy.typing import NDArray

from mpsearch.core.errors import ConfigError
from mpsearch.core.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FLOAT",
    "FLOAT_BITS",
    "GROUPS",
    "NUMBER_KINDS",
    "Codes",
    "Granularity",
    "Halves",
    "NumberFormat",
    "NumberKind",
    "Packed",
    "StoredAs",
    "as_format",
]

FLOAT_BITS = 32
"""Bits of a number that is not quantized: float32."""

GROUPS = (32, 64, 128)
"""Values along the input that may share a scale."""

Granularity = Literal["tensor", "channel", 32, 64, 128]
"""What shares a scale: the whole tensor, an output channel, or so many values of one along the input. Activations, which have no output
channels, share one in any case."""

Codes = NDArray[np.int16]
Packed = NDArray[np.uint8]
Halves = NDArray[np.float16]

_SPELLING = re.compile(r"(?P<kind>[a-z]?)(?P<bits>\d*)(?:g(?P<group>\d+)|(?P<tensor>s))?(?P<zero>z?)")


class NumberKind(ABC):
    """How codes and scales become values. Arrays have a row for everything that shares a scale.

    One file of `mpsearch.numbers.kinds` is one kind. Sizes need numpy alone; `encode` and `decode` import torch when they are called.
    """

    name: ClassVar[str]
    letter: ClassVar[str]
    """In spellings; "" for uniform numbers."""
    widths: ClassVar[tuple[int, ...]]
    """Bits a code may have. A kind with one width is spelled without it."""
    zero_points: ClassVar[bool] = False
    """Whether codes may be shifted by a zero point."""
    evenly_spaced: ClassVar[bool] = False
    """Whether values are `(code + offset) · scale`."""
    grouped: ClassVar[bool] = True
    """Whether something else than an output channel may share a scale."""

    def bits_per_value(self, bits: int) -> float:
        """Bits that a value takes on average, scales apart."""
        return bits

    @abstractmethod
    def code_bytes(self, rows: int, columns: int, bits: int) -> int:
        """Bytes of the packed codes of a weight `[rows, columns]`."""

    def scale_count(self, rows: int, bits: int) -> int:
        """Number of half-precision scales."""
        return rows

    @abstractmethod
    def pack(self, codes: Codes, scales: Halves, bits: int) -> tuple[Packed, Halves]:
        """Codes `[rows, columns]` and their scales → `code_bytes` bytes and `scale_count` scales.

        Raises:
            ValueError: codes that do not fit into the bits.
        """

    @abstractmethod
    def unpack(self, packed: Packed, scales: Halves, columns: int, bits: int) -> tuple[Codes, Halves]:
        """Inverse of `pack`.

        Raises:
            ValueError: bytes that no weight packs to.
        """

    @abstractmethod
    def encode(self, values: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """Float `[rows, columns]` → codes int16 alike and scales of small squared error, float32 `[rows]` or `[rows, bases]`."""

    @abstractmethod
    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """Codes int16 `[rows, columns]` and float32 scales → float32 `[rows, columns]`."""


NUMBER_KINDS: Registry[NumberKind] = Registry("kind of number", "mpsearch.numbers.kinds")


@total_ordering
@dataclass(frozen=True)
class NumberFormat:
    """One way to write numbers; formats are ordered by the bits of a value.

    Args:
        kind: name in `NUMBER_KINDS`, such as `uniform`.
        bits: of a code; 32 for float.
        granularity: what shares a scale.
        zero_point: whether codes are shifted so that they cover another range than one around zero.

    Raises:
        ConfigError: bits that the kind does not have, or a granularity or zero point that it cannot take.
    """

    kind: str = "uniform"
    bits: int = FLOAT_BITS
    granularity: Granularity = "channel"
    zero_point: bool = False
    _order: tuple[Any, ...] = field(init=False, repr=False, compare=False, default=())
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        if self.kind == "float":
            per_value: float = FLOAT_BITS
        else:
            kind = NUMBER_KINDS[self.kind]
            self._check(kind)
            per_value = kind.bits_per_value(self.bits)
        order = (per_value, self.kind != "uniform", self.kind, self.bits, str(self.granularity), self.zero_point)
        object.__setattr__(self, "_order", order)
        object.__setattr__(self, "_hash", hash(order))

    def _check(self, kind: NumberKind) -> None:
        if self.bits not in kind.widths:
            least, most = kind.widths[0], kind.widths[-1]
            raise ConfigError(f"{kind.name} numbers have {f'{least} to {most}' if least < most else least} bits, not {self.bits}")
        if self.granularity not in ("channel", "tensor", *GROUPS):
            raise ConfigError(f"a group has {', '.join(map(str, GROUPS))} values, not {self.granularity}")
        if self.granularity != "channel" and not kind.grouped:
            raise ConfigError(f"{kind.name} numbers have scales by output channel only")
        if self.zero_point and not kind.zero_points:
            raise ConfigError(f"{kind.name} numbers have no zero point; uniform ones may")
        if self.zero_point and self.bits < 2:
            raise ConfigError("a zero point needs 2 bits or more: with one bit no two levels are of use beside an exact zero")

    def __hash__(self) -> int:
        return self._hash

    def __lt__(self, other: NumberFormat) -> bool:
        return self._order < other._order

    def __repr__(self) -> str:
        return f"NumberFormat.parse('{self}')"

    def __str__(self) -> str:
        if self.is_float:
            return "f"
        kind = NUMBER_KINDS[self.kind]
        bits = str(self.bits) if len(kind.widths) > 1 else ""
        shared = {"channel": "", "tensor": "s"}.get(str(self.granularity), f"g{self.granularity}")
        return f"{kind.letter}{bits}{shared}{'z' if self.zero_point else ''}"

    @classmethod
    def parse(cls, text: object, *, path: str = "format") -> NumberFormat:
        """A format from its spelling; a whole number is uniform, `float`, `f` and 32 are float32.

        Raises:
            ConfigError: no such format, naming `path`.
        """
        if isinstance(text, int) and not isinstance(text, bool):
            text = str(text)
        if text in ("float", "f", str(FLOAT_BITS)):
            return FLOAT
        match = _SPELLING.fullmatch(text) if isinstance(text, str) else None
        kinds = {kind.letter: kind for _, kind in NUMBER_KINDS.items()}
        if match is None or match["kind"] not in kinds or (not match["bits"] and len(kinds[match["kind"]].widths) > 1):
            examples = ", ".join(f"{letter}{'' if len(kind.widths) == 1 else 4}" for letter, kind in sorted(kinds.items()))
            raise ConfigError(f"{path}: {text!r} is no number format; write one like {examples}, 4g64, 4z or float", path=path)
        kind = kinds[match["kind"]]
        shared = int(match["group"]) if match["group"] else "tensor" if match["tensor"] else "channel"
        try:
            bits = int(match["bits"]) if match["bits"] else kind.widths[0]
            return cls(kind.name, bits, cast(Granularity, shared), bool(match["zero"]))
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}, got {text!r}", path=path) from error

    @property
    def is_float(self) -> bool:
        """Whether nothing is quantized."""
        return self.kind == "float"

    @property
    def evenly_spaced(self) -> bool:
        """Whether values are `(code + offset) · scale`; float ones are not."""
        return not self.is_float and NUMBER_KINDS[self.kind].evenly_spaced

    @property
    def bits_per_value(self) -> float:
        """Bits that a value takes, scales apart: 1.6 for ternary numbers, else `bits`."""
        return float(self._order[0])

    @property
    def family(self) -> tuple[str, str, bool]:
        """Everything but the bits: formats of one family differ in precision alone."""
        return self.kind, str(self.granularity), self.zero_point

    def at_least(self, other: NumberFormat) -> bool:
        """Whether no number is written worse than by `other`: float, or the same family with as many bits."""
        return self.is_float or (self.family == other.family and self.bits >= other.bits)

    def code_bytes(self, rows: int, columns: int) -> int:
        """Bytes of the packed codes of `rows` times `columns` numbers."""
        return NUMBER_KINDS[self.kind].code_bytes(rows, columns, self.bits)

    def scale_count(self, rows: int) -> int:
        """Half-precision scales of `rows` rows that have one each, or one a sign vector."""
        return NUMBER_KINDS[self.kind].scale_count(rows, self.bits)

    def pack(self, codes: Codes, scales: Halves) -> tuple[Packed, Halves]:
        """Codes `[rows, columns]` and scales as a file holds them.

        Raises:
            ValueError: codes that do not fit into the bits.
        """
        return NUMBER_KINDS[self.kind].pack(codes, scales, self.bits)

    def unpack(self, packed: Packed, scales: Halves, columns: int) -> tuple[Codes, Halves]:
        """Inverse of `pack`.

        Raises:
            ValueError: bytes that no codes pack to.
        """
        return NUMBER_KINDS[self.kind].unpack(packed, scales, columns, self.bits)

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Float `[rows, columns]` → codes int16 `[rows, columns]` and float32 scales of small squared error."""
        return NUMBER_KINDS[self.kind].encode(values, self.bits)

    def decode(self, codes: Tensor, scales: Tensor, zeros: Tensor | None = None) -> Tensor:
        """Codes int16 `[rows, columns]` and float32 scales → float32 `[rows, columns]`; `zeros` are the codes of 0, `[rows]`."""
        return NUMBER_KINDS[self.kind].decode(codes if zeros is None else codes - zeros.to(codes.dtype).unsqueeze(1), scales)


FLOAT = NumberFormat("float", FLOAT_BITS)
"""float32."""

StoredAs = Callable[[NumberFormat], "NumberFormat | None"]
"""Format on a menu → the one a method writes for it; None where the method cannot train it."""


def as_format(given: NumberFormat | int) -> NumberFormat:
    """A format as it is; a whole number as uniform bits, 32 as float."""
    if isinstance(given, NumberFormat):
        return given
    return FLOAT if given == FLOAT_BITS else NumberFormat("uniform", given)

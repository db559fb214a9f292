"""`NumberFormat`: how numbers are stored: kind, bits, granularity and zero point.

| spelling | format |
|---|---|
| `4` | uniform, 4 bits; on a menu: 4 bits on the grid of the quantization method |
| `h4` | half-step: 4 bits, evenly spaced, offset from zero by half a step |
| `t` | ternary, five values in a byte: 1.6 bits |
| `p4` | power of two: sign and exponent in 4 bits |
| `m2` | multibit: two scaled sign vectors per channel on average |
| `f` | float32 |

A suffix gives the granularity (`s`: one scale per tensor; `g32`, `g64`, `g128`: one per group of so many values along the input; `k`:
superblocks, groups of 16 whose scales are whole multiples of one per 256, as in llama.cpp's K types; none: one per output channel), and `z`
adds a zero point: `4g64z` has 4 bits, and a scale and a zero point for each group of 64 values. Superblocks with `z` have groups of 32 with
scales, and offsets that are taken off, which are multiples of two numbers per 256.

Each kind is one module of `mpsearch.numbers.kinds`, looked up by name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import total_ordering
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, cast

from mpsearch.core.errors import ConfigError
from mpsearch.core.number_kind import NUMBER_KINDS, Codes, NumberKind, Packed, Scales

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FLOAT",
    "FLOAT_BITS",
    "GROUPS",
    "GROUP_OF",
    "MOST_OFFSETS",
    "MULTIPLES",
    "NUMBER_KINDS",
    "OFFSET_BITS",
    "SUPERBLOCK",
    "Codes",
    "Granularity",
    "NumberFormat",
    "NumberKind",
    "Packed",
    "Scales",
    "StoredAs",
    "as_format",
]

FLOAT_BITS = 32
"""Bits of a number that is not quantized: float32."""

GROUPS = (32, 64, 128)
"""Group sizes: numbers of values along the input that can share a scale."""

Granularity = Literal["tensor", "channel", "superblock", "offset_superblock", 32, 64, 128]
"""What shares a scale: the whole tensor, an output channel, a group of so many values along the input, one of 16 groups in a superblock, or
one of 8 in a superblock with offsets. Activations always have one scale per tensor."""

SUPERBLOCK = 256
"""Values of a superblock."""

GROUP_OF: Mapping[Granularity, int] = MappingProxyType({"superblock": 16, "offset_superblock": 32, 32: 32, 64: 64, 128: 128})
"""Granularity → values along the input that share a scale."""

MULTIPLES: Mapping[int, int] = MappingProxyType({2: 15, 3: 31, 6: 127})
"""Bits of a superblock's codes → its largest scale in units of the superblock."""

OFFSET_BITS = (4, 5)
"""Bits of the codes of superblocks with offsets."""

MOST_OFFSETS = 63
"""Largest scale and offset of a superblock with offsets, in units of the superblock."""

_SPELLING = re.compile(
    r"(?P<kind>[a-z]?)(?P<bits>(?:0|[1-9][0-9]{0,2})?)(?:g(?P<group>[1-9][0-9]{0,3})|(?P<tensor>s)|(?P<superblock>k))?(?P<zero>z?)"
)


@total_ordering
@dataclass(frozen=True)
class NumberFormat:
    """One way to store numbers; formats are ordered by bits per value.

    Args:
        kind: name in `NUMBER_KINDS`, such as `uniform`.
        bits: of a code; 32 for float.
        granularity: what shares a scale.
        zero_point: whether codes are shifted to cover an asymmetric range.

    Raises:
        ConfigError: the kind does not have these bits, this granularity or a zero point.
    """

    kind: str
    bits: int
    granularity: Granularity = "channel"
    zero_point: bool = False
    _order: tuple[Any, ...] = field(init=False, repr=False, compare=False, default=())
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        if self.kind == "float":
            if (self.bits, self.granularity, self.zero_point) != (FLOAT_BITS, "channel", False):
                raise ConfigError(f"float numbers have {FLOAT_BITS} bits and no scale; write float")
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
        if self.in_superblocks:
            bits: Collection[int] = OFFSET_BITS if self.granularity == "offset_superblock" else MULTIPLES
            fits = kind.superblocks and self.zero_point == (bits is OFFSET_BITS) and (kind.zero_points or not self.zero_point)
            if not fits or self.bits not in bits:
                raise ConfigError(
                    f"superblocks have {', '.join(map(str, MULTIPLES))} bits, uniform or half-step, without a zero point, and uniform "
                    f"{' or '.join(map(str, OFFSET_BITS))} with one"
                )
        elif self.granularity not in ("channel", "tensor", *GROUPS):
            raise ConfigError(f"a group has {', '.join(map(str, GROUPS))} values, not {self.granularity}")
        if self.granularity != "channel" and not kind.grouped:
            raise ConfigError(f"{kind.name} numbers have one scale per output channel only")
        if self.zero_point and not kind.zero_points:
            raise ConfigError(f"{kind.name} numbers have no zero point; uniform numbers may have one")
        if self.zero_point and self.bits < 2:
            raise ConfigError("a zero point needs 2 bits or more: one bit leaves a single level beside an exact zero")

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[Any, ...]:
        return NumberFormat, (self.kind, self.bits, self.granularity, self.zero_point)  # hashes of strings differ from process to process

    def __lt__(self, other: NumberFormat) -> bool:
        return self._order < other._order

    def __repr__(self) -> str:
        return f"NumberFormat.parse('{self}')"

    def __str__(self) -> str:
        if self.is_float:
            return "f"
        kind = NUMBER_KINDS[self.kind]
        bits = str(self.bits) if len(kind.widths) > 1 else ""
        shared = {"channel": "", "tensor": "s", "superblock": "k", "offset_superblock": "k"}.get(
            str(self.granularity), f"g{self.granularity}"
        )
        return f"{kind.letter}{bits}{shared}{'z' if self.zero_point else ''}"

    @classmethod
    def parse(cls, text: object, *, path: str = "format") -> NumberFormat:
        """A format from its spelling; a whole number is uniform, `float`, `f` and 32 are float32.

        Raises:
            ConfigError: there is no such format; the message names `path`.
        """
        if isinstance(text, int) and not isinstance(text, bool):
            text = str(text)
        if text in ("float", "f", str(FLOAT_BITS)):
            return FLOAT
        match = _SPELLING.fullmatch(text) if isinstance(text, str) else None
        kinds = {kind.letter: kind for _, kind in NUMBER_KINDS.items()}
        if match is None or match["kind"] not in kinds or (not match["bits"] and len(kinds[match["kind"]].widths) > 1):
            examples = ", ".join(f"{letter}{'' if len(kind.widths) == 1 else 4}" for letter, kind in sorted(kinds.items()))
            raise ConfigError(f"{path}: {text!r:.60} is no number format; write one like {examples}, 4g64, 4z or float", path=path)
        kind = kinds[match["kind"]]
        superblock = "offset_superblock" if match["zero"] else "superblock"
        named = "tensor" if match["tensor"] else superblock if match["superblock"] else "channel"
        shared = int(match["group"]) if match["group"] else named
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
        """Whether values are `(code + offset) · scale`; False for float."""
        return not self.is_float and NUMBER_KINDS[self.kind].evenly_spaced

    @property
    def integer_unit(self) -> float | None:
        """u, a power of two, if every value of a channel is an integer times `u · scale` with one scale; None: it is not."""
        if self.is_float or self.group is not None:
            return None
        return NUMBER_KINDS[self.kind].integer_unit(self.bits)

    @property
    def group(self) -> int | None:
        """Values along the input that share a scale; None for an output channel or a tensor."""
        return GROUP_OF.get(self.granularity)

    @property
    def in_superblocks(self) -> bool:
        """Whether scales are whole multiples of one that a superblock shares."""
        return self.granularity in ("superblock", "offset_superblock")

    @property
    def zero_codes(self) -> bool:
        """Whether each row has a code that stands for 0; the offsets of superblocks lie off the codes and are kept with the scales."""
        return self.zero_point and not self.in_superblocks

    @property
    def bits_per_value(self) -> float:
        """Bits per value, without scales: 1.6 for ternary numbers, else `bits`."""
        return float(self._order[0])

    @property
    def family(self) -> tuple[str, str, bool]:
        """Kind, granularity and zero point; formats of one family differ only in bits."""
        return self.kind, str(self.granularity), self.zero_point

    def at_least(self, other: NumberFormat) -> bool:
        """Whether it is at least as precise as `other`: float, or the same family with at least as many bits."""
        return self.is_float or (self.family == other.family and self.bits >= other.bits)

    def code_bytes(self, rows: int, columns: int) -> int:
        """Bytes of the packed codes of `rows` times `columns` numbers."""
        kind = NUMBER_KINDS[self.kind]
        return (kind.superblock_bytes if self.in_superblocks else kind.code_bytes)(rows, columns, self.bits)

    def scale_count(self, rows: int) -> int:
        """Number of half-precision scales for `rows` rows: one per row, per sign vector, or per superblock; with offsets two of these."""
        if self.in_superblocks:
            return rows * GROUP_OF[self.granularity] // SUPERBLOCK * (1 + self.zero_point)
        return NUMBER_KINDS[self.kind].scale_count(rows, self.bits)

    def pack(self, codes: Codes, scales: Scales) -> tuple[Packed, Scales]:
        """Codes `[rows, columns]` and scales as a file stores them.

        Raises:
            ValueError: codes that do not fit into the bits.
        """
        kind = NUMBER_KINDS[self.kind]
        return (kind.pack_superblocks if self.in_superblocks else kind.pack)(codes, scales, self.bits)

    def unpack(self, packed: Packed, scales: Scales, columns: int) -> tuple[Codes, Scales]:
        """Inverse of `pack`.

        Raises:
            ValueError: the bytes are not those of packed codes.
        """
        kind = NUMBER_KINDS[self.kind]
        return (kind.unpack_superblocks if self.in_superblocks else kind.unpack)(packed, scales, columns, self.bits)

    def encode(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Float `[rows, columns]` → codes int16 `[rows, columns]` and float32 scales of small squared error."""
        return NUMBER_KINDS[self.kind].encode(values, self.bits)

    def decode(self, codes: Tensor, scales: Tensor, zeros: Tensor | None = None) -> Tensor:
        """Codes int16 `[rows, columns]` and float32 scales → float32 `[rows, columns]`; `zeros` are the codes of 0, `[rows]`."""
        return NUMBER_KINDS[self.kind].decode(codes if zeros is None else codes - zeros.to(codes.dtype).unsqueeze(1), scales)


FLOAT = NumberFormat("float", FLOAT_BITS)

SUMMED = NumberFormat("uniform", 8)
"""Of outputs that are rounded before they are added; signed."""
"""float32."""

StoredAs = Callable[[NumberFormat], "NumberFormat | None"]
"""Format on a menu → the format in which a method stores it; None if the method cannot train it."""


def as_format(given: NumberFormat | int) -> NumberFormat:
    """A format is returned as it is; an integer means uniform bits, 32 means float.

    Raises:
        ConfigError: neither, or no such bits.
    """
    if isinstance(given, NumberFormat):
        return given
    if not isinstance(given, int):
        raise ConfigError(f"a format is a NumberFormat or a whole number of bits, not {given!r}; read text by NumberFormat.parse")
    return FLOAT if given == FLOAT_BITS else NumberFormat("uniform", given)

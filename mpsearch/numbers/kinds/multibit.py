"""`multibit`: a channel is a sum of up to eight scaled sign vectors; see `mpsearch.numbers.multibit`.

A layer has exactly b · C sign planes, distributed over its C channels, 0 to 8 each, so its size depends only on its bits. The planes
follow their numbers per channel, four bits each; an absent vector has scale 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from mpsearch.core.number_format import NUMBER_KINDS, Codes, NumberKind, Packed, Scales
from mpsearch.numbers.packing import pack, pack_planes, packed_bytes, unpack, unpack_planes

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["MOST_BASES", "Multibit"]

MOST_BASES = 8
"""Sign vectors a channel may have."""

_BASES = np.arange(MOST_BASES, dtype=np.int16)


class Multibit(NumberKind):
    """Sums of scaled signs; codes `[C, n]` whose bit i is the sign of vector i, scales `[C, 8]`."""

    name: ClassVar[str] = "multibit"
    letter: ClassVar[str] = "m"
    widths: ClassVar[tuple[int, ...]] = (1, 2, 3, 4, 5, 6, 7, 8)
    grouped: ClassVar[bool] = False

    def code_bytes(self, rows: int, columns: int, bits: int) -> int:
        """Half a byte per channel, and the planes."""
        return packed_bytes(rows, 4) + packed_bytes(rows * columns, bits)

    def scale_count(self, rows: int, bits: int) -> int:
        """One per sign plane."""
        return bits * rows

    def pack(self, codes: Codes, scales: Scales, bits: int) -> tuple[Packed, Scales]:
        """Numbers of vectors, then the planes in order."""
        present = scales != 0
        counts = present.sum(1)
        missing = bits * len(codes) - int(counts.sum())
        if missing < 0:
            raise ValueError(f"{int(counts.sum())} bases in {len(codes)} channels are more than {bits} per channel on average")
        room = MOST_BASES - counts
        filled = counts + np.clip(missing - (room.cumsum() - room), 0, room)  # vectors of scale 0 fill up the number of planes
        order = np.argsort(~present, axis=1, kind="stable")
        planes = np.take_along_axis((codes[:, None, :] >> _BASES[:, None]) & 1, order[:, :, None], axis=1)
        held = filled[:, None] > _BASES
        head = pack(np.where(filled < 8, filled, filled - 16), 4)  # 0 to 8 in four bits of two's complement
        return np.concatenate([head, pack_planes(planes[held])]), np.take_along_axis(scales, order, axis=1)[held]

    def unpack(self, packed: Packed, scales: Scales, columns: int, bits: int) -> tuple[Codes, Scales]:
        """Inverse of `pack`."""
        channels = len(scales) // bits
        head = packed_bytes(channels, 4)
        counts = unpack(packed[:head], 4, channels) & 15
        if counts.max(initial=0) > MOST_BASES or int(counts.sum()) != bits * channels:
            raise ValueError(f"{channels} channels hold {int(counts.sum())} bases, up to {counts.max(initial=0)}; not {bits} on average")
        held = counts[:, None] > _BASES
        alphas = np.zeros(held.shape, dtype=scales.dtype)
        alphas[held] = scales
        planes = np.zeros((*held.shape, columns), dtype=np.int16)
        planes[held] = unpack_planes(packed[head:], len(scales), columns)
        return (planes << _BASES[:, None]).sum(1, dtype=np.int16), alphas

    def encode(self, values: Tensor, bits: int) -> tuple[Tensor, Tensor]:
        """As many vectors per channel as bits, found greedily."""
        from torch.nn.functional import pad

        from mpsearch.numbers.multibit import sketch

        codes, alphas = sketch(values, bits)
        return codes, pad(alphas, (0, MOST_BASES - bits))

    def decode(self, codes: Tensor, scales: Tensor) -> Tensor:
        """`Σ_i ±scale_i`."""
        from mpsearch.numbers import multibit

        return multibit.values(codes, scales)


NUMBER_KINDS.register(Multibit.name)(Multibit())

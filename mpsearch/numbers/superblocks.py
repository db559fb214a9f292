"""Superblocks: groups of 16 weights whose steps are whole multiples of a half-precision unit that 16 groups share.

So are the K types of llama.cpp.

| bits | step / unit | bits a weight, with steps and units |
|---|---|---|
| 2 | 1 … 15 | 2.3125 (2.625 in Q2_K, which also holds offsets) |
| 3 | 1 … 31 | 3.4375 (Q3_K) |
| 6 | 1 … 127 | 6.5625 (Q6_K) |

The largest step of a superblock is the largest multiple, so a unit and its multiples follow from the steps alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpsearch.core.number_format import GROUP_OF, MULTIPLES, SUPERBLOCK

__all__ = ["on_superblocks"]

_SMALLEST = 2.0**-23
"""Twice the smallest number of half precision, since a half of a unit has to be one, too."""


def on_superblocks(steps: Tensor, bits: int) -> Tensor:
    """Positive steps `[rows]` → the nearest that superblocks have, float32 `[rows]`; those that they have stay as they are."""
    most = MULTIPLES[bits]
    blocks = steps.detach().float().reshape(-1, SUPERBLOCK // GROUP_OF["superblock"])
    largest = blocks.amax(1, keepdim=True)
    units = _units(largest / most, bits)
    multiples = torch.clamp(torch.round(blocks / units), 1, most)
    multiples = torch.where(blocks == largest, torch.full_like(multiples, most), multiples)
    return (multiples * units).reshape(-1)


def _units(wanted: Tensor, bits: int) -> Tensor:
    """Half precision; of two bits with 9 significant bits, so that half of it and its threefold are half precision, too."""
    if bits > 2:
        return wanted.half().float().clamp_min(_SMALLEST)
    mantissa, exponent = torch.frexp(wanted / 2)
    return 2 * torch.ldexp(torch.round(mantissa * 2**9), exponent - 9).half().float().clamp_min(_SMALLEST / 2)

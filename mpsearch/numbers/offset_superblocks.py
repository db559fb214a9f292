"""Superblocks with offsets: 8 groups of 32 weights, `value = step · q − offset`, q from 0 to 2^b − 1.

Steps and offsets are whole multiples, 1 … 63 and 0 … 63, of two half-precision units that the 8 groups share. So are Q4_K and Q5_K of
llama.cpp, which take 4.5 and 5.5 bits a weight. `step · q` and `offset` are exact in float32, their difference is rounded once.

The largest step of a superblock is 63 units, and so is the largest offset, so units and multiples follow from steps and offsets alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mpsearch.core.number_format import GROUP_OF, MOST_OFFSETS, SUPERBLOCK

__all__ = ["fit_offset_superblocks", "on_offset_superblocks"]

_GROUPS = SUPERBLOCK // GROUP_OF["offset_superblock"]
_SMALLEST = 2.0**-24
"""Of half precision."""

_SHARES = (0.7, 0.76, 0.82, 0.86, 0.9, 0.93, 0.96, 1.0, 1.04)
"""Of a group's range, over which its levels are laid before steps and offsets are refitted."""


def on_offset_superblocks(steps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Steps and offsets `[rows]` → the nearest that superblocks have, float32; those that they have stay as they are."""
    least = torch.full((), _SMALLEST, device=steps.device)
    return _multiples(steps, 1, least), _multiples(offsets, 0, torch.zeros_like(least))


def fit_offset_superblocks(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Steps and offsets `[rows]` of small squared error for rows `[rows, 32]`, as superblocks have them."""
    rows = rows.detach().float()
    low, high = rows.amin(1).clamp_max(0), rows.amax(1)
    span = (high - low).clamp_min(torch.finfo(torch.float32).tiny)
    steps, offsets = span / (2**bits - 1), -low
    least = torch.full_like(steps, torch.inf)
    best_steps, best_offsets = steps, offsets
    for share in _SHARES:
        tried, shift = _refitted(rows, _codes(rows, steps * share, offsets * share, bits), steps * share, offsets * share)
        error = (_codes(rows, tried, shift, bits) * tried[:, None] - shift[:, None] - rows).square().sum(1)
        better = error < least
        best_steps, best_offsets = torch.where(better, tried, best_steps), torch.where(better, shift, best_offsets)
        least = torch.where(better, error, least)
    held, shift = on_offset_superblocks(best_steps, best_offsets)
    # A multiple of a unit is up to half a unit off: the best offsets are those of the steps that are held.
    moved = (_codes(rows, held, shift, bits) * held[:, None] - rows).mean(1).clamp_min(0)
    return on_offset_superblocks(held, moved)


def _multiples(wanted: Tensor, fewest: int, least: Tensor) -> Tensor:
    blocks = wanted.detach().float().reshape(-1, _GROUPS)
    largest = blocks.amax(1, keepdim=True)
    units = torch.maximum((largest / MOST_OFFSETS).half().float(), least)
    counts = torch.clamp(torch.round(blocks / units.clamp_min(_SMALLEST)), fewest, MOST_OFFSETS)
    counts = torch.where(blocks == largest, torch.full_like(counts, MOST_OFFSETS), counts)
    return (counts * units).reshape(-1)


def _codes(rows: Tensor, steps: Tensor, offsets: Tensor, bits: int) -> Tensor:
    return ((rows + offsets[:, None]) / steps[:, None]).round_().clamp_(0, 2**bits - 1)


def _refitted(rows: Tensor, codes: Tensor, steps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares of `step · code − offset` with an offset of 0 or more; where there is no positive step, all stays."""
    count = rows.shape[1]
    code, square, value, product = codes.sum(1), codes.square().sum(1), rows.sum(1), (codes * rows).sum(1)
    tiny = torch.finfo(torch.float32).tiny
    spread = count * square - code * code
    fitted = (count * product - code * value) / spread.clamp_min(tiny)
    shift = (code * product - square * value) / spread.clamp_min(tiny)
    through_zero = product / square.clamp_min(tiny)
    fitted, shift = torch.where(shift < 0, through_zero, fitted), shift.clamp_min(0)
    sound = (spread > 0) & (fitted > 0)
    return torch.where(sound, fitted, steps), torch.where(sound, shift, offsets)

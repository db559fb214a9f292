"""Superblocks with offsets: 8 groups of 32 weights, `value = step · q − offset`, q from 0 to 2^b − 1.

Steps and offsets are whole multiples, 1 … 63 and 0 … 63, of two half-precision units that the 8 groups share. So are Q4_K and Q5_K of
llama.cpp, which take 4.5 and 5.5 bits a weight. `step · q` and `offset` are exact in float32, their difference is rounded once.

The largest step of a superblock is 63 units, and so is the largest offset, so units and multiples follow from steps and offsets alone.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from mpsearch.core.number_format import GROUP_OF, MOST_OFFSETS, SUPERBLOCK

__all__ = ["fit_offset_superblocks", "on_offset_superblocks"]

_GROUPS = SUPERBLOCK // GROUP_OF["offset_superblock"]
_SMALLEST = 2.0**-24
"""Of half precision."""

_MORE_LEVELS = (-1.0, -0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""A group's range is divided into so many levels more, before its step and offset are refitted."""

_NEIGHBOURS = (-2, -1, 0, 1, 2)
"""Multiples that are tried beside the nearest."""


def on_offset_superblocks(steps: Tensor, offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Steps and offsets `[rows]` → the nearest that superblocks have, float32; those that they have stay as they are."""
    least = torch.full((), _SMALLEST, device=steps.device)
    return _multiples(steps, 1, least), _multiples(offsets, 0, torch.zeros_like(least))


def fit_offset_superblocks(rows: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Steps and offsets `[rows]` of small squared error for rows `[rows, 32]`, as superblocks have them."""
    rows = rows.detach().float()
    low, high = rows.amin(1).clamp_max(0), rows.amax(1)
    span = (high - low).clamp_min(torch.finfo(torch.float32).tiny)
    starts = [(span / (2**bits - 1 + more), -low) for more in _MORE_LEVELS]
    fitted = _best(rows, bits, (_refitted(rows, _codes(rows, *start, bits), *start) for start in starts))
    steps, offsets = on_offset_superblocks(*fitted)
    units = _units(steps, torch.full_like(steps[0], _SMALLEST)), _units(offsets, torch.zeros_like(steps[0]))

    def moved(steps: Tensor) -> tuple[Tensor, Tensor]:
        """Steps with their best offsets, on the multiples: a multiple is up to half a unit off what was fitted."""
        near = offsets
        for _ in range(2):
            wanted = (_codes(rows, steps, near, bits) * steps[:, None] - rows).mean(1)
            near = (wanted / units[1].clamp_min(_SMALLEST)).round().clamp(0, MOST_OFFSETS) * units[1]
        return steps, near

    counts = (steps / units[0]).round()
    beside = (moved((counts + more).clamp(1, MOST_OFFSETS) * units[0]) for more in _NEIGHBOURS)
    return on_offset_superblocks(*_best(rows, bits, ((steps, offsets), *beside)))


def _best(rows: Tensor, bits: int, candidates: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Of each row the candidate of least squared error."""
    least, best_steps, best_offsets = (torch.full((len(rows),), start, device=rows.device) for start in (torch.inf, 1.0, 0.0))
    for steps, offsets in candidates:
        error = (_codes(rows, steps, offsets, bits) * steps[:, None] - offsets[:, None] - rows).square().sum(1)
        better = error < least
        best_steps, best_offsets = torch.where(better, steps, best_steps), torch.where(better, offsets, best_offsets)
        least = torch.where(better, error, least)
    return best_steps, best_offsets


def _multiples(wanted: Tensor, fewest: int, least: Tensor) -> Tensor:
    wanted = wanted.detach().float()
    units = _units(wanted, least)
    counts = torch.clamp(torch.round(wanted / units.clamp_min(_SMALLEST)), fewest, MOST_OFFSETS)
    largest = wanted.reshape(-1, _GROUPS).amax(1).repeat_interleave(_GROUPS)
    return torch.where(wanted == largest, torch.full_like(counts, MOST_OFFSETS), counts) * units


def _units(wanted: Tensor, least: Tensor) -> Tensor:
    """The unit of each row's superblock, `[rows]`, at least `least`."""
    units = torch.maximum((wanted.reshape(-1, _GROUPS).amax(1) / MOST_OFFSETS).half().float(), least)
    return units.repeat_interleave(_GROUPS)


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

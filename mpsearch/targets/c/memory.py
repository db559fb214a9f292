"""`arranged`: offsets of buffers in one arena, planned by their lifetimes.

Two buffers that are alive at the same time lie apart. A function that computes each element by itself may write over its own input, if
nothing reads that later; then both begin at the same offset.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["Arena", "Life", "arranged"]

_ALIGNED = 4
_TRIES = 200
_BUFFERS = 20_000
"""Most orders of placing, and most buffers placed in all of them together."""


@dataclass(frozen=True)
class Life:
    """When a buffer is in use.

    Args:
        bytes: of the buffer.
        born: number of the call that writes it.
        last: number of the last call that reads it.
        over: buffers that it may overwrite as it is made.
    """

    bytes: int
    born: int
    last: int
    over: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Arena:
    """The plan.

    Args:
        offsets: of each buffer, bytes.
        bytes: of the arena.
        least: bytes that are alive at once at most; no plan needs fewer.
    """

    offsets: Mapping[int, int]
    bytes: int
    least: int


def arranged(lives: Mapping[int, Life]) -> Arena:
    """Offsets for buffers by number; the best of some orders of placing, the same every time."""
    least = _least(lives, {number: _rounded(life.bytes) for number, life in lives.items()})
    holders = _holders(lives)
    lives = _joined(lives, holders)
    rounded = {number: _rounded(life.bytes) for number, life in lives.items()}
    draw = random.Random(0)
    best, most = dict[int, int](), -1
    for attempt in range(max(1, min(_TRIES, _BUFFERS // max(len(lives), 1)))):
        weights = {number: rounded[number] * (draw.uniform(0.2, 1) if attempt else 1) for number in lives}
        for number in sorted(lives, key=lambda number: lives[number].born):  # what is written over another is placed right after it
            weights[number] = max([weights[number], *(weights[other] for other in lives[number].over)])
        order = sorted(lives, key=lambda number: (-weights[number], lives[number].born))
        offsets = _placed(order, lives, rounded)
        end = max((offsets[number] + rounded[number] for number in lives), default=0)
        if most < 0 or end < most:
            best, most = offsets, end
        if most <= least:
            break
    return Arena({number: best[holder] for number, holder in holders.items()}, max(most, 0), least)


def _rounded(count: int) -> int:
    return -(-count // _ALIGNED) * _ALIGNED


def _holders(lives: Mapping[int, Life]) -> dict[int, int]:
    """Buffer → the first of the buffers of its size that are written over each other; of several it takes the one born first."""
    holders: dict[int, int] = {}
    for number in sorted(lives, key=lambda number: lives[number].born):
        alike = [other for other in lives[number].over if lives[other].bytes == lives[number].bytes]
        holders[number] = min((holders[other] for other in alike), key=lambda other: lives[other].born, default=number)
    return holders


def _joined(lives: Mapping[int, Life], holders: Mapping[int, int]) -> dict[int, Life]:
    """The lives of the holders, each as long as those of all that it holds."""
    joined: dict[int, Life] = {}
    for number in sorted(lives, key=lambda number: lives[number].born):
        own, holder = lives[number], holders[number]
        over = frozenset(holders[other] for other in own.over) - {holder}
        if number == holder:
            joined[holder] = Life(own.bytes, own.born, own.last, over)
        else:
            held = joined[holder]
            joined[holder] = Life(held.bytes, held.born, max(held.last, own.last), held.over)
    return joined


def _placed(order: Sequence[int], lives: Mapping[int, Life], sizes: Mapping[int, int]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for number in order:
        own = lives[number]
        others = [other for other in offsets if lives[other].born <= own.last and own.born <= lives[other].last]
        tied = {offsets[other] for other in others if _over(lives, number, other)}
        fixed = sorted((offsets[other], offsets[other] + sizes[other], _over(lives, number, other)) for other in others)
        for start in sorted({0, *tied, *(end for _, end, _ in fixed)}):
            if all(start >= end or start + sizes[number] <= begin or (over and begin == start) for begin, end, over in fixed):
                offsets[number] = start
                break
    return offsets


def _over(lives: Mapping[int, Life], one: int, other: int) -> bool:
    return other in lives[one].over or one in lives[other].over


def _least(lives: Mapping[int, Life], sizes: Mapping[int, int]) -> int:
    """The most bytes alive during a call, where a buffer that is written over another counts as the larger of both."""
    most = 0
    for now in {life.born for life in lives.values()}:
        alive = [number for number, life in lives.items() if life.born <= now <= life.last]
        total = sum(sizes[number] for number in alive)
        for number in alive:
            if lives[number].born == now and lives[number].over:
                total -= min(sizes[number], max(sizes[other] for other in lives[number].over))
        most = max(most, total)
    return most

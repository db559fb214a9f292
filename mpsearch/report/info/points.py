"""`Point`: one record in a figure, and what several figures ask of records."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np

from mpsearch.core.allocation import Allocation
from mpsearch.core.choice import Choice
from mpsearch.core.record import Record, Score

__all__ = [
    "Point",
    "bits_lines",
    "close_up",
    "completed",
    "drawn",
    "drawn_text",
    "higher_is_better",
    "point",
    "rung_order",
    "trained_rung",
    "uniform_text",
]

_KNOWN_RUNGS = ("ptq", "supernet", "short", "long", "full")
_ZOOM_FROM = 2.5
_LINE_WIDTH = 64
_MOST_LINES = 14
_MOST_DRAWN = 1000
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Point:
    """One record in a figure.

    Args:
        number: trial number, −1 for references.
        origin: who proposed it.
        rung: the deepest rung it reached; `ptq` for a delivered network that was only calibrated.
        amount: of the figure's cost, in the unit of the cost; NaN if the figure has none.
        metric: validation metric at that rung.
        error: validation error at that rung.
        loss: validation loss at that rung.
        feasible: whether every budget holds.
        bits: the bits of the layers as a few lines of text, layers of equal choice together.
    """

    number: int
    origin: str
    rung: str
    amount: float
    metric: float
    error: float
    loss: float
    feasible: bool
    bits: tuple[str, ...]


def completed(records: Iterable[Record]) -> list[Record]:
    """The records that did not fail; each of them has a score, whose numbers can be drawn."""
    done = (record for record in records if record.status == "complete")
    return [record for record in done if all(map(math.isfinite, (record.score.loss, record.score.error, record.score.metric)))]


def drawn(items: Sequence[T], kept: Sequence[T] = (), *, most: int = _MOST_DRAWN) -> tuple[T, ...]:
    """What a figure shows of a long study: all, or every n-th and those that must be seen, so that a browser can follow.

    Args:
        items: in order.
        kept: those of the items that must be seen; of them too no more than a browser can follow.
        most: how many are shown besides those, if that is less than a browser can follow.
    """
    most = min(most, _MOST_DRAWN)
    every = -(-len(items) // most)
    held = {id(item) for item in kept[:most]}
    return tuple(item for place, item in enumerate(items) if place % every == 0 or id(item) in held)


def drawn_text(shown: int, there: int) -> str:
    """A sentence about trials that are there and not shown; empty if all are shown."""
    return "" if shown == there else f" {shown:,} of these trials are drawn."


def point(record: Record, cost: str | None = None) -> Point:
    """A completed record as a point."""
    return Point(
        number=record.number,
        origin=record.origin,
        rung=trained_rung(record),
        amount=float("nan") if cost is None else float(record.costs[cost]),
        metric=record.score.metric,
        error=record.score.error,
        loss=record.score.loss,
        feasible=record.feasible,
        bits=bits_lines(record.allocation),
    )


def trained_rung(record: Record) -> str:
    """`ptq` if the last rung delivered the calibrated network: nothing was trained, or training made it worse."""
    return "ptq" if record.rung == "full" and (not record.curve or record.note) else record.rung


def rung_order(rungs: Iterable[str]) -> tuple[str, ...]:
    """The rungs, each once, shallowest first; unknown names come last, in order of appearance."""
    seen = tuple(dict.fromkeys(rungs))
    return tuple(rung for rung in _KNOWN_RUNGS if rung in seen) + tuple(rung for rung in seen if rung not in _KNOWN_RUNGS)


def higher_is_better(scores: Sequence[Score | Point]) -> bool:
    """Whether the metric rises where the error falls: `Σ (error − mean)(metric − mean) ≤ 0`."""
    errors, metrics = (np.array([getattr(score, name) for score in scores], dtype=np.float64) for name in ("error", "metric"))
    return len(scores) == 0 or bool(((errors - errors.mean()) * (metrics - metrics.mean())).sum() <= 0)


def close_up(points: Sequence[Point], rungs: Sequence[str], anchors: Sequence[float], up: bool) -> tuple[tuple[float, float], int]:
    """The range of the metric in a close-up, and how many points lie outside.

    It covers everything, or only the trials beyond the first rung and the anchors where these fill a small part of it.

    Args:
        points: N points.
        rungs: of the points, shallowest first.
        anchors: metrics of references that must be visible.
        up: whether a higher metric is better.

    Returns:
        (low, high) with a margin, and a count.
    """
    everything = [p.metric for p in points] + list(anchors)
    if not everything:
        return (0.0, 1.0), 0
    trained = rungs[1:] or rungs
    closest = [p.metric for p in points if p.rung in trained] + list(anchors)
    low, high = min(everything), max(everything)
    near_low, near_high = min(closest), max(closest)
    if near_high > near_low and high - low > _ZOOM_FROM * (near_high - near_low):
        low, high = (near_low, high) if up else (low, near_high)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    view = (low - margin, high + margin)
    return view, sum(not view[0] <= p.metric <= view[1] for p in points)


@lru_cache(maxsize=4 * _MOST_DRAWN)
def bits_lines(allocation: Allocation) -> tuple[str, ...]:
    """Layers of equal choice together, lowest bits first, wrapped: `w2a4 (12): layer1.0.conv1, …`."""
    layers_of: dict[Choice, list[str]] = {}
    for name, choice in allocation.items():
        layers_of.setdefault(choice, []).append(name)
    lines: list[str] = []
    for choice, names in sorted(layers_of.items()):
        lines += textwrap.wrap(
            f"{choice} ({len(names)}): {', '.join(names)}", _LINE_WIDTH, subsequent_indent="    ", break_on_hyphens=False
        )
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"… {len(lines) - _MOST_LINES + 1} more lines"]
    return tuple(lines)


def uniform_text(allocation: Allocation) -> str:
    """The most common choice: `w2af`, or `w2af except 2 layers` where pins make some differ."""
    ((common, count),) = Counter(allocation.values()).most_common(1)
    others = len(allocation) - count
    return str(common) if not others else f"{common} except {others} layer{'s' if others > 1 else ''}"

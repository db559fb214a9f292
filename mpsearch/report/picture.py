"""The front as a small static SVG, for places that show pictures but run no scripts; written by hand, with no dependency."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from mpsearch.core.files import write_text
from mpsearch.core.summary import Summary
from mpsearch.report import palette
from mpsearch.report.info import FrontInfo, Point, front_info
from mpsearch.report.wording import metric_text, short_amount

__all__ = ["front_svg", "ticks", "write_front_svg"]

_WIDTH, _HEIGHT = 860, 500
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 24, 66, 104


@dataclass(frozen=True)
class _Axes:
    info: FrontInfo
    low: float
    high: float

    def x(self, amount: float) -> float:
        scale: Callable[[float], float] = math.log if self.info.log_axis else float
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (scale(amount) - scale(self.low)) / (scale(self.high) - scale(self.low))

    def y(self, metric: float) -> float:
        low, high = self.info.view
        return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (metric - low) / (high - low)

    def shows(self, p: Point) -> bool:
        return self.info.view[0] <= p.metric <= self.info.view[1]


def write_front_svg(summary: Summary, path: Path) -> Path:
    """Write the picture, whole or not at all; see `front_svg`.

    Args:
        summary: of the run.
        path: of the SVG file; its directory is made if missing.

    Returns:
        The path.
    """
    title = f"{summary.model}: validation {summary.metric} against size"
    return write_text(path, front_svg(front_info(summary), title=title))


def front_svg(info: FrontInfo, *, title: str) -> str:
    """The front: trials by rung, step line, float, uniform, winner and budget. Where there is nothing to draw it says why."""
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f"aria-label={quoteattr(title)} font-family={quoteattr(palette.FONT)} font-size='14' fill='{palette.INK}'>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" rx="10" fill="{palette.PAPER}" stroke="{palette.GRID}"/>'
    )
    head = _text(_LEFT, 32, title, size=17, weight=600) + _text(_LEFT, 53, info.finding, colour=palette.MUTED)
    if info.empty:
        return f"{opening}{head}{_text(_LEFT, _HEIGHT / 2, info.empty, colour=palette.MUTED)}</svg>\n"
    drawn = [*info.points, *(p for p in (info.uniform, info.winner) if p is not None)]
    amounts = [p.amount for p in drawn] + ([] if info.limit is None else [info.limit])
    low, high = min(amounts), max(amounts)
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    axes = _Axes(info, low / 1.06 if info.log_axis else low - margin, high * 1.06 if info.log_axis else high + margin)
    return f"{opening}{head}{_frame(axes)}{_references(axes)}{_front(axes)}{_trials(axes)}{_legend(info)}</svg>\n"


def ticks(low: float, high: float, *, count: int = 6) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten apart) from `low` to `high`, about `count` of them."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * (1 - 1e-9))
    return [index * step for index in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [value for power in powers for factor in (1, 2, 5) if low <= (value := factor * 10.0**power) <= high]


def _frame(axes: _Axes) -> str:
    info, floor, parts = axes.info, _HEIGHT - _BOTTOM, []
    for value in ticks(*info.view, count=5):
        y = axes.y(value)
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, palette.GRID))
        parts.append(_text(_LEFT - 10, y + 5, metric_text(info.metric, value), anchor="end", size=13))
    for value in _log_ticks(axes.low, axes.high) if info.log_axis else ticks(axes.low, axes.high):
        parts.append(_line(axes.x(value), floor, axes.x(value), floor + 5, palette.MUTED))
        parts.append(_text(axes.x(value), floor + 21, short_amount(info.cost, value), anchor="middle", size=13))
    return "".join(parts) + _line(_LEFT, floor, _WIDTH - _RIGHT, floor, palette.MUTED)


def _references(axes: _Axes) -> str:
    info, parts = axes.info, []
    if info.float_metric is not None:
        y = axes.y(info.float_metric)
        parts.append(_line(_LEFT, y, _WIDTH - _RIGHT, y, palette.FLOAT, dash="7 5"))
        parts.append(_text(_LEFT + 6, y - 6, f"float {metric_text(info.metric, info.float_metric)}", colour=palette.FLOAT, size=13))
    if info.limit is not None:
        x = axes.x(info.limit)
        parts.append(_line(x, _TOP, x, _HEIGHT - _BOTTOM, palette.BUDGET, dash="2 4"))
        parts.append(_text(x - 6, _HEIGHT - _BOTTOM - 8, f"budget {info.limit_text}", colour=palette.BUDGET, anchor="end", size=13))
    return "".join(parts)


def _front(axes: _Axes) -> str:
    shown = [p for p in axes.info.front if axes.shows(p)]
    if not shown:
        return ""
    path = f"M{axes.x(shown[0].amount):.1f} {axes.y(shown[0].metric):.1f}"
    path += "".join(f"H{axes.x(p.amount):.1f}V{axes.y(p.metric):.1f}" for p in shown[1:])
    return f'<path d="{path}H{_WIDTH - _RIGHT}" fill="none" stroke="{palette.INK}" stroke-opacity="0.55" stroke-width="1.6"/>'


def _trials(axes: _Axes) -> str:
    info = axes.info
    parts = [
        _mark(palette.rung_mark(p.rung), axes.x(p.amount), axes.y(p.metric), palette.rung_colour(p.rung), pale=not p.feasible)
        for p in info.points
        if axes.shows(p)
    ]
    if info.uniform is not None:
        parts.append(_mark("diamond", axes.x(info.uniform.amount), axes.y(info.uniform.metric), palette.UNIFORM))
    if info.winner is not None:
        parts.append(_mark("star", axes.x(info.winner.amount), axes.y(info.winner.metric), palette.ACCENT))
    return "".join(parts)


def _legend(info: FrontInfo) -> str:
    entries = [(palette.rung_mark(rung), palette.rung_colour(rung), palette.rung_title(rung)) for rung in info.rungs]
    entries += [("diamond", palette.UNIFORM, "best uniform, retrained")] if info.uniform is not None else []
    entries += [("star", palette.ACCENT, "winner, retrained")] if info.winner is not None else []
    x, y, parts = float(_LEFT), _HEIGHT - 50, []
    for symbol, colour, name in entries:
        width = 34 + 7.2 * len(name)
        if x + width > _WIDTH - _RIGHT and x > _LEFT:
            x, y = float(_LEFT), y + 24
        parts.append(_mark(symbol, x + 6, y, colour) + _text(x + 18, y + 5, name, size=13))
        x += width
    hidden = f"{info.hidden} more trial{'s' if info.hidden > 1 else ''} outside this view" if info.hidden else ""
    return "".join(parts) + _text(_WIDTH - _RIGHT, _HEIGHT - 12, hidden, anchor="end", size=12, colour=palette.MUTED)


def _mark(symbol: str, x: float, y: float, colour: str, *, pale: bool = False) -> str:
    look = f'fill="{colour}" stroke="{palette.PAPER}"' + (' opacity="0.4"' if pale else "")
    if symbol == "circle":
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5.5" {look}/>'
    if symbol == "square":
        return f'<rect x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" {look}/>'
    corners = _CORNERS.get(symbol, _CORNERS["diamond"])
    return f'<polygon points="{" ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)}" {look}/>'


def _star(outer: float, inner: float) -> tuple[tuple[float, float], ...]:
    radii = [outer if index % 2 == 0 else inner for index in range(10)]
    return tuple((r * math.sin(index * math.pi / 5), -r * math.cos(index * math.pi / 5)) for index, r in enumerate(radii))


_CORNERS = {"triangle-up": ((0, -7), (6.5, 5), (-6.5, 5)), "diamond": ((0, -8), (8, 0), (0, 8), (-8, 0)), "star": _star(11, 4.6)}


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dash: str = "") -> str:
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" stroke-width="1.3"{dashes}/>'


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 14, weight: int = 400, colour: str = palette.INK) -> str:
    if not text:
        return ""
    look = f'text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{colour}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'

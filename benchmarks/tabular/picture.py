"""Regret against trials, one panel a network and budget, as an SVG by hand: medians, ours with its quartiles."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any
from xml.sax.saxutils import escape

from mpsearch.report import palette

__all__ = ["picture"]

_PANEL_W, _PANEL_H, _LEFT, _TOP, _GAP_X, _GAP_Y, _LEGEND = 300, 210, 66, 66, 24, 56, 84
_FLOOR, _CEILING = 1e-3, 3.0
"""Regrets at or below the floor are drawn on it: the optimum."""
_COLOURS = {
    "mpsearch": palette.ACCENT,
    "Optuna GP": "#1b4f8f",
    "Optuna TPE": "#5b93c9",
    "Optuna NSGA-II": "#2c7a5b",
    "random": "#a3b1c2",
    "MILP by fisher": "#6b4f9a",
    "MILP by activation distance (MCT)": "#b3263c",
    "MILP by Hessian trace (HAWQ)": "#8a6d3b",
    "greedy by SQNR (AIMET)": "#5d6b7a",
}


def picture(kept: Mapping[str, Mapping[str, Any]]) -> str:
    """The SVG of what `report.tables` kept."""
    columns = 3
    rows = math.ceil(len(kept) / columns)
    width = _LEFT + columns * (_PANEL_W + _GAP_X)
    height = _TOP + rows * (_PANEL_H + _GAP_Y) + _LEGEND
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
        f'aria-label="Regret against trials" font-family=\'{palette.FONT}\' font-size="12" fill="{palette.INK}">'
        f'<rect width="{width}" height="{height}" rx="10" fill="{palette.PAPER}"/>',
        f'<text x="{_LEFT}" y="28" font-size="17" font-weight="600">How far from the best allocation within the budget</text>',
        f'<text x="{_LEFT}" y="46" fill="{palette.MUTED}">'
        "loss above the best within the budget against trials; medians over seeds, shaded: quartiles</text>",
    ]
    for index, (title, entries) in enumerate(kept.items()):
        x = _LEFT + (index % columns) * (_PANEL_W + _GAP_X)
        y = _TOP + 14 + (index // columns) * (_PANEL_H + _GAP_Y)
        parts.append(f'<g transform="translate({x} {y})">{_panel(title, entries, labelled=index % columns == 0)}</g>')
    parts.append(_legend([name for name in _COLOURS if any(name in entries for entries in kept.values())], height - _LEGEND + 26, width))
    return "".join(parts) + "</svg>\n"


def _panel(title: str, entries: Mapping[str, Any], *, labelled: bool) -> str:
    parts = [f'<text x="0" y="-8" font-weight="600">{escape(title)}</text>']
    for value, label in ((_FLOOR, "found"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")):
        parts.append(f'<path d="M0 {_y(value):.1f}H{_PANEL_W}" stroke="{palette.GRID}"/>')
        if labelled:
            parts.append(f'<text x="-8" y="{_y(value) + 4:.1f}" text-anchor="end">{label}</text>')
    for count in (1, 3, 10, 30, 100):
        parts.append(f'<text x="{_x(count):.1f}" y="{_PANEL_H + 16}" text-anchor="middle">{count}</text>')
    for name, colour in reversed(_COLOURS.items()):
        if name not in entries:
            continue  # searches for a front are in the table alone
        low, median, high = entries[name]["regret"]
        if name == "mpsearch":
            band = [*_points(low), *reversed(_points(high))]
            parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" opacity="0.18"/>')
        look = f'stroke="{colour}" stroke-width="{3 if name == "mpsearch" else 1.6}"' + (
            ' stroke-dasharray="5 4"' if name.startswith(("MILP", "greedy")) else ""
        )
        parts.append(f'<polyline points="{" ".join(_points(median))}" fill="none" {look}/>')
    return "".join(parts)


def _points(regrets: Sequence[float]) -> list[str]:
    """Steps: a regret holds until the next trial."""
    steps = [f"{_x(1):.1f},{_y(regrets[0]):.1f}"]
    for index, (before, value) in enumerate(itertools.pairwise(regrets)):
        if value != before:
            steps += [f"{_x(index + 2):.1f},{_y(before):.1f}", f"{_x(index + 2):.1f},{_y(value):.1f}"]
    return [*steps, f"{_x(len(regrets)):.1f},{_y(regrets[-1]):.1f}"]


def _x(count: float) -> float:
    return _PANEL_W * math.log(count) / math.log(100)


def _y(regret: float) -> float:
    share = math.log(min(max(regret, _FLOOR), _CEILING) / _FLOOR) / math.log(_CEILING / _FLOOR)
    return _PANEL_H * (1 - share)


def _legend(names: Sequence[str], y: float, width: float) -> str:
    parts, x = [], float(_LEFT)
    for name in names:
        needed = 46 + 6.6 * len(name)
        if x + needed > width and x > _LEFT:
            x, y = float(_LEFT), y + 22
        dash = ' stroke-dasharray="5 4"' if name.startswith(("MILP", "greedy")) else ""
        parts.append(f'<path d="M{x:.0f} {y - 4:.0f}h24" stroke="{_COLOURS[name]}" stroke-width="3"{dash}/>')
        parts.append(f'<text x="{x + 30:.0f}" y="{y:.0f}">{escape(name)}</text>')
        x += needed
    return "".join(parts)

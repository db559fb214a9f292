"""Colours and marks of all pictures; each means the same in every figure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = [
    "ACCENT",
    "BUDGET",
    "FLOAT",
    "FONT",
    "GRID",
    "INK",
    "MUTED",
    "OF_RUNS",
    "PAPER",
    "RUNGS",
    "SERIES",
    "UNIFORM",
    "rung_colour",
    "rung_mark",
    "rung_title",
]

INK = "#1d2733"
MUTED = "#5d6b7a"
GRID = "#e7ebf0"
PAPER = "#ffffff"
ACCENT = "#d9640f"
FLOAT = "#2c7a5b"
UNIFORM = "#6b4f9a"
BUDGET = "#b3263c"
FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", Arial, sans-serif'

RUNGS: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        # rung → (colour, Plotly symbol, name in a legend)
        "ptq": ("#a3b1c2", "circle", "no training (PTQ)"),
        "supernet": ("#a3b1c2", "circle", "shared weights"),
        "short": ("#5b93c9", "square", "short QAT"),
        "long": ("#1b4f8f", "triangle-up", "longer QAT"),
        "full": (ACCENT, "star", "full QAT"),
    }
)
SERIES: Mapping[str, tuple[str, str, str]] = MappingProxyType(
    {
        # what was retrained → (colour, dash, legend)
        "winner": (ACCENT, "solid", "winner"),
        "uniform": (UNIFORM, "dash", "best uniform"),
        "control": (FLOAT, "dot", "float control"),
    }
)
OF_RUNS = (
    # of several runs in one picture: (on a light ground, on a dark one), apart for colour-blind eyes too
    ("#0b63ce", "#5aa5f5"),
    ("#c2520a", "#f2934a"),
    ("#1f7a55", "#4fc08f"),
    ("#a0338f", "#e07fd0"),
    ("#7a6200", "#d8bf4a"),
    ("#5a4bb0", "#a99cf5"),
    ("#b3263c", "#f0748a"),
    ("#3b6f7c", "#6fb7c6"),
)
_OTHER = ("#3d7f8c", "diamond-open")


def rung_colour(rung: str) -> str:
    """Colour of a rung; rungs without a colour of their own share one."""
    return RUNGS[rung][0] if rung in RUNGS else _OTHER[0]


def rung_mark(rung: str) -> str:
    """Plotly symbol of a rung."""
    return RUNGS[rung][1] if rung in RUNGS else _OTHER[1]


def rung_title(rung: str) -> str:
    """Name of a rung in a legend."""
    return RUNGS[rung][2] if rung in RUNGS else rung

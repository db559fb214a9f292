"""The style sheet of a page: the colours of `palette`, for light and dark, and the rules of `web/page.css`. It loads no font or file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from mpsearch.report import palette

__all__ = ["COLOURS", "style_sheet"]

COLOURS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        # variable → (light, dark); text on `paper` has a contrast of 4.5 or more, marks 3 or more
        "ink": (palette.INK, "#e4e9ef"),
        "muted": (palette.MUTED, "#9aa7b5"),
        "paper": (palette.PAPER, "#161c24"),
        "ground": ("#f4f6f8", "#0e1319"),
        "line": ("#dde3ea", "#2a333e"),
        "grid": (palette.GRID, "#252d37"),
        "edge": ("#a9b4c0", "#566372"),
        "hover": ("#eef2f6", "#222a34"),
        "mark": ("#fff4d6", "#3a3118"),
        "link": (palette.RUNGS["long"][0], "#7db4ee"),
        "focus": ("#0b63ce", "#7db4ee"),
        "accent": (palette.ACCENT, "#f28a3c"),
        "good": (palette.FLOAT, "#57b98d"),
        "bad": (palette.BUDGET, "#f0748a"),
        "uniform": (palette.UNIFORM, "#b39ae0"),
        "ptq": ("#8494a8", "#8b9bb0"),
        "short": ("#3f7fbd", "#6fa9e0"),
        "long": (palette.RUNGS["long"][0], "#a9ccf5"),
        "other": ("#3d7f8c", "#66b3c2"),
        "selected": ("#0b63ce", "#5aa5f5"),
        "pinned": ("#a0338f", "#e07fd0"),
    }
)
_WEB = Path(__file__).parent / "web"


def style_sheet() -> str:
    """The text of the style sheet."""
    runs = {f"run-{place}": pair for place, pair in enumerate(palette.OF_RUNS)}
    pairs = "".join(f"--{name}:light-dark({light},{dark});" for name, (light, dark) in {**COLOURS, **runs}.items())
    roles = "".join(f".{name}{{--c:var(--{name})}}" for name in runs)
    themes = "[data-theme=light]{color-scheme:light}[data-theme=dark]{color-scheme:dark}"
    root = f":root{{color-scheme:light dark;--font:{palette.FONT};{pairs}}}"
    return f"{root}{themes}{(_WEB / 'page.css').read_text(encoding='utf-8')}{roles}"

"""What all pictures share: colours, fonts, axes, and a file that is the same to the byte for the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mpsearch.core.files import write_bytes
from mpsearch.core.printable import printable
from mpsearch.report import palette

__all__ = ["MARKERS", "PIXEL", "axes_of", "encoded", "percent_axis", "save", "styled", "titled"]

PIXEL = 1 / 96
"""A CSS pixel in inches."""

MARKERS = {"circle": "o", "square": "s", "triangle-up": "^", "star": "*", "diamond": "D", "diamond-open": "D"}
"""Plotly symbol of the palette → Matplotlib marker."""

_SETTINGS: Any = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and screen readers read it
    "svg.hashsalt": "mpsearch",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica Neue", "Arial"],
    "font.size": 10,
    "text.color": palette.INK,
    "axes.labelcolor": palette.MUTED,
    "axes.edgecolor": palette.MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.axisbelow": True,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": palette.GRID,
    "xtick.color": palette.MUTED,
    "xtick.labelcolor": palette.INK,
    "ytick.color": palette.PAPER,
    "ytick.labelcolor": palette.INK,
    "ytick.major.size": 0,
    "ytick.minor.size": 0,
    "xtick.minor.size": 0,
    "figure.facecolor": palette.PAPER,
    "axes.facecolor": palette.PAPER,
    "legend.frameon": False,
    "legend.handletextpad": 0.6,
    "legend.columnspacing": 1.8,
}


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save inside this context; a `matplotlibrc` in the working directory, which may be a stranger's, has no say in it."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS)
        yield


def axes_of(width: int, height: int, *, left: int, right: int, top: int, bottom: int) -> tuple[Figure, Axes]:
    """A figure of `width` by `height` pixels with one plot in it, and the margins around that plot."""
    figure = Figure(figsize=(width * PIXEL, height * PIXEL))
    place = (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    return figure, figure.add_axes(place)


def titled(figure: Figure, title: str, subtitle: str, *, left: int) -> None:
    """A title and a line below it, `left` pixels from the edge."""
    width, height = figure.get_size_inches() / PIXEL
    # Between two dollar signs Matplotlib would read a formula, which in a name is none.
    figure.text(left / width, 1 - 32 / height, printable(title), size=13, weight="bold", parse_math=False)
    figure.text(left / width, 1 - 53 / height, printable(subtitle), size=10, color=palette.MUTED, parse_math=False)


def percent_axis(axes: Axes, decimals: int | None = 0) -> None:
    """The vertical axis of a share, in percent; as many decimals as it takes for None."""
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=decimals, symbol=" %"))


def encoded(figure: Figure, form: str, description: str) -> bytes:
    """The picture as the content of a file, with a description for those who cannot see it.

    It bears no date, so that equal pictures are equal files.

    Args:
        figure: drawn inside `styled`.
        form: `svg`, `png` or `pdf`.
        description: of what is seen.
    """
    dates: dict[str, dict[str, str | None]] = {"svg": {"Date": None, "Creator": None}, "pdf": {"CreationDate": None}}
    content = BytesIO()
    figure.savefig(content, format=form, dpi=192, metadata={"Title": printable(description), **dates.get(form, {})})
    data = content.getvalue()
    return b"\n".join(line.rstrip() for line in data.splitlines()) + b"\n" if form == "svg" else data


def save(figure: Figure, file: Path, description: str) -> None:
    """Write the picture as the suffix of its file says: `.svg`, `.png` or `.pdf`."""
    write_bytes(file, encoded(figure, file.suffix.lower().removeprefix("."), description))

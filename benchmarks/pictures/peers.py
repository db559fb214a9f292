"""`docs/peers.svg`: test accuracy against mean weight bits, mpsearch beside other tools, activations at 8 bits, no training."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from benchmarks.peers.table import Row, lines, read
from mpsearch.report import palette
from mpsearch.report.picture_style import axes_of, titled

__all__ = ["LINES", "RESULTS", "draw", "picture"]

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "peers"
LINES = {
    # label of `benchmarks.peers.table` → (colour, whether hollow, legend)
    "mpsearch {1, 2, 3, 4, 5, 6, 7, 8} | gptq | 8": (palette.ACCENT, False, "mpsearch (gptq)"),
    "mpsearch {1, 2, 3, 4, 5, 6, 7, 8} | lsq | 8": (palette.ACCENT, True, "its bits, plain rounding"),
    "mct {2, 4, 8} | its own | 8": (palette.UNIFORM, False, "MCT"),
    "mct {2, 4, 8} | gptq | 8": (palette.UNIFORM, True, "MCT's bits, our gptq"),
    "modelopt {2, 3, 4, 5, 6, 8} | its own | 8": (palette.FLOAT, False, "ModelOpt"),
    "modelopt {2, 3, 4, 5, 6, 8} | gptq | 8": (palette.FLOAT, True, "ModelOpt's bits, our gptq"),
}
_TICKS = (0.89, 0.87, 0.85, 0.8, 0.7, 0.5, 0.2)
_FLOAT = 0.893
_LEFT = 84


def draw() -> Figure:
    """The picture of what RESULTS holds."""
    return picture(read(RESULTS))


def picture(rows: Sequence[Row]) -> Figure:
    """The picture of some rows; the error is on a logarithmic scale, so that small losses and large ones can both be seen."""
    found = {
        name: {bits: statistics.mean(tests) for bits, tests in line.items()} for name, line in lines(list(rows)).items() if name in LINES
    }
    figure, axes = axes_of(860, 470, left=_LEFT, right=24, top=84, bottom=110)
    titled(
        figure,
        "CIFAR-10, ResNet-20, without training",
        "test accuracy (scale: log of the error) against mean weight bits; mean of three draws of calibration images",
        left=_LEFT,
    )
    axes.set_yscale("function", functions=(lambda metric: -np.log(np.maximum(1 - metric, 1e-9)), lambda y: 1 - np.exp(-y)))
    axes.axhline(_FLOAT, color=palette.MUTED, linewidth=1, linestyle=(0, (5, 3.5)))
    axes.annotate(
        f"float {_FLOAT:.2%}".replace("%", " %"), (0.008, _FLOAT), xycoords=("axes fraction", "data"),
        xytext=(0, 4), textcoords="offset points", color=palette.MUTED,
    )  # fmt: skip
    for name, (colour, hollow, label) in LINES.items():
        points = sorted(found.get(name, {}).items())
        axes.plot(
            [bits for bits, _ in points],
            [metric for _, metric in points],
            color=colour,
            linewidth=1.5,
            linestyle=(0, (1, 2.2)) if hollow else "solid",
            marker="o",
            markersize=7,
            markerfacecolor=palette.PAPER if hollow else colour,
            markeredgecolor=colour,
            markeredgewidth=1.5,
            label=label,
        )
    lowest = min(metric for line in found.values() for metric in line.values())
    axes.set_ylim(1 - (1 - lowest) * 1.05, 0.9)
    axes.set_yticks(
        [tick for tick in _TICKS if tick > axes.get_ylim()[0]],
        [f"{tick:.0%}".replace("%", " %") for tick in _TICKS if tick > axes.get_ylim()[0]],
    )
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(bits := sorted({bits for line in found.values() for bits in line}), [f"{each:g}" for each in bits])
    axes.legend(loc="upper left", bbox_to_anchor=(-0.012, -0.11), ncols=3, borderaxespad=0, handlelength=2.6, columnspacing=3)
    return figure

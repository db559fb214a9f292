"""`docs/size.svg`: test accuracy against file size for the CIFAR-10 runs that `benchmarks/compare_runs.py --keep` wrote."""

from __future__ import annotations

import json
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from mpsearch.report import palette
from mpsearch.report.picture_style import axes_of, percent_axis, titled

__all__ = ["RESULTS", "draw"]

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "cifar10_resnet20.json"
_LEFT = 84
_KINDS = {"winner": ("mixed", palette.ACCENT), "uniform": ("uniform, retrained alike", palette.UNIFORM)}


def draw() -> Figure:
    """The picture of what RESULTS holds."""
    runs = json.loads(RESULTS.read_text(encoding="utf-8"))
    figure, axes = axes_of(860, 430, left=_LEFT, right=24, top=76, bottom=84)
    titled(figure, f"{runs[0]['study']}: test accuracy against file size", "Every point is one training.", left=_LEFT)
    reference = runs[0]["test"]["float"]
    axes.axhline(reference, color=palette.FLOAT, linewidth=1, linestyle=(0, (5, 3.5)))
    axes.annotate(
        f"float {reference:.2%}".replace("%", " %"), (1, reference), xycoords=("axes fraction", "data"),
        xytext=(0, 4), textcoords="offset points", color=palette.FLOAT, horizontalalignment="right",
    )  # fmt: skip
    for key, (name, colour) in _KINDS.items():
        for four_bits, fill in ((False, colour), (True, palette.PAPER)):
            members = [run for run in runs if key in run["results"] and run["study"].endswith("_a4") is four_bits]
            axes.scatter(
                [run["results"][key]["size"] for run in members],
                [run["test"][key] for run in members],
                s=66,
                facecolor=fill,
                edgecolor=colour,
                linewidth=1.6,
                label=None if four_bits else name,
                zorder=3,
            )
    axes.margins(x=0.04, y=0.12)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size / 1000:g} KB"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    percent_axis(axes, decimals=1)
    axes.scatter([], [], s=66, facecolor=palette.PAPER, edgecolor=palette.MUTED, linewidth=1.6, label="hollow: activations at 4 bits")
    axes.legend(loc="upper left", bbox_to_anchor=(-0.015, -0.12), ncols=3, borderaxespad=0, handletextpad=0.3)
    return figure

"""`docs/tabular.svg`: regret against trials, a panel for each network and budget; medians over seeds, ours with its quartiles."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from numpy.typing import NDArray

from mpsearch.report import palette
from mpsearch.report.picture_style import PIXEL, titled

__all__ = ["RESULTS", "draw", "panels"]

RESULTS = Path(__file__).parents[1] / "tabular" / "results.json"
_COLUMNS = 3
_FLOOR, _CEILING = 1e-3, 3.0
"""Regrets at or below the floor are drawn on it: the optimum."""
_LEVELS = {_FLOOR: "found", 0.01: "1 %", 0.1: "10 %", 1.0: "100 %"}
_TRIALS = (1, 3, 10, 30, 100)
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
"""Searches for a front are in the table alone."""


def draw() -> Figure:
    """The picture of what RESULTS holds."""
    return panels(json.loads(RESULTS.read_text(encoding="utf-8")))


def panels(kept: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The picture of what `benchmarks.tabular.compare --keep` wrote."""
    rows = math.ceil(len(kept) / _COLUMNS)
    width, height, left, top, bottom = 1040, 150 + 266 * rows, 66, 100, 106
    figure = Figure(figsize=(width * PIXEL, height * PIXEL))
    titled(
        figure,
        "How far from the best allocation within the budget",
        "loss above the best within the budget, against trials; medians over seeds, shaded: quartiles",
        left=left,
    )
    grid = figure.subplots(rows, _COLUMNS, sharex=True, sharey=True, squeeze=False)
    figure.subplots_adjust(left=left / width, right=1 - 24 / width, top=1 - top / height, bottom=bottom / height, wspace=0.08, hspace=0.32)
    for axes, (title, entries) in zip(grid.flat, kept.items(), strict=False):
        _panel(axes, title, entries)
    for axes in grid.flat[len(kept) :]:
        axes.set_visible(False)
    lines = {line.get_label(): line for axes in grid.flat for line in axes.lines}
    names = [name for name in _COLOURS if name in lines]
    figure.legend(
        [lines[name] for name in names],
        names,
        loc="lower left",
        bbox_to_anchor=(left / width - 0.008, 8 / height),
        ncols=4,
        borderaxespad=0,
    )
    return figure


def _panel(axes: Axes, title: str, entries: Mapping[str, Any]) -> None:
    axes.set_title(title, loc="left", size=10, weight="bold")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(1, 100)
    axes.set_ylim(_FLOOR * 0.93, _CEILING)
    axes.set_xticks(_TRIALS, list(map(str, _TRIALS)))
    axes.set_yticks(list(_LEVELS), list(_LEVELS.values()))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelbottom=True)
    for name, colour in reversed(_COLOURS.items()):
        if name not in entries:
            continue
        counts, (low, median, high) = _steps(entries[name]["regret"])
        ours, once = name == "mpsearch", name.startswith(("MILP", "greedy"))
        if ours:
            axes.fill_between(counts, low, high, step="post", color=colour, alpha=0.18, linewidth=0)
        style = (0, (4, 2.5)) if once else "solid"
        if once:  # one answer, whatever the number of trials
            axes.plot([1, 100], [median[0]] * 2, color=colour, linewidth=1.2, linestyle=style, label=name)
        else:
            axes.step(counts, median, where="post", color=colour, linewidth=2.2 if ours else 1.2, linestyle=style, label=name)


def _steps(quartiles: Sequence[Sequence[float]]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Trials at which a quartile changes, the first and the last; the quartiles there, inside what the axis shows."""
    values = np.clip(np.asarray(quartiles, dtype=np.float64), _FLOOR, _CEILING)
    changes = np.flatnonzero((np.diff(values, axis=1) != 0).any(axis=0)) + 1
    kept = np.unique([0, *changes, values.shape[1] - 1])
    return kept + 1, values[:, kept]

"""`docs/front.svg`: validation accuracy against file size for every trial of one run.

python -m benchmarks.pictures.front runs/RUN        # keep the numbers of another run in docs/results/front.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from benchmarks.pictures.style import MARKERS, axes_of, percent_axis, titled
from mpsearch.report import palette

__all__ = ["RESULTS", "draw", "kept"]

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "front.json"
_LEFT = 84

Point = Mapping[str, Any]


def draw() -> Figure:
    """The picture of what RESULTS holds."""
    run = json.loads(RESULTS.read_text(encoding="utf-8"))
    figure, axes = axes_of(860, 500, left=_LEFT, right=24, top=76, bottom=104)
    titled(figure, run["title"], run["finding"], left=_LEFT)
    named = {"best uniform, retrained": run["uniform"], "winner, retrained": run["winner"]}
    points = [*run["trials"], *(point for point in named.values() if point)]
    sizes = [point["size"] for point in points] + [run["budget"]]
    margin = 0.05 * (max(sizes) - min(sizes))
    axes.set_xlim(min(sizes) - margin, max(sizes) + margin)
    axes.axhline(run["float"], color=palette.FLOAT, linewidth=1, linestyle=(0, (5, 3.5)))
    axes.annotate(
        f"float {run['float']:.2%}".replace("%", " %"), (0.008, run["float"]), xycoords=("axes fraction", "data"),
        xytext=(0, 4), textcoords="offset points", color=palette.FLOAT,
    )  # fmt: skip
    axes.axvline(run["budget"], color=palette.BUDGET, linewidth=1, linestyle=(0, (1.5, 3)))
    axes.annotate(
        f"budget {run['budget_text']}", (run["budget"], 0.02), xycoords=("data", "axes fraction"),
        xytext=(-6, 0), textcoords="offset points", color=palette.BUDGET, horizontalalignment="right",
    )  # fmt: skip
    front = _front(run["trials"])
    xs, ys = [point["size"] for point in front], [point["accuracy"] for point in front]
    axes.step([*xs, axes.get_xlim()[1]], [*ys, ys[-1]], where="post", color=palette.INK, alpha=0.55, linewidth=1.2)
    for rung in sorted({trial["rung"] for trial in run["trials"]}, key=list(palette.RUNGS).index):
        for feasible in (True, False):
            members = [trial for trial in run["trials"] if trial["rung"] == rung and trial["feasible"] is feasible]
            axes.scatter(
                [trial["size"] for trial in members],
                [trial["accuracy"] for trial in members],
                s=62 if palette.rung_mark(rung) == "triangle-up" else 48,
                alpha=1.0 if feasible else 0.4,
                color=palette.rung_colour(rung),
                marker=MARKERS[palette.rung_mark(rung)],
                edgecolor=palette.PAPER,
                linewidth=0.7,
                label=palette.rung_title(rung) if feasible else None,
                zorder=3,
            )
    looks = {"best uniform, retrained": ("diamond", palette.UNIFORM, 50), "winner, retrained": ("star", palette.ACCENT, 220)}
    for name, (symbol, colour, area) in looks.items():
        if named[name]:
            x, y = named[name]["size"], named[name]["accuracy"]
            axes.scatter(x, y, s=area, color=colour, marker=MARKERS[symbol], edgecolor=palette.PAPER, linewidth=0.7, label=name, zorder=4)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda size, _: f"{size / 1e6:g} MB"))
    axes.yaxis.set_major_locator(MaxNLocator(5))
    percent_axis(axes)
    axes.legend(loc="upper left", bbox_to_anchor=(-0.015, -0.1), ncols=5, borderaxespad=0, handletextpad=0.2, columnspacing=1.2)
    return figure


def _front(trials: Sequence[Point]) -> list[Point]:
    """The trials that no other trial beats in size and accuracy, smallest first."""
    front: list[Point] = []
    for trial in sorted(trials, key=lambda trial: (trial["size"], -trial["accuracy"])):
        if not front or trial["accuracy"] > front[-1]["accuracy"]:
            front.append(trial)
    return front


def kept(directory: Path) -> dict[str, Any]:
    """The numbers of the picture, of a finished run with a size budget."""
    from mpsearch.core.summary import Summary
    from mpsearch.report.info import Point as Mark
    from mpsearch.report.info import front_info

    summary = Summary.from_dict(json.loads((directory / "summary.json").read_text(encoding="utf-8")))
    info = front_info(summary)

    def point(mark: Mark) -> dict[str, Any]:
        return {"rung": mark.rung, "size": int(mark.amount), "accuracy": mark.metric, "feasible": mark.feasible}

    return {
        "command": summary.command,
        "title": f"{summary.model}: validation {summary.metric} against size",
        "finding": info.finding,
        "float": info.float_metric,
        "budget": info.budget and info.budget.limit,
        "budget_text": str(info.budget or ""),
        "trials": [point(mark) for mark in info.points],
        "uniform": info.uniform and point(info.uniform),
        "winner": point(info.winner),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a finished run")
    RESULTS.write_text(json.dumps(kept(parser.parse_args().run), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""`docs/front.svg`: validation accuracy against file size for every trial of one run.

python -m benchmarks.pictures.front runs/RUN        # keep the numbers of another run in docs/results/front.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mpsearch.core.budget import Budget
from mpsearch.core.summary import Summary
from mpsearch.report.info import FrontInfo, Point, front_info
from mpsearch.report.info.points import close_up, rung_order
from mpsearch.report.picture import front_picture

__all__ = ["RESULTS", "draw", "kept"]

RESULTS = Path(__file__).parents[2] / "docs" / "results" / "front.json"


def draw() -> Figure:
    """The picture of what RESULTS holds."""
    run = json.loads(RESULTS.read_text(encoding="utf-8"))
    points = tuple(map(_point, run["trials"]))
    winner, uniform = _point(run["winner"]), _point(run["uniform"])
    front = tuple(
        sorted((a for a in points if not any(b.amount <= a.amount and b.metric > a.metric for b in points)), key=lambda point: point.amount)
    )
    rungs = rung_order(point.rung for point in points)
    view, hidden = close_up(points, rungs, [winner.metric, uniform.metric, run["float"]], True)
    amounts = [point.amount for point in (*points, winner, uniform)] + [run["budget"]]
    info = FrontInfo(
        cost="size",
        metric="accuracy",
        rungs=rungs,
        points=points,
        front=front,
        float_metric=run["float"],
        uniform=uniform,
        winner=winner,
        budget=Budget("size", run["budget"], run["budget_text"]),
        span=(min(amounts), max(amounts)),
        log_axis=False,
        view=view,
        hidden=hidden,
        finding=run["finding"],
    )
    return front_picture(info, run["title"])


def _point(plain: Mapping[str, Any]) -> Point:
    metric = plain["accuracy"]
    return Point(
        number=-1,
        origin="",
        rung=plain["rung"],
        amount=plain["size"],
        metric=metric,
        error=1 - metric,
        loss=float("nan"),
        feasible=plain["feasible"],
        bits=(),
    )


def kept(directory: Path) -> dict[str, Any]:
    """The numbers of the picture, of a finished run with a size budget."""
    summary = Summary.from_dict(json.loads((directory / "summary.json").read_text(encoding="utf-8")))
    info = front_info(summary)

    def plain(mark: Point) -> dict[str, Any]:
        return {"rung": mark.rung, "size": int(mark.amount), "accuracy": mark.metric, "feasible": mark.feasible}

    return {
        "command": summary.command,
        "title": f"{summary.model}: validation {summary.metric} against size",
        "finding": info.finding,
        "float": info.float_metric,
        "budget": None if info.budget is None else info.budget.limit,
        "budget_text": "" if info.budget is None else info.budget.text,
        "trials": [plain(mark) for mark in info.points],
        "uniform": info.uniform and plain(info.uniform),
        "winner": plain(info.winner),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a finished run")
    RESULTS.write_text(json.dumps(kept(parser.parse_args().run), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

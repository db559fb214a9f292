"""Runs of one network side by side: test accuracy against file size, as a Markdown table and a picture.

    python benchmarks/compare_runs.py runs/c70 runs/c80 runs/c100 --keep docs/results/cifar10_resnet20.json --picture docs/size.svg
    python benchmarks/compare_runs.py docs/results/cifar10_resnet20.json

Each argument is a run directory of `mpsearch study`, or a file that `--keep` wrote: what the table needs, and the training curves.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path
from typing import Any

from mpsearch.core.record import Record
from mpsearch.core.summary import Summary
from mpsearch.report import palette
from mpsearch.report.picture import ticks

Run = dict[str, Any]
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _RIGHT = 860, 420, 84, 56, 74, 24


def read(path: Path) -> list[Run]:
    """The runs a run directory or a kept file holds."""
    if path.is_file():
        kept: list[Run] = json.loads(path.read_text())
        return kept
    summary = Summary.from_dict(json.loads((path / "summary.json").read_text()))
    trained = {"winner": summary.winner, "uniform": summary.uniform, "control": summary.control}
    return [
        {
            "study": summary.name,
            "seed": summary.seed,
            "budget": " and ".join(budget.text for budget in summary.budgets),
            "file": summary.artifact_bytes,
            "test": {name: score.metric for name, score in summary.test.items()},
            "loss": {name: score.loss for name, score in summary.test.items()},
            "seconds": round(sum(summary.seconds.values())),
            "results": {name: result(record, summary) for name, record in trained.items() if record is not None},
        }
    ]


def result(record: Record, summary: Summary) -> dict[str, Any]:
    """What was trained, and how it went."""
    bits = record.allocation.mean_weight_bits(summary.layers) if record.allocation else None
    return {
        "origin": record.origin,
        "size": int(record.costs["size"]),
        "mean weight bits": bits and round(bits, 3),
        "bits": record.allocation.to_dict(),
        "curve": [{key: round(value, 4) for key, value in epoch.items()} for epoch in record.curve],
    }


def table(runs: list[Run]) -> str:
    """Markdown, a row a run, and the mean over seeds where there are several."""
    lines = ["| study, budget | seed | file | weight bits | float | mixed | best uniform, retrained alike | float trained as long |"]
    lines.append("|---|---|---|---|---|---|---|---|")
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        groups.setdefault((run["study"], run["budget"]), []).append(run)
    for (study, budget), members in groups.items():
        for run in members:
            winner, uniform, test = run["results"]["winner"], run["results"].get("uniform"), run["test"]
            beside = f"{percent(test['uniform'])} ({uniform['origin']}; {uniform['size']:,} B)" if uniform else "-"
            control = percent(test["control"]) if "control" in test else "-"
            lines.append(
                f"| {study}, {budget} | {run['seed']} | {run['file']:,} B | {winner['mean weight bits']:.2f} | {percent(test['float'])} "
                f"| **{percent(test['winner'])}** | {beside} | {control} |"
            )
        if len(members) > 1:
            means = [
                spread([100 * run["test"][key] for run in members if key in run["test"]])
                for key in ("float", "winner", "uniform", "control")
            ]
            lines.append("| | mean ± sd | | | {} | **{}** | {} | {} |".format(*means))
    return "\n".join([*lines, *(line for members in groups.values() if (line := paired(members)))])


def spread(values: list[float]) -> str:
    """`88.93 ± 0.12`, the standard deviation of one; `-` of less than two."""
    return f"{statistics.mean(values):.2f} ± {statistics.stdev(values):.2f}" if len(values) > 1 else "-"


def paired(runs: list[Run]) -> str:
    """What mixed bits are worth over the uniform ones of the same seed: mean ± its standard error; empty for less than two seeds."""
    both = [run for run in runs if "uniform" in run["test"] and "loss" in run]
    if len(both) < 2:
        return ""

    def gain(figure: str, unit: float) -> tuple[float, float]:
        differences = [unit * (run[figure]["winner"] - run[figure]["uniform"]) for run in both]
        return statistics.mean(differences), statistics.stdev(differences) / math.sqrt(len(differences))

    points, nats = gain("test", 100), gain("loss", 1)
    return (
        f"\n{both[0]['study']}, {both[0]['budget']}, {len(both)} seeds, mixed less uniform bits of the same seed on the test split: "
        f"{points[0]:+.2f} ± {points[1]:.2f} points, log loss {nats[0]:+.4f} ± {nats[1]:.4f} (mean ± standard error)."
    )


def percent(share: float) -> str:
    """`88.93`."""
    return f"{100 * share:.2f}"


def picture(runs: list[Run]) -> str:
    """SVG: every trained network by size and test accuracy."""
    marks = [("mixed", palette.ACCENT, "winner"), ("uniform, retrained alike", palette.UNIFORM, "uniform")]
    points = [
        (run["results"][key]["size"], run["test"][key], colour, run["study"].endswith("_a4"))
        for run in runs
        for _, colour, key in marks
        if key in run["results"]
    ]
    reference = runs[0]["test"]["float"]
    low, high = min(min(p[1] for p in points), reference) - 0.002, max(max(p[1] for p in points), reference) + 0.003
    left, right = min(p[0] for p in points) * 0.97, max(p[0] for p in points) * 1.03

    def x(size: float) -> float:
        return float(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (size - left) / (right - left))

    def y(metric: float) -> float:
        return float(_HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (metric - low) / (high - low))

    def words(at_x: float, at_y: float, text: str, anchor: str = "start", colour: str = palette.INK) -> str:
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" font-size="13" fill="{colour}">{text}</text>'

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="{palette.FONT.replace(chr(34), "")}"><rect width="{_WIDTH}" height="{_HEIGHT}" rx="10" fill="{palette.PAPER}"/>',
        words(_LEFT, 30, f"{runs[0]['study']}: test accuracy against file size"),
    ]
    for value in ticks(low, high, count=5):
        parts.append(f'<path d="M{_LEFT} {y(value):.1f}H{_WIDTH - _RIGHT}" stroke="{palette.GRID}"/>')
        parts.append(words(_LEFT - 8, y(value) + 4, f"{100 * value:.1f} %", "end"))
    for value in ticks(left, right):
        parts.append(words(x(value), _HEIGHT - _BOTTOM + 20, f"{value / 1000:g} KB", "middle"))
    parts.append(f'<path d="M{_LEFT} {y(reference):.1f}H{_WIDTH - _RIGHT}" stroke="{palette.FLOAT}" stroke-dasharray="7 5"/>')
    parts.append(words(_WIDTH - _RIGHT, y(reference) - 6, f"float {percent(reference)} %", "end", palette.FLOAT))
    for size, metric, colour, four_bits in points:
        fill = palette.PAPER if four_bits else colour
        parts.append(f'<circle cx="{x(size):.1f}" cy="{y(metric):.1f}" r="6" fill="{fill}" stroke="{colour}" stroke-width="2"/>')
    for index, (name, colour, _) in enumerate(marks):
        parts.append(f'<circle cx="{_LEFT + 220 * index + 6}" cy="{_HEIGHT - 22}" r="6" fill="{colour}"/>')
        parts.append(words(_LEFT + 220 * index + 18, _HEIGHT - 17, name))
    parts.append(words(_LEFT + 440, _HEIGHT - 17, "hollow: activations at 4 bits"))
    return "".join(parts) + "</svg>\n"


def main() -> None:
    """Read, print, and keep what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run directories, or a kept file")
    parser.add_argument("--keep", type=Path, help="write what the table needs to this JSON file")
    parser.add_argument("--picture", type=Path, help="write an SVG")
    arguments = parser.parse_args()
    runs = [run for path in arguments.runs for run in read(path)]
    print(table(runs))
    if arguments.keep:
        arguments.keep.write_text(json.dumps(runs, indent=1) + "\n")
    if arguments.picture:
        arguments.picture.write_text(picture(runs))


if __name__ == "__main__":
    main()

"""Runs of one network side by side, as a Markdown table: file size, test accuracy, and the references.

    python benchmarks/compare_runs.py runs/c70 runs/c80 runs/c100 --keep docs/results/cifar10_resnet20.json
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

Run = dict[str, Any]


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


def main() -> None:
    """Read, print, and keep what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+", help="run directories, or a kept file")
    parser.add_argument("--keep", type=Path, help="write what the table needs to this JSON file")
    arguments = parser.parse_args()
    runs = [run for path in arguments.runs for run in read(path)]
    print(table(runs))
    if arguments.keep:
        arguments.keep.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    main()

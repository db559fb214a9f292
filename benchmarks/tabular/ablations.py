"""What each part of the search is worth: the same contest with one part taken away, `python -m benchmarks.tabular.ablations`.

A study of `HORIZON` trials, whose last quarter swaps bits around the best as the shipped studies do. A table has one rung; below those
after training and those of a supernet the table without training is set, see `rungs.py`.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.tabular.compare import compete
from benchmarks.tabular.contest import Entry
from benchmarks.tabular.ours import Ours
from benchmarks.tabular.report import curves
from benchmarks.tabular.rungs import DEAR, EARLY_RUNG, cheap_counterpart
from benchmarks.tabular.runs import Run, read_runs
from benchmarks.tabular.truth import names
from mpsearch.data import cache_directory

__all__ = ["PARTS", "table"]

HORIZON = 30
COUNTS = (3, 5, 6, 10, 20, 30)
_FOUND = 1e-9
_REFINE = round(0.75 * HORIZON)

PARTS: tuple[Entry, ...] = (
    Entry(name="whole", start=lambda c, s: Ours(c, s, refine=_REFINE), trials=HORIZON),
    Entry(name="without refine", start=lambda c, s: Ours(c, s), trials=HORIZON),
    Entry(name="without the surrogate", start=lambda c, s: Ours(c, s, surrogate=False), trials=HORIZON),
    Entry(name="without signals", start=lambda c, s: Ours(c, s, signals=(), refine=_REFINE), trials=HORIZON),
    Entry(name="signals once (MILP)", start=lambda c, s: Ours(c, s, surrogate=False), trials=2),
)


def table(runs: Sequence[Run]) -> str:
    """Markdown: mean regret and share of optima found, over seeds, budgets and networks.

    The standard error is over cells, a network and budget each: seeds change next to nothing in a search whose optima are exact.
    """
    found = curves(runs)
    lines = ["| | runs | " + " | ".join(f"regret at {count}" for count in COUNTS) + " | found by 30 |", "|---" * (len(COUNTS) + 3) + "|"]
    for entry in (*PARTS, EARLY_RUNG):
        regrets = [entries[entry.name]["regret"][:, :HORIZON] for entries in found.values() if entry.name in entries]
        if not regrets:
            continue
        means = np.array([of.mean(axis=0) for of in regrets])
        errors = means.std(axis=0, ddof=1) / math.sqrt(len(means)) if len(means) > 1 else np.full(HORIZON, np.nan)
        cells = [f"{100 * means[:, count - 1].mean():.2f} ± {100 * errors[count - 1]:.2f} %" for count in COUNTS]
        found_by = np.mean([(of[:, -1] <= _FOUND).mean() for of in regrets])
        lines.append(f"| {entry.name} | {sum(map(len, regrets))} | {' | '.join(cells)} | {100 * float(found_by):.0f} % |")
    return "\n".join(lines)


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=names(), help="tables beside this file")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; the same command goes on")
    parser.add_argument("--runs", type=Path, default=cache_directory() / "tabular" / "ablations.jsonl", help="where runs are kept")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    dear = [name for name in arguments.networks if cheap_counterpart(name)]
    whole = compete(arguments.networks, PARTS, arguments.seeds, arguments.runs, deadline)
    if not (compete(dear, (EARLY_RUNG,), arguments.seeds, arguments.runs, deadline) and whole):
        print("out of time; the same command goes on")
    runs = [run for run in read_runs(arguments.runs) if run.network in arguments.networks]
    print(table(runs))
    for kind in DEAR:
        if own := [run for run in runs if run.network in dear and run.network.endswith(kind)]:
            print(f"\n{kind} alone\n\n{table(own)}")


if __name__ == "__main__":
    main()

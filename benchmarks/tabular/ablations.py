"""What each part of the search is worth: the same contest with one part taken away, `python -m benchmarks.tabular.ablations`.

A study of `HORIZON` trials, whose last quarter swaps bits around the best as the shipped studies do. A table has one rung; below those
after training and those of a supernet the table without training is set, see `rungs.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tabular.compare import compete
from benchmarks.tabular.contest import Contest, Entry
from benchmarks.tabular.ours import SIGNALS, Ours
from benchmarks.tabular.report import curves
from benchmarks.tabular.rungs import DEAR, EARLY_RUNG, cheap_counterpart
from benchmarks.tabular.runs import Run, read_runs
from benchmarks.tabular.signal_search import SignalSearch
from benchmarks.tabular.truth import Picks, names
from mpsearch.core.errors import BudgetError
from mpsearch.data import cache_directory
from mpsearch.propose.observation import Observation, Proposal

__all__ = ["PARTS", "WithoutSurrogate", "summary", "table"]

HORIZON = 30
COUNTS = (3, 5, 6, 10, 20, 30)
_FOUND = 1e-9
_REFINE = round(0.75 * HORIZON)


class WithoutSurrogate:
    """One run of `SignalSearch`.

    Args:
        contest: network and budget.
        seed: of its noise.
    """

    def __init__(self, contest: Contest, seed: int) -> None:
        self._truth = contest.truth
        tables = [contest.truth.tables[name] for name in SIGNALS]
        self._search = SignalSearch(contest.truth.space, tables, {"size": contest.truth.size}, contest.budgets, seed=seed)
        self._seen: list[Observation] = []
        self._asked: list[Proposal] = []

    def ask(self) -> Picks | None:
        """The search's proposal."""
        try:
            self._asked.append(self._search.propose(self._seen))
        except BudgetError:
            return None
        return self._truth.picks(self._asked[-1].allocation)

    def tell(self, picks: Picks, loss: float, violation: float) -> None:
        """Keep the loss as an observation."""
        self._seen.append(Observation(allocation=self._asked[-1].allocation, losses={"ptq": loss}))


PARTS: tuple[Entry, ...] = (
    Entry(name="whole", start=lambda c, s: Ours(c, s, refine=_REFINE), trials=HORIZON),
    Entry(name="without refine", start=lambda c, s: Ours(c, s), trials=HORIZON),
    Entry(name="without the surrogate", start=WithoutSurrogate, trials=HORIZON),
    Entry(name="without signals", start=lambda c, s: Ours(c, s, signals=(), refine=_REFINE), trials=HORIZON),
    Entry(name="signals once (MILP)", start=WithoutSurrogate, trials=2),
)


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """By part: regret at each count as [mean, standard error], and the share of optima found, over seeds, budgets and networks.

    The standard error is over cells, a network and budget each: seeds change next to nothing in a search whose optima are exact.
    """
    found = curves(runs)
    parts: dict[str, Any] = {}
    for entry in (*PARTS, EARLY_RUNG):
        regrets = [entries[entry.name]["regret"][:, :HORIZON] for entries in found.values() if entry.name in entries]
        if not regrets:
            continue
        means = np.array([of.mean(axis=0) for of in regrets])
        errors = means.std(axis=0, ddof=1) / math.sqrt(len(means)) if len(means) > 1 else np.full(HORIZON, np.nan)
        parts[entry.name] = {
            "runs": sum(map(len, regrets)),
            "regret": {str(count): [float(f"{values[count - 1]:.4g}") for values in (means.mean(axis=0), errors)] for count in COUNTS},
            "found by 30": float(np.mean([(of[:, -1] <= _FOUND).mean() for of in regrets])),
        }
    return parts


def table(parts: Mapping[str, Any]) -> str:
    """A `summary` as Markdown."""
    lines = ["| | runs | " + " | ".join(f"regret at {count}" for count in COUNTS) + " | found by 30 |", "|---" * (len(COUNTS) + 3) + "|"]
    for name, of in parts.items():
        cells = [f"{100 * mean:.2f} ± {100 * error:.2f} %" for mean, error in of["regret"].values()]
        lines.append(f"| {name} | {of['runs']} | {' | '.join(cells)} | {100 * of['found by 30']:.0f} % |")
    return "\n".join(lines)


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=names(), help="tables beside this file")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; the same command goes on")
    parser.add_argument("--runs", type=Path, default=cache_directory() / "tabular" / "ablations.jsonl", help="where runs are kept")
    parser.add_argument("--keep", type=Path, help="write the numbers to this JSON file")
    arguments = parser.parse_args()
    deadline = time.monotonic() + 60 * arguments.minutes
    dear = [name for name in arguments.networks if cheap_counterpart(name)]
    whole = compete(arguments.networks, PARTS, arguments.seeds, arguments.runs, deadline)
    if not (compete(dear, (EARLY_RUNG,), arguments.seeds, arguments.runs, deadline) and whole):
        print("out of time; the same command goes on")
    runs = [run for run in read_runs(arguments.runs) if run.network in arguments.networks]
    kept = {"all": summary(runs)}
    kept |= {kind: summary(own) for kind in DEAR if (own := [run for run in runs if run.network in dear and run.network.endswith(kind)])}
    for scope, parts in kept.items():
        print(f"\n**{scope}**\n\n{table(parts)}")
    if arguments.keep:
        arguments.keep.write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()

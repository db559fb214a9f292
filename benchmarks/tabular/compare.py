"""Who finds the best allocation soonest, over seeds, budgets and networks: `python -m benchmarks.tabular.compare`.

Runs are kept as they finish; the same command goes on. `--report` prints what there is. The rules are in `contest.py`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.tabular.contest import BUDGETS, SEEDS, Contest, Entry, play
from benchmarks.tabular.ours import OURS, OURS_SWEPT
from benchmarks.tabular.report import tables
from benchmarks.tabular.rivals import FRONT_RIVALS, RIVALS
from benchmarks.tabular.runs import Run, add_run, drop_runs, read_runs
from benchmarks.tabular.truth import Truth, file_of, names
from mpsearch.data import cache_directory

__all__ = ["compete"]


def compete(networks: Sequence[str], entries: Iterable[Entry], seeds: int, file: Path, deadline: float = math.inf) -> bool:
    """Play what is not yet in `file`, seed by seed so that every entry has as many; whether all is there."""
    entries = list(entries)
    done = {(run.network, run.budget, run.entry, run.seed) for run in read_runs(file)}
    truths = {name: Truth.load(file_of(name)) for name in networks}
    contests = {(name, budget): Contest.of(truth, budget) for name, truth in truths.items() for budget in BUDGETS}
    for seed in range(seeds):
        for (network, budget), contest in contests.items():
            for entry in entries:
                if (network, budget, entry.name, seed) in done or seed >= entry.seeds:
                    continue
                if time.monotonic() > deadline:
                    return False
                began = time.process_time()
                trials = play(contest, entry, seed)
                run = Run(network, budget, entry.name, seed, tuple(trials), round(time.process_time() - began, 3))
                add_run(file, run)
    return True


def main() -> None:
    """Play and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=names(), help="tables beside this file")
    parser.add_argument("--entries", nargs="+", help="only these, by the beginning of their names")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--minutes", type=float, default=math.inf, help="stop after so long; the same command goes on")
    parser.add_argument("--runs", type=Path, default=cache_directory() / "tabular" / "runs.jsonl", help="where runs are kept")
    parser.add_argument("--again", nargs="+", help="play these anew, by the beginning of their names: their code has changed")
    parser.add_argument("--report", action="store_true", help="play nothing")
    parser.add_argument("--keep", type=Path, help="write medians and quartiles to this JSON file")
    arguments = parser.parse_args()
    if arguments.again:
        drop_runs(arguments.runs, arguments.again)
    everyone = (OURS, OURS_SWEPT, *RIVALS, *FRONT_RIVALS)
    entries = [e for e in everyone if not arguments.entries or any(e.name.startswith(start) for start in arguments.entries)]
    if not arguments.report:
        deadline = time.monotonic() + 60 * arguments.minutes
        if not compete(arguments.networks, entries, arguments.seeds, arguments.runs, deadline):
            print("out of time; the same command goes on")
    runs = [run for run in read_runs(arguments.runs) if run.network in arguments.networks and run.seed < arguments.seeds]
    text, kept = tables(runs)
    print(text)
    if arguments.keep:
        arguments.keep.write_text(json.dumps(kept) + "\n")


if __name__ == "__main__":
    main()
